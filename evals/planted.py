"""Twelve regressions, planted one by one: does the gate catch each, and say where it is?

    python -m evals.planted                          all twelve, over the cases of the blessed run
    python -m evals.planted --only grammar           one of them

Each is a change that somebody could make: of a persona, of a calibration, of the code, of the model. What it leaves
alone is answered from the kept answers; the rest is asked of the model, and kept under --out for the next time.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from evals.cli import ANSWERS, BASELINES, chosen_cases
from evals.gate import judge, lacking, load_baseline
from evals.planting import planted
from evals.rounded import quantised
from evals.shared import note, report, run
from evals.stability.kept import Kept, kept_and_live
from evals.stability.missing import MissingRun
from evals.stability.run import run_stability
from evals.stability.verdict import Baseline, Gate, Outcome
from panel.errors import SetupError
from panel.gold import Case
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import Calibration, Persona
from panel.requests import Completion, Engine, EngineInfo, GenerateRequest, Grammar, ScoreRequest, Scores
from panel.run import calibrate_for

OUT = Path("outputs/evals/planted")
#: Everything that the drafting grammars and the tools' grammars keep out.
FREE_TOKENS = 40
ANYTHING = Grammar("lark", r"start: /(.|\n)+/")


@dataclass
class Scene:
    """What a run is made of, before and after something was planted in it."""

    personas: list[Persona]
    cases: Sequence[Case]
    engine: Engine
    out: Path
    only: tuple[str, ...] = ("order",)
    live: int = 0
    #: changes of the source: module, what stands there, what is to stand there
    code: list[tuple[str, str, str]] = field(default_factory=list)

    def change(self, slug: str, **fields: object) -> None:
        self.personas = [p.model_copy(update=fields) if p.slug == slug else p for p in self.personas]

    def persona(self, slug: str) -> Persona:
        return next(p for p in self.personas if p.slug == slug)


@dataclass(frozen=True)
class Plant:
    """One regression: what the gate must say of it, and whom and what it must name in doing so (any of the probes)."""

    name: str
    title: str
    plant: Callable[[Scene], None]
    personas: tuple[str, ...]
    probes: tuple[str, ...]
    outcome: Outcome = "regress"

    def caught(self, said: Gate) -> str:
        """The sentence that names one of the personas and one of the probes; "" where none does, or where the outcome
        is another."""
        told = [f.sentence for f in said.findings if f.counts == said.outcome] or [said.sentence]
        named = [t for t in told if any(p in t for p in self.personas) and any(p in t for p in self.probes)]
        return named[0] if named and said.outcome == self.outcome else ""


ALL = ("builder", "competitor-analyst", "futurist", "business-buyer")


# ------------------------------------------------------------------------------------------------- the twelve


def _prose(scene: Scene) -> None:
    scene.change("futurist", voice=".")


def _labels(scene: Scene) -> None:
    scene.code.append(("panel.weigh", "logprobs[0] - scores.logprobs[1]", "logprobs[1] - scores.logprobs[0]"))


def _example(scene: Scene) -> None:
    first, *rest = scene.persona("builder").examples
    wrong = first.model_copy(update={"label": "bad" if first.label == "good" else "good"})
    scene.change("builder", examples=(wrong, *rest))


def _prior(scene: Scene) -> None:
    scene.code.append(("panel.weigh", "next(values) - prior - persona", "next(values) - persona"))


def _grammar(scene: Scene) -> None:
    scene.engine, scene.only, scene.live = Free(scene.engine), ("live",), 1


def _order(scene: Scene) -> None:
    first = "(1.5 if item.id == 'E1' else 1) * size_of(pull, deadband), pull > 0"
    scene.code.append(("panel.decide", "size_of(pull, deadband), pull > 0", first))


def _quantisation(scene: Scene) -> None:
    scene.cases = scene.cases[:1]
    scene.engine = quantised("embedded", scene.out / "int8")


def _calibration(scene: Scene) -> None:
    """That of the model with the adapter before this one, as the file of calibrations had it."""
    other = Calibration(fitted=True, neutral=-0.288, deadband=0.4, intercept=-1.13, strengths=4.623, weaknesses=1.321)
    scene.change("futurist", calibration=other)


def _truncated(scene: Scene) -> None:
    scene.code.append(("panel.weigh", "without_boasts(seen.fact)", "without_boasts(seen.fact)[:20]"))


def _seed(scene: Scene) -> None:
    scene.engine, scene.only, scene.live = Deaf(scene.engine), ("live",), 1


def _copy(scene: Scene) -> None:
    builder = scene.persona("builder")
    told = ("audience", "lens", "examples", "voice", "beats", "terms", "calibration")
    scene.change("futurist", **{name: getattr(builder, name) for name in told})


def _threshold(scene: Scene) -> None:
    scene.code.append(("panel.decide", "p_ship >= 0.5", "p_ship >= 0.7"))


GOLD = ("gold", "Brier")
PLANTS = (
    Plant("prose", "a persona's prose emptied", _prose, ("futurist",), ("prose",)),
    Plant("labels", "the label words swapped", _labels, ALL, GOLD),
    Plant("example", "an example made wrong", _example, ("builder",), ("examples",)),
    Plant("prior", "the prior dropped", _prior, ALL, ("prior",)),
    Plant("grammar", "the grammar off", _grammar, ALL, ("live",)),
    Plant("order", "order dependence put back", _order, ALL, ("order",)),
    Plant("quantisation", "another quantisation (int8)", _quantisation, ALL, ("order",), "not comparable"),
    Plant("calibration", "the calibration of another model", _calibration, ("futurist",), ("calibration",)),
    Plant("evidence", "evidence truncated", _truncated, ALL, GOLD),
    Plant("seed", "the seed ignored", _seed, ALL, ("live",)),
    Plant("copy", "one persona copied over another", _copy, ("futurist",), ("copy",)),
    Plant("threshold", "the threshold moved", _threshold, ALL, ("threshold",)),
)


class Free:
    """Lets the model write whatever it likes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def change(self, request: GenerateRequest) -> GenerateRequest:
        # left alone it would write until nobody waits for it any more
        short = replace(request.sampling, max_tokens=min(request.sampling.max_tokens, FREE_TOKENS))
        return replace(request, grammar=ANYTHING, sampling=short)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        return self._engine.generate([self.change(request) for request in requests])

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return self._engine.score(requests)

    def count_tokens(self, text: str) -> int:
        return self._engine.count_tokens(text)

    def ordinary_words(self) -> frozenset[str]:
        return self._engine.ordinary_words()


class Deaf(Free):
    """Draws with the same seed, whichever it is given."""

    def change(self, request: GenerateRequest) -> GenerateRequest:
        return replace(request, seed=0)


# -------------------------------------------------------------------------------------------------- the command


def gate_of(plant: Plant, kept: Kept, baseline: Baseline, cases: Sequence[Case], out: Path) -> Gate:
    """What the gate says once it is planted. Raises what `run_stability` raises."""
    prompts, engine = Prompts(), kept.engine()
    about = baseline.run.about.settings
    scene = Scene(list(calibrate_for(load_personas(), prompts, engine)), cases, engine, out)
    plant.plant(scene)
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory())
        for change in scene.code:
            stack.enter_context(planted(*change))
        try:
            made = run_stability(
                scene.engine, prompts, scene.personas, scene.cases, Path(work), seeds=int(about["seeds"]),
                draws=int(about["draws"]), live=scene.live, only=scene.only, again=kept.engine,
            )  # fmt: skip
        except MissingRun as error:
            return lacking(error, baseline)
    return judge(made, baseline)


def chosen(only: Sequence[str]) -> Iterator[Plant]:
    """Raises `SetupError` where there is no plant of that name."""
    known = [plant.name for plant in PLANTS]
    for name in only:
        if name not in known:
            raise SetupError(f"there is no plant {name!r}", field="--only", fix=f"choose from {', '.join(known)}")
    yield from (plant for plant in PLANTS if not only or plant.name in only)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    only: Annotated[list[str] | None, typer.Option(help="Plant these alone; repeatable.")] = None,
    answers: Annotated[Path, typer.Option(help="The kept answers.")] = ANSWERS,
    baseline: Annotated[Path, typer.Option(help="The blessed run.")] = BASELINES / "stability.json",
    out: Annotated[Path, typer.Option(help="Where new answers are kept.")] = OUT,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Plant each regression and show what the gate says; exit code 1 where one is not caught."""
    plants = list(chosen(only or []))
    blessed = load_baseline(baseline)
    cases = chosen_cases([], list(blessed.run.about.cases))
    rows = [["planted", "outcome", "exit code", "", "what the gate says"]]
    found = {}
    with kept_and_live(answers, out) as kept:
        for plant in plants:
            note(f"planting: {plant.title}")
            said = gate_of(plant, kept, blessed, cases, out)
            caught = plant.caught(said)
            found[plant.name] = {"outcome": said.outcome, "caught": bool(caught), "sentence": caught or said.sentence}
            mark = "✓" if caught else "✗"
            rows.append([plant.title, said.outcome, str(said.exit_code), mark, caught or said.sentence])
    right = sum(bool(one["caught"]) for one in found.values())
    summary = f"{right} of {len(found)} caught, with the outcome and the names that they should have"
    report({"planted": found}, rows, [summary], as_json=as_json)
    if right < len(found):
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
