"""One comparison in a process of its own, and what it held.

    python -m evals.memory_child ENGINE MODEL PRECISION CASE…

Prints one line of JSON: `measured` (bytes), and for each lane of cached rows the most that it held.
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
    from panel.engines.rows import Lanes
    from panel.personas import load_personas
    from panel.prompts import Prompts

    lanes: dict[str, dict[str, int]] = {}
    plain = Lanes.rows

    def watched(self: Lanes, key: str) -> Any:
        rows = plain(self, key)
        name = key.split("/", 1)[0]
        if name not in lanes:
            lanes[name] = dict.fromkeys(("rows", "slots", "cells", "new", "scored"), 0)
            forward = rows._forward
            rows._forward = _Watch(forward, lanes[name])
        return rows

    Lanes.rows = watched  # type: ignore[method-assign]
    before = _peak()
    opened = open_engine(engine, model, offline=True, precision=precision)
    loaded = _peak()
    with tempfile.TemporaryDirectory() as out:
        run.compare(run.load_dossiers(cases), load_personas(), Prompts(), opened, out=Path(out), fresh=True)
    print(json.dumps({"measured": _peak(), "before": before, "loaded": loaded, "lanes": lanes}))


class _Watch:
    """A `Forward` that notes how large its passes are."""

    def __init__(self, forward: Any, most: dict[str, int]) -> None:
        self._forward, self._most = forward, most

    def reset(self) -> None:
        self._forward.reset()

    def extend(self, parents: Any, ids: Any, mask: Any, positions: Any, wanted: Any) -> Any:
        rows, slots = mask.shape
        sizes = {"rows": rows, "slots": slots, "cells": rows * slots, "new": ids.size, "scored": len(wanted)}
        for name, size in sizes.items():
            self._most[name] = max(self._most[name], size)
        return self._forward.extend(parents, ids, mask, positions, wanted)


def _peak() -> int:
    """The highest resident set so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], [Path(case) for case in sys.argv[4:]])
