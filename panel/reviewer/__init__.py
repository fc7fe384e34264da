"""One persona, one tool, one smolagents agent: from a dossier to a review."""

from panel.reviewer.agent import Reviewed, run_review
from panel.reviewer.desk import Loop

__all__ = ["Loop", "Reviewed", "run_review"]
