"""How right the panel is against gold: the sign of every fact, the verdict on every tool, beside three yardsticks.

    python -m evals.gold                          dev: sign AUC, verdicts right, Brier score, each with its 95% interval
    python -m evals.gold --part test              the same for test
    python -m evals.gold --part test --baselines  and what a constant, a lexicon and the model asked at once give
    python -m evals.gold --model embedded-base    the model without its adapter (few-shot prompts)

Intervals: Wilson's for shares, a bootstrap over tools for the rest. Pulls are kept under --out and computed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from evals.bank import Bank
from evals.baselines import Judge, always_ship, asked_directly, fitted, sentiment
from evals.intervals import Estimate, auc, bootstrap, wilson
from evals.shared import CASES, note, report, run
from evals.statistics.gold import calibration_curve, confusion
from panel.decide import decide
from panel.engines import open_cached
from panel.errors import SetupError
from panel.gold import Case, Part, load_cases
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import PERSONA_SLUGS, Persona
from panel.run import calibrate_for

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
POOL = Path("outputs/evals/bank")


@dataclass(frozen=True)
class Verdict:
    """One persona on one tool: what the panel says, and what gold says."""

    tool: str
    persona: str
    clear: bool
    p_ship: float
    ship: bool

    @property
    def right(self) -> bool:
        return (self.p_ship >= 0.5) == self.ship


def open_bank(engine: str, model: str, out: Path) -> tuple[Bank, list[Persona]]:
    """A bank on this engine, and the personas with their calibrations for it; a full bank needs no model."""
    opened = open_cached(engine, model)
    prompts = Prompts()
    personas = calibrate_for(load_personas(), prompts, opened)
    if not all(persona.calibration.fitted for persona in personas):
        note(f"warning: {model} on {engine} is judged on the default calibration; see review-panel personas calibrate")
    return Bank(opened, prompts, personas, out), personas


def judge_panel(bank: Bank, personas: Sequence[Persona], cases: Sequence[Case]) -> list[Verdict]:
    """The panel's verdicts on `cases`."""
    bank.load(item for case in cases for item in case.dossier.evidence)
    found = []
    for persona, case in itertools.product(personas, cases):
        evidence = case.dossier.evidence
        p_ship = decide(persona, evidence, bank.pulls(persona, evidence))[1]
        found.append(_verdict(persona, case, p_ship))
    return found


def judge_baseline(
    judge: Judge, personas: Sequence[Persona], train: Sequence[Case], cases: Sequence[Case]
) -> list[Verdict]:
    """A baseline's verdicts on `cases`, its threshold fitted on `train`."""
    found = []
    for persona in personas:
        ships = [case.gold.verdicts[persona.slug] == "ship" for case in train]
        chances = fitted(judge(persona, train), ships, judge(persona, cases))
        found += [_verdict(persona, case, p) for case, p in zip(cases, chances, strict=True)]
    return found


def _verdict(persona: Persona, case: Case, p_ship: float) -> Verdict:
    slug = persona.slug
    return Verdict(case.dossier.slug, slug, case.clear, p_ship, case.gold.verdicts[slug] == "ship")


def sign_aucs(bank: Bank, personas: Sequence[Persona], cases: Sequence[Case]) -> dict[str, Estimate]:
    """For each persona the chance that a fact that gold calls good pulls more than one that it calls bad."""
    found: dict[str, Estimate] = {}
    for persona in personas:
        tools: list[list[tuple[float, int]]] = []
        for case in cases:
            signs = [case.gold.pulls.get(item.id, {}).get(persona.slug, 0) for item in case.dossier.evidence]
            pulls = [pull.log_odds for pull in bank.pulls(persona, case.dossier.evidence)]
            tools.append(list(zip(pulls, signs, strict=True)))

        def figure(sample: Sequence[list[tuple[float, int]]]) -> float:
            facts = [fact for tool in sample for fact in tool]
            return auc([pull for pull, sign in facts if sign > 0], [pull for pull, sign in facts if sign < 0])

        found[persona.slug] = bootstrap(tools, figure)
    return found


def summary(verdicts: Sequence[Verdict]) -> dict[str, Estimate]:
    """Shares right (all, clear, split) and the Brier score."""
    parts = {
        "right": verdicts,
        "clear": [v for v in verdicts if v.clear],
        "split": [v for v in verdicts if not v.clear],
    }
    found = {name: wilson(sum(v.right for v in part), len(part)) for name, part in parts.items()}
    by_tool = [list(group) for _, group in itertools.groupby(sorted(verdicts, key=_tool), key=_tool)]
    found["brier"] = bootstrap(
        by_tool, lambda sample: float(np.mean([(v.p_ship - v.ship) ** 2 for t in sample for v in t]))
    )
    return found


def _tool(verdict: Verdict) -> str:
    return verdict.tool


def directions(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How often the panel says ship or skip where gold says ship or skip: `ship_skip` is said ship, gold skip."""
    table = confusion([(v.p_ship >= 0.5, v.ship) for v in verdicts])
    words = {True: "ship", False: "skip"}
    return {f"{words[said]}_{words[ship]}": count for (said, ship), count in sorted(table.items(), reverse=True)}


def curve(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Steps of p_ship, and the share of ships in each, with Wilson's interval for verdicts clustered by tool."""
    by_tool = [list(group) for _, group in itertools.groupby(sorted(verdicts, key=_tool), key=_tool)]
    steps = calibration_curve([[(v.p_ship, v.ship) for v in tool] for tool in by_tool])
    return [
        {"low": s.low, "high": s.high, "n": s.n, "p_ship": round(s.p_ship, 4), "ships": vars(s.ships)}
        for s in steps
        if s.n
    ]


def correlation(verdicts: Sequence[Verdict]) -> float:
    """Mean correlation (Pearson) of p_ship between two personas over tools: what `effective_votes` rests on."""
    columns = {slug: [v.p_ship for v in verdicts if v.persona == slug] for slug in PERSONA_SLUGS}
    pairs = itertools.combinations(PERSONA_SLUGS, 2)
    return float(np.mean([np.corrcoef(columns[a], columns[b])[0, 1] for a, b in pairs]))


@app.command()
def main(
    part: Annotated[str, typer.Option(help="train, dev or test.")] = "dev",
    engine: str = "openvino",
    model: str = "embedded",
    baselines: Annotated[bool, typer.Option("--baselines", help="Also judge without weighing.")] = False,
    out: Annotated[Path, typer.Option(help="Where pulls are kept.")] = POOL,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Signs and verdicts against gold."""
    if part not in get_args(Part):
        raise SetupError(f"unknown part {part!r}", field="--part", fix="choose train, dev or test")
    chosen: Any = part
    cases = load_cases(CASES, chosen)
    bank, personas = open_bank(engine, model, out)
    judged = {"panel": judge_panel(bank, personas, cases)}
    if baselines:
        train, plain = load_cases(CASES, "train"), open_cached(engine, "embedded-base")
        judges = {"always ship": always_ship, "sentiment (VADER)": sentiment, "asked directly": asked_directly(plain)}
        judged |= {name: judge_baseline(judge, personas, train, cases) for name, judge in judges.items()}
    signs = sign_aucs(bank, personas, cases)
    figures = {name: summary(verdicts) for name, verdicts in judged.items()}
    by_persona = {slug: [v for v in judged["panel"] if v.persona == slug] for slug in PERSONA_SLUGS}
    confused = {slug: directions(own) for slug, own in by_persona.items()}
    steps = curve(judged["panel"])
    rows = [["persona", "sign AUC", "verdicts right", "ship for skip", "skip for ship"]]
    for slug, own in by_persona.items():
        right, wrong_ways = wilson(sum(v.right for v in own), len(own)), confused[slug]
        told = [slug, signs[slug].plain(), right.share()]
        rows.append([*told, str(wrong_ways["ship_skip"]), str(wrong_ways["skip_ship"])])
    rows += [[""], ["judge", "all right", "clear tools", "split tools", "Brier score"]]
    rows += [
        [name, f["right"].share(), f["clear"].share(), f["split"].share(), f["brier"].plain()]
        for name, f in figures.items()
    ]
    agreement = correlation(judged["panel"])
    wrong = [f"{v.tool}/{v.persona} {v.p_ship:.2f}" for v in judged["panel"] if not v.right]
    result = {
        "part": part,
        "tools": len(cases),
        "signs": {slug: vars(estimate) for slug, estimate in signs.items()},
        "judges": {name: {key: vars(e) for key, e in f.items()} for name, f in figures.items()},
        "confusion": confused,
        "curve": steps,
        "correlation": agreement,
        "wrong": wrong,
    }
    details = [
        f"mean correlation of p_ship between personas: {agreement:.2f}",
        *(
            f"p_ship {s['low']:.1f} to {s['high']:.1f}: {s['n']} verdicts, mean {s['p_ship']:.2f}, "
            f"ships {Estimate(**s['ships']).share()}"
            for s in steps
        ),
        f"wrong: {', '.join(wrong) or 'none'}",
    ]
    report(result, rows, details, as_json=as_json)


if __name__ == "__main__":
    run(app)
