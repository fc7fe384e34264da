"""One comparison in a process of its own, and what it held.

    python -m evals.memory_child ENGINE MODEL PRECISION CASE…

Prints one line of JSON: `measured`, the highest resident set in bytes, and `load`, as `panel.engines.footprint.Load`.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from panel.engines.rows import Batch


def main(engine: str, model: str, precision: str, cases: list[Path]) -> None:
    from panel import run
    from panel.engines import open_engine
    from panel.engines.local import LocalEngine
    from panel.personas import load_personas
    from panel.prompts import Prompts

    opened = open_engine(engine, model, offline=True, precision=precision, device="cpu")
    assert isinstance(opened, LocalEngine)
    passes: list[Watched] = []
    new_forward = opened._new_forward

    def watched() -> Watched:
        passes.append(Watched(new_forward()))
        return passes[-1]

    opened._new_forward = watched
    with tempfile.TemporaryDirectory() as out:
        run.compare(run.load_dossiers(cases), load_personas(), Prompts(), opened, out=Path(out), fresh=True)
    (one,) = passes
    load = {"cells": one.cells, "gathered": one.gathered, "new": one.new, "scored": one.scored}
    print(json.dumps({"measured": _peak(), "load": load}))


class Watched:
    """A `Forward` that notes how much of the cache is ever used, and the largest of its passes."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward
        self.block_size = forward.block_size
        self.reserve, self.copy = forward.reserve, forward.copy
        self.cells = self.gathered = self.new = self.scored = 0

    def extend(self, batch: Batch) -> Any:
        self.cells = max(self.cells, (int(batch.blocks.max()) + 1) * self.block_size)
        self.gathered = max(self.gathered, len(batch.past) * int(batch.past.max()))
        self.new = max(self.new, len(batch.ids))
        self.scored = max(self.scored, len(batch.wanted))
        return self._forward.extend(batch)


def _peak() -> int:
    """The highest resident set so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], [Path(case) for case in sys.argv[4:]])
