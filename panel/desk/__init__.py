"""The editors' desk: what is kept about drafts between a run and its publication."""

from panel.desk.store import DeskStore, build_dossier, candidates

__all__ = ["DeskStore", "build_dossier", "candidates"]
