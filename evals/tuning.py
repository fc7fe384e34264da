"""How often `review-panel personas tune` finds something where there is nothing to be found.

    python -m evals.tuning                  50 draws: gold is dealt out among the tools anew, so that no lens is right
    python -m evals.tuning --draws 200

The pulls are the model's own on our cases; only the verdicts change hands, within search and dev each. A search finds
something on the cases that it searches often enough; what counts is how often dev bears it out, which should happen in
2.5% of the draws.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from evals.intervals import wilson
from evals.shared import CASES, note, report, run
from panel.engines import open_cached
from panel.gold import Case, load_cases
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.tuning.effect import Judge
from panel.tuning.search import tune

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def dealt(cases: Sequence[Case], rng: random.Random) -> list[Case]:
    """The same tools, each with the verdicts of another; gold's opinion of single facts stays."""
    verdicts = [case.gold.verdicts for case in cases]
    rng.shuffle(verdicts)
    return [
        replace(case, gold=case.gold.model_copy(update={"verdicts": other}))
        for case, other in zip(cases, verdicts, strict=True)
    ]


@app.command()
def main(
    draws: Annotated[int, typer.Option(min=1, help="Times that gold is dealt out, for each persona.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="As for personas tune.")] = 2,
    engine: str = "openvino",
    model: str = "embedded",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """False finds of the search for better personas."""
    judge = Judge(open_cached(engine, model), Prompts())
    search, dev = [*load_cases(CASES, "train"), *load_cases(CASES, "calibration")], load_cases(CASES, "dev")
    rows = [["persona", "found on the searched cases", "confirmed on dev"]]
    found: dict[str, list[int]] = {}
    for persona in load_personas():
        stepped = confirmed = 0
        for draw in range(draws):
            rng = random.Random(f"{persona.slug} {draw}")  # noqa: S311
            one = tune(judge, persona, search=dealt(search, rng), dev=dealt(dev, rng), rounds=rounds)
            stepped += bool(one.steps)
            confirmed += one.confirmed
        found[persona.slug] = [stepped, confirmed]
        rows.append([persona.slug, f"{stepped} of {draws}", f"{confirmed} of {draws}"])
        note(f"{persona.slug}: {confirmed} of {draws} confirmed")
    total = draws * len(found)
    share = wilson(sum(confirmed for _, confirmed in found.values()), total)
    rows.append(["all", f"{sum(s for s, _ in found.values())} of {total}", share.share()])
    result = {"draws": draws, "rounds": rounds, "personas": found, "confirmed": vars(share)}
    report(result, rows, as_json=as_json)


if __name__ == "__main__":
    run(app)
