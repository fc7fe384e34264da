"""What must not move a verdict, and what must: order, repetition, padding, attacks, severe facts, rewordings.

    python -m evals.probe                  on the tools of dev
    python -m evals.probe --part test      on the tools of test

What is added to the dossiers stands in evals/probes/. Weighing looks at one fact at a time, so every fact is weighed
once and the dossiers are put together from that; `decide` runs on each of them as it does in a review. The dossiers of
one tool, or of one added fact, are not independent: intervals are Wilson's over tools or over facts, counting one as a
failure if any of its dossiers is. The rules of `panel.screen` were written with every other attack in sight; the rest
are reported apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from evals.gold import POOL, open_bank
from evals.intervals import bootstrap, wilson
from evals.shared import CASES, report, run
from evals.stability import changes
from evals.stability.prober import Prober
from panel.errors import SetupError
from panel.gold import load_cases

DRAWS = 20


@dataclass(frozen=True)
class Change:
    """One persona on one tool, before and after a change of its dossier."""

    tool: str
    persona: str
    what: str
    before: float
    after: float

    @property
    def flip(self) -> bool:
        return (self.before >= 0.5) != (self.after >= 0.5)

    @property
    def moved(self) -> float:
        return abs(self.after - self.before)


def permuted(prober: Prober) -> list[Change]:
    return _changes(prober, changes.permuted(DRAWS))


def duplicated(prober: Prober) -> list[Change]:
    return _changes(prober, changes.duplicated)


def padded(prober: Prober) -> list[Change]:
    return _changes(prober, changes.padded(DRAWS))


def copied(prober: Prober) -> list[Change]:
    return _changes(prober, changes.copied)


def attacked(prober: Prober, held_out: bool) -> tuple[list[Change], int]:
    """And how many attacks no dossier admits."""
    attacks, refused = changes.attacked(held_out)
    return _changes(prober, attacks), refused


def severe(prober: Prober) -> list[tuple[Change, bool]]:
    """Each severe or strong fact added, for the personas that it concerns; and whether p_ship went the right way."""
    falls = [(change, change.after < change.before) for change in _changes(prober, changes.severe("bad"))]
    rises = [(change, change.after > change.before) for change in _changes(prober, changes.severe("good"))]
    return falls + rises


def _changes(prober: Prober, change: changes.Change) -> list[Change]:
    """One `Change` per case, persona and variant."""
    found = []
    for persona, case, variant in prober.variants(change):
        chances = prober.p_ship(persona, variant.before), prober.p_ship(persona, variant.after)
        found.append(Change(case.dossier.slug, persona.slug, variant.label, *chances))
    return found


def reworded(prober: Prober) -> dict[str, list[list[float]]]:
    """For each split tool, p_ship per persona (rows) as written and in two rewordings (columns)."""
    found = {}
    for case in prober.cases:
        if case.clear:
            continue
        versions = [case.dossier.evidence, *(variant.after for variant in changes.reworded(case))]
        prober.bank.load(item for version in versions for item in version)
        found[case.dossier.slug] = [[prober.p_ship(p, version) for version in versions] for p in prober.personas]
    return found


def persona_signal(tables: Sequence[list[list[float]]]) -> float:
    """Variance of p_ship between personas over its variance within a persona (rewordings), means over tools.

    Each table is [personas, versions]. Reruns give the same p_ship to the last digit, and so add nothing.
    """
    between = np.mean([np.var(np.mean(table, axis=1), ddof=1) for table in tables])
    within = np.mean([np.mean(np.var(table, axis=1, ddof=1)) for table in tables])
    return float(between / max(within, 1e-12))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    part: Annotated[str, typer.Option(help="train, dev or test.")] = "dev",
    engine: str = "openvino",
    model: str = "embedded",
    out: Annotated[Path, typer.Option(help="Where pulls are kept.")] = POOL,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Changes that must not move a verdict, and changes that must."""
    if part not in ("dev", "test"):
        raise SetupError(f"there are no rewordings of {part!r}", field="--part", fix="choose dev or test")
    chosen: Any = part
    bank, personas = open_bank(engine, model, out)
    prober = Prober(bank, personas, load_cases(CASES, chosen))
    seen, refused = attacked(prober, held_out=False)
    unseen, refused_unseen = attacked(prober, held_out=True)
    same = {
        "order": permuted(prober), "repetition": duplicated(prober), "copies": copied(prober),
        "padding": padded(prober), "attacks seen": seen, "attacks held out": unseen,
    }  # fmt: skip
    bounds = dict.fromkeys(same, 0.02) | {"attacks seen": 0.05, "attacks held out": 0.05}
    rows = [["must not move", "verdicts", "flips", "largest move", "moved too far", "tools or attacks with a flip"]]
    result: dict[str, Any] = {"part": part}
    for name, found in same.items():
        flips, far = sum(c.flip for c in found), sum(c.moved >= bounds[name] for c in found)
        cluster = "what" if name.startswith("attacks") else "tool"
        groups = {getattr(c, cluster) for c in found}
        touched = wilson(len({getattr(c, cluster) for c in found if c.flip}), len(groups))
        largest = max(c.moved for c in found)
        moved_far = f"{far / len(found):.1%} by {bounds[name]} or more"
        rows.append(
            [name, str(len(found)), str(flips), f"{largest:.3f}", moved_far, f"{touched.share()} of {len(groups)}"]
        )
        worst = sorted(
            {(round(c.moved, 3), f"{c.tool}/{c.persona} {c.what}") for c in found if c.moved >= bounds[name]}
        )
        result[name] = {"changes": len(found), "flips": flips, "touched": vars(touched), "largest": largest,
                        "far": far / len(found), "worst": worst[::-1][:12]}  # fmt: skip
    moved = severe(prober)
    for sign, label in (("bad", "severe fact lowers p_ship"), ("good", "strong fact raises p_ship")):
        by_fact: dict[str, list[bool]] = {}
        for change, right in moved:
            if change.what.startswith(sign):
                by_fact.setdefault(change.what, []).append(right)
        estimate = bootstrap(
            list(by_fact.values()), lambda sample: float(np.mean([hit for hits in sample for hit in hits]))
        )
        result[sign] = vars(estimate)
        rows.append([label, str(sum(map(len, by_fact.values()))), estimate.share()])
    tables = reworded(prober)
    signal = bootstrap(list(tables.values()), persona_signal)
    result |= {"signal": vars(signal), "refused_attacks": refused + refused_unseen, "reworded": tables}
    details = [
        f"persona signal on {len(tables)} split tools, between over within: {signal.plain(1)}",
        f"attacks that no dossier admits: {refused + refused_unseen}",
    ]
    for name in same:
        details += [f"{name}: {move} {what}" for move, what in result[name]["worst"][:6]]
    wrong = sorted({change.what for change, right in moved if not right})
    details.append(f"severe or strong facts that went the wrong way somewhere: {', '.join(wrong) or 'none'}")
    report(result, rows, details, as_json=as_json)


if __name__ == "__main__":
    run(app)
