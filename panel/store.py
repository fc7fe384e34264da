"""What runs write: finished reviews with their traces, and a journal of what was computed when.

    outputs/reviews/<tool>.<persona>.<key>.json         a scored review
    outputs/reviews/<tool>.<persona>.<key>.trace.json   prompts, raw outputs and tool calls of any review
    outputs/journal.jsonl                               one line per review computed
    outputs/<tool>-vs-<tool>/                           the record and its pages (written by `render`)

The key is a hash of everything that a review depends on, so a review found under its key is the review that would be
made. Files appear whole or not at all; a run that was killed finds what it had finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from panel.errors import SetupError
from panel.files import write_atomic
from panel.records import Comparison, Provenance, Review

#: Raise when the code would now make another review from the same inputs.
PIPELINE = 5

_KEYED = (
    "model", "model_sha256", "adapter_sha256", "engine", "engine_version", "persona_sha256", "prompt_sha256",
    "dossier_sha256", "seed",
)  # fmt: skip


def review_key(provenance: Provenance, loop: str) -> str:
    """16 hexadecimal digits over all that a review depends on."""
    data = {name: getattr(provenance, name) for name in _KEYED} | {"loop": loop, "pipeline": PIPELINE}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


class Store:
    """The folder that runs write to.

    Raises (from every writing method): SetupError, where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, tool: str, persona: str, key: str) -> Path:
        return self.folder / "reviews" / f"{tool}.{persona}.{key}.json"

    def load_review(self, tool: str, persona: str, key: str) -> Review | None:
        """The finished review under `key`, or None; a file that is not a review counts as absent."""
        try:
            review = Review.model_validate_json(self._path(tool, persona, key).read_bytes())
        except (OSError, ValidationError):
            return None
        return review if review.status == "scored" else None

    def save_review(self, tool: str, key: str, review: Review, trace: dict[str, Any], *, now: str) -> None:
        """Store a finished review: the trace first, then the review, then the journal's line."""
        self.save_trace(tool, review.persona, key, trace)
        write_atomic(self._path(tool, review.persona, key), review.model_dump_json(indent=1) + "\n")
        line = {"at": now, "pid": os.getpid(), "tool": tool, "persona": review.persona, "key": key}
        # One short line in append mode is written as a whole, also beside another process.
        path = self.folder / "journal.jsonl"
        try:
            with path.open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise SetupError(
                f"cannot be written: {error.strerror or error}", path=path, fix="choose a folder that you may write to"
            ) from error

    def save_trace(self, tool: str, persona: str, key: str, trace: dict[str, Any]) -> None:
        """Store how a review came about; of an unscored one this is all that is kept, and it is never reused."""
        path = self._path(tool, persona, key).with_suffix(".trace.json")
        write_atomic(path, json.dumps(trace, ensure_ascii=False, indent=1) + "\n")

    def comparison_folder(self, record: Comparison) -> Path:
        """Where the record's pages go: one folder per set of tools."""
        name = "-vs-".join(tool.slug for tool in record.tools)
        if len(name) > 120:  # file systems have limits, comparisons of many tools have long names
            name = f"{name[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        return self.folder / name
