"""The editors' desk: what is kept about drafts between a run and its publication."""

from panel.desk.candidates import candidates
from panel.desk.forms import build_dossier
from panel.desk.store import DeskStore

__all__ = ["DeskStore", "build_dossier", "candidates"]
