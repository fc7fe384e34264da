"""This project on one of its engines: `panel.run.compare`, two tools (eight reviews) a round.

Beside its lines it writes what the engine was asked, so that the ceiling can be measured on the same tokens.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.peers.protocol import Lines, parser, peak_bytes
from evals.peers.work import Work, work_of
from panel.requests import Completion, Engine, EngineInfo, GenerateRequest, ScoreRequest, Scores

#: Tools of a round: what the panel works on side by side.
AT_ONCE = 2


class Recorder:
    """An engine that passes everything on, and keeps what was asked and answered, in order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: list[tuple[GenerateRequest, Completion] | tuple[ScoreRequest, Scores]] = []

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        answers = self._engine.generate(requests)
        self.calls += zip(requests, answers, strict=True)
        return answers

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        answers = self._engine.score(requests)
        self.calls += zip(requests, answers, strict=True)
        return answers

    def count_tokens(self, text: str) -> int:
        return self._engine.count_tokens(text)

    def ordinary_words(self) -> frozenset[str]:
        return self._engine.ordinary_words()


def as_json(review: Any) -> str:
    """What a review says, in the form that the peers are asked for."""
    beats = {beat.name: {"text": beat.text, "cites": list(beat.cites)} for beat in review.beats}
    return json.dumps({"decision": review.decision, "beats": beats}, ensure_ascii=False) if beats else ""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--engine", default="openvino")
    options.add_argument("--dossiers", nargs="+", type=Path, required=True)
    options.add_argument("--warm-up", type=Path, required=True, help="another dossier, reviewed first, not counted")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--work", type=Path, help="file for what the engine was asked")
    known = options.parse_args()
    lines = Lines(known.started)

    from panel.engines import open_engine
    from panel.personas import load_personas
    from panel.prompts import Prompts
    from panel.run import Event, calibrate_for, compare, load_dossiers

    dossiers, prompts = load_dossiers(known.dossiers), Prompts()
    warm_up = load_dossiers([known.warm_up])
    opened = open_engine(known.engine, known.model, offline=True)
    engine = Recorder(opened)
    personas = calibrate_for(load_personas(), prompts, engine)
    loaded = lines.now()
    rounds: list[Work] = []
    with tempfile.TemporaryDirectory() as folder:
        compare(warm_up, personas, prompts, engine, out=Path(folder), seed=known.seed, fresh=True)
        begun = lines.now()
        software = f"{engine.info.engine} {engine.info.engine_version}"
        lines.write("ready", software=software, load_s=loaded, warm_up_s=begun - loaded)
        for start in range(0, len(dossiers), AT_ONCE):
            if start and lines.now() - begun >= 60 * known.minutes:
                break
            engine.calls.clear()
            finished: dict[tuple[str, str], float] = {}

            def note(event: Event, finished: dict[tuple[str, str], float] = finished) -> None:
                finished[event.tool, event.persona] = lines.now()

            some, clock = dossiers[start : start + AT_ONCE], time.perf_counter()
            record = compare(
                some, personas, prompts, engine, out=Path(folder), seed=known.seed, fresh=True, on_event=note
            ).record
            seconds = time.perf_counter() - clock
            reviews = [(tool.slug, review) for tool in record.tools for review in tool.reviews]
            for tool, review in reviews:
                lines.write(
                    "review", tool=tool, persona=review.persona, seconds=review.provenance.seconds,
                    at=finished[tool, review.persona], text=as_json(review), error=review.reason,
                )  # fmt: skip
            lines.write(
                "round", seconds=seconds, reviews=len(reviews),
                prompt_tokens=sum(answer.prompt_tokens for _, answer in engine.calls),
                completion_tokens=sum(a.completion_tokens for _, a in engine.calls if isinstance(a, Completion)),
            )  # fmt: skip
            if known.work and hasattr(opened, "codec"):
                rounds.append(work_of(engine.calls, opened.codec, seconds))
    if rounds:
        known.work.write_text(json.dumps([work.to_json() for work in rounds]), encoding="utf-8")
    lines.write("done", peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
