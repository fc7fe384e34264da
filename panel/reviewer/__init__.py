"""One persona, one tool, one smolagents agent: from a dossier to a review."""

from panel.reviewer.agent import Reviewed, provenance_of, run_review
from panel.reviewer.desk import Loop

__all__ = ["Loop", "Reviewed", "provenance_of", "run_review"]
