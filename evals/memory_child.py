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


def main(engine: str, model: str, precision: str, cases: list[Path]) -> None:
    from panel import run
    from panel.engines import open_engine
    from panel.engines.local import LocalEngine
    from panel.personas import load_personas
    from panel.prompts import Prompts

    opened = open_engine(engine, model, offline=True, precision=precision, device="cpu")
    assert isinstance(opened, LocalEngine)
    lanes: list[Watched] = []
    new_forward = opened._lanes._new_forward

    def watched() -> Watched:
        lanes.append(Watched(new_forward()))
        return lanes[-1]

    opened._lanes._new_forward = watched
    with tempfile.TemporaryDirectory() as out:
        run.compare(run.load_dossiers(cases), load_personas(), Prompts(), opened, out=Path(out), fresh=True)
    load = {"cells": sum(lane.cells for lane in lanes), "new": max(lane.new for lane in lanes),
            "scored": max(lane.scored for lane in lanes)}  # fmt: skip
    print(json.dumps({"measured": _peak(), "load": load}))


class Watched:
    """A `Forward` that notes the largest of its passes."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward
        self.cells = self.new = self.scored = 0

    def reset(self) -> None:
        self._forward.reset()

    def extend(self, parents: Any, ids: Any, mask: Any, positions: Any, wanted: Any) -> Any:
        self.cells = max(self.cells, mask.size)
        self.new = max(self.new, ids.size)
        self.scored = max(self.scored, len(wanted))
        return self._forward.extend(parents, ids, mask, positions, wanted)


def _peak() -> int:
    """The highest resident set so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], [Path(case) for case in sys.argv[4:]])
