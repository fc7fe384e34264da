"""How right the weighing and the verdicts are against gold, and the calibration that follows from the train split.

    python -m evals.gold                 table for dev (sign AUC, verdicts right, Brier score, correlation)
    python -m evals.gold --part test     the same for test
    python -m evals.gold --fit           the calibration of each persona, fitted on train, to put into personas/*.md

Pulls are computed once per case and kept under --out, keyed by what they depend on.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from panel.decide import decide
from panel.dossier import dossier_sha256, load_dossier
from panel.engines import open_engine
from panel.files import write_atomic
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.records import PERSONA_SLUGS, Calibration, Dossier, Persona, Pull
from panel.requests import Engine
from panel.weigh import weigh

CASES = Path(__file__).parent / "cases"
SPLIT = Path(__file__).parent / "split.yaml"


@dataclass(frozen=True)
class Case:
    """One tool with its gold: verdicts by persona, signs by evidence and persona."""

    dossier: Dossier
    verdicts: dict[str, str]
    signs: dict[str, dict[str, int]]


def load_cases(part: str) -> list[Case]:
    """The cases of one part of the split (train, dev or test)."""
    names = yaml.safe_load(SPLIT.read_text(encoding="utf-8"))[part]
    cases = []
    for name in names:
        gold = yaml.safe_load((CASES / name / "gold.yaml").read_text(encoding="utf-8"))
        cases.append(Case(load_dossier(CASES / name), gold["verdicts"], gold["pulls"]))
    return cases


def auc(higher: list[float], lower: list[float]) -> float:
    """Chance that one of `higher` exceeds one of `lower`, ties counting half (Mann-Whitney U / nm)."""
    if not higher or not lower:
        return math.nan
    wins = sum((a > b) + 0.5 * (a == b) for a in higher for b in lower)
    return wins / (len(higher) * len(lower))


def pulls_of(engine: Engine, prompts: Prompts, persona: Persona, dossier: Dossier, out: Path) -> list[Pull]:
    """The pulls of one persona on one tool before its calibration, from `out` where they are known."""
    about = [engine.info.model_sha256, engine.info.engine, engine.info.engine_version, prompts.render(
        "weigh", examples=persona.examples, audience=persona.audience, fact="?"), dossier_sha256(dossier)]  # fmt: skip
    path = out / f"{dossier.slug}.{persona.slug}.{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]}.json"
    if path.is_file():
        return [Pull.model_validate(item) for item in json.loads(path.read_text(encoding="utf-8"))]
    pulls = weigh(engine, prompts, persona.model_copy(update={"calibration": Calibration()}), dossier.evidence)
    write_atomic(path, json.dumps([pull.model_dump() for pull in pulls]) + "\n")
    return pulls


def calibrated(pulls: list[Pull], neutral: float) -> list[Pull]:
    """What `weigh` makes of them: zero is where facts without bearing are."""
    return [Pull(evidence=p.evidence, log_odds=round(p.log_odds - neutral, 3)) for p in pulls]


def mean_pull(persona: Persona, dossier: Dossier, pulls: list[Pull]) -> float:
    """The number that `decide` calibrates: what it makes of the pulls with intercept 0 and slope 1."""
    plain = persona.model_copy(update={"calibration": Calibration(intercept=0.0, slope=1.0)})
    p = decide(plain, dossier.evidence, pulls)[1]
    return math.log(p / (1 - p))


def fit(values: list[float], ships: list[bool], penalty: float = 0.02) -> tuple[float, float]:
    """Intercept and slope of a logistic regression with an L2 penalty on the standardised slope (Newton's method).

    The prior says nothing about the base rate: the two classes weigh the same.
    """
    x, y = np.array(values), np.array(ships, float)
    centre, spread = x.mean(), x.std()
    z = (x - centre) / spread
    weights = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean())) / len(y)
    beta = np.zeros(2)
    design = np.stack([np.ones_like(z), z], axis=1)
    ridge = np.diag([0.0, penalty])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (weights * (y - p)) - ridge @ beta
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + ridge
        beta = beta + np.linalg.solve(hessian, gradient)
    slope = float(beta[1] / spread)
    return float(beta[0] - slope * centre), slope


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evals.gold", description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=("train", "dev", "test"), default="dev")
    parser.add_argument("--fit", action="store_true", help="print calibrations fitted on train, and measure nothing")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, default=Path("outputs/evals/pulls"), help="where pulls are kept")
    arguments = parser.parse_args()
    engine = open_engine(arguments.engine, arguments.model)
    prompts, personas = Prompts(), load_personas()
    cases = load_cases("train" if arguments.fit else arguments.part)
    chances: dict[str, list[float]] = {slug: [] for slug in PERSONA_SLUGS}
    right = total = 0
    brier = 0.0
    for persona in personas:
        values: list[float] = []
        good: list[float] = []
        bad: list[float] = []
        idle: list[float] = []
        hits = 0
        neutral = 0.0 if arguments.fit else persona.calibration.neutral
        for number, case in enumerate(cases, 1):
            print(f"\r{persona.slug} {number}/{len(cases)} ", end="", file=sys.stderr, flush=True)
            pulls = calibrated(pulls_of(engine, prompts, persona, case.dossier, arguments.out), neutral)
            values.append(mean_pull(persona, case.dossier, pulls))
            good += [p.log_odds for p in pulls if case.signs[p.evidence][persona.slug] > 0]
            idle += [p.log_odds for p in pulls if case.signs[p.evidence][persona.slug] == 0]
            bad += [p.log_odds for p in pulls if case.signs[p.evidence][persona.slug] < 0]
            decision, p_ship = decide(persona, case.dossier.evidence, pulls)
            chances[persona.slug].append(p_ship)
            hits += decision == case.verdicts[persona.slug]
            brier += (p_ship - (case.verdicts[persona.slug] == "ship")) ** 2
        print("\r", end="", file=sys.stderr)
        ships = [case.verdicts[persona.slug] == "ship" for case in cases]
        if arguments.fit:
            neutral = round(float(np.mean(idle)), 3)
            intercept, slope = fit([value - neutral for value in values], ships)
            fitted = f"{{neutral: {neutral}, intercept: {intercept:.3f}, slope: {slope:.3f}}}"
            print(f"{persona.slug:20} calibration: {fitted}")
            continue
        right, total = right + hits, total + len(cases)
        judged = list(zip(values, ships, strict=True))
        order = auc([v for v, ship in judged if ship], [v for v, ship in judged if not ship])
        print(f"{persona.slug:20} sign AUC {auc(good, bad):.3f}  verdict AUC {order:.3f}  right {hits}/{len(cases)}")
    if not arguments.fit:
        pairs = [np.corrcoef(chances[a], chances[b])[0, 1] for a, b in itertools.combinations(PERSONA_SLUGS, 2)]
        print(f"{'all':20} right {right}/{total} ({right / total:.0%})  Brier {brier / total:.3f}  "
              f"mean correlation of p_ship between personas {np.mean(pairs):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
