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

import itertools
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from pydantic import ValidationError

from evals.gold import POOL, open_bank
from evals.intervals import bootstrap, wilson
from evals.shared import CASES, report, run
from panel.bank import Bank
from panel.decide import decide
from panel.errors import SetupError
from panel.gold import Case, load_cases
from panel.records import Evidence, Persona
from panel.screen import screen

PROBES = CASES.parent / "probes"
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


class Prober:
    """p_ship of any dossier, from a bank of pulls."""

    def __init__(self, bank: Bank, personas: Sequence[Persona], cases: Sequence[Case]) -> None:
        self.bank, self.personas, self.cases = bank, personas, cases
        bank.load(item for case in cases for item in case.dossier.evidence)

    def p_ship(self, persona: Persona, evidence: Sequence[Evidence]) -> float:
        numbered = [item.model_copy(update={"id": f"E{n}"}) for n, item in enumerate(evidence, 1)]
        pulls = self.bank.pulls(persona, numbered)
        read = [item.model_copy(update={"text": screen(item.text).fact}) for item in numbered]
        return decide(persona, [item for item in read if item.text], pulls)[1]

    def changes(
        self, what: Callable[[Case], Iterable[tuple[str, Sequence[Evidence], Sequence[Evidence]]]]
    ) -> list[Change]:
        """One `Change` per case, persona and (label, evidence before, evidence after) that `what` yields."""
        found = []
        for case in self.cases:
            for label, before, after in what(case):
                for persona in self.personas:
                    chances = self.p_ship(persona, before), self.p_ship(persona, after)
                    found.append(Change(case.dossier.slug, persona.slug, label, *chances))
        return found


def fact(kind: str, text: str) -> Evidence:
    return Evidence.model_validate({"id": "E1", "kind": kind, "text": text, "source": "evals/probes"})


def read_probes(name: str, field: str, folder: Path = PROBES) -> list[dict[str, Any]]:
    return list(yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))[field])


def permuted(prober: Prober) -> list[Change]:
    def orders(case: Case) -> Iterable[tuple[str, Sequence[Evidence], Sequence[Evidence]]]:
        rng = random.Random(case.dossier.slug)  # noqa: S311
        evidence = case.dossier.evidence
        for n in range(DRAWS):
            yield f"order {n}", evidence, rng.sample(evidence, len(evidence))

    return prober.changes(orders)


def duplicated(prober: Prober) -> list[Change]:
    """Every piece twice; each piece once more; each once more in small letters with its articles and marks changed."""

    def nearly(item: Evidence) -> Evidence:
        text = re.sub(r"\b(?:the|a|an)\b ", "", item.text, count=1, flags=re.IGNORECASE).rstrip(".")
        return item.model_copy(update={"text": f"{text.lower()}!"})

    def copies(case: Case) -> Iterable[tuple[str, Sequence[Evidence], Sequence[Evidence]]]:
        evidence = list(case.dossier.evidence)
        yield "all twice", evidence, evidence + evidence
        for item in evidence:
            yield f"{item.id} twice", evidence, [*evidence, item]
            yield f"{item.id} nearly twice", evidence, [*evidence, nearly(item)]

    prober.bank.load(nearly(item) for case in prober.cases for item in case.dossier.evidence)
    return prober.changes(copies)


def padded(prober: Prober) -> list[Change]:
    """1, 3 or 10 facts of no bearing added, `DRAWS` times each."""
    padding = [fact(row["kind"], row["text"]) for row in read_probes("padding", "facts")]
    prober.bank.load(padding)

    def more(case: Case) -> Iterable[tuple[str, Sequence[Evidence], Sequence[Evidence]]]:
        rng = random.Random(case.dossier.slug)  # noqa: S311
        evidence = case.dossier.evidence
        for count, _ in itertools.product((1, 3, 10), range(DRAWS)):
            yield f"{count} more", evidence, [*evidence, *rng.sample(padding, count)]

    return prober.changes(more)


def copied(prober: Prober) -> list[Change]:
    """Forty pieces of praise that differ in a number, against one of them."""
    praise = [
        fact("adoption", f"Customer {n} of ours says that the tool saved the team much work.") for n in range(1, 41)
    ]
    prober.bank.load(praise)

    def heap(case: Case) -> Iterable[tuple[str, Sequence[Evidence], Sequence[Evidence]]]:
        yield "40 copies", [*case.dossier.evidence, praise[0]], [*case.dossier.evidence, *praise]

    return prober.changes(heap)


def attacked(prober: Prober, held_out: bool) -> tuple[list[Change], int]:
    """Each attack as one more piece of evidence, against its honest twin; and how many attacks no dossier admits.

    `held_out` takes those that the rules were not written with.
    """
    pairs, refused = [], 0
    for row in read_probes("injections", "attacks")[held_out::2]:
        honest = [fact(row["kind"], row["honest"])] if row["honest"] else []
        try:
            pairs.append((row["id"], honest, fact(row["kind"], row["attack"])))
        except ValidationError:
            refused += 1
    prober.bank.load(item for _, honest, attack in pairs for item in [*honest, attack])

    def attacks(case: Case) -> Iterable[tuple[str, Sequence[Evidence], Sequence[Evidence]]]:
        evidence = case.dossier.evidence
        for label, honest, attack in pairs:
            yield label, [*evidence, *honest], [*evidence, attack]

    return prober.changes(attacks), refused


def severe(prober: Prober) -> list[tuple[Change, bool]]:
    """Each severe or strong fact added, for the personas that it concerns; and whether p_ship went the right way."""
    rows = read_probes("directional", "facts")
    prober.bank.load(fact(row["kind"], row["text"]) for row in rows)
    by_id = {row["id"]: row for row in rows}

    def additions(case: Case) -> Iterable[tuple[str, Sequence[Evidence], Sequence[Evidence]]]:
        evidence = case.dossier.evidence
        for row in rows:
            yield row["id"], evidence, [*evidence, fact(row["kind"], row["text"])]

    found = []
    for change in prober.changes(additions):
        row = by_id[change.what]
        if change.persona in row["personas"]:
            rises = change.after > change.before
            falls = change.after < change.before
            found.append((change, rises if row["sign"] == "good" else falls))
    return found


def reworded(prober: Prober) -> dict[str, list[list[float]]]:
    """For each split tool, p_ship per persona (rows) as written and in two rewordings (columns)."""
    found = {}
    for case in prober.cases:
        if case.clear:
            continue
        texts = yaml.safe_load((PROBES / "rewordings" / f"{case.dossier.slug}.yaml").read_text(encoding="utf-8"))[
            "evidence"
        ]
        evidence = case.dossier.evidence
        versions = [
            evidence,
            *([item.model_copy(update={"text": texts[item.id][k]}) for item in evidence] for k in range(2)),
        ]
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
    for name, changes in same.items():
        flips, far = sum(c.flip for c in changes), sum(c.moved >= bounds[name] for c in changes)
        cluster = "what" if name.startswith("attacks") else "tool"
        groups = {getattr(c, cluster) for c in changes}
        touched = wilson(len({getattr(c, cluster) for c in changes if c.flip}), len(groups))
        largest = max(c.moved for c in changes)
        moved_far = f"{far / len(changes):.1%} by {bounds[name]} or more"
        rows.append(
            [name, str(len(changes)), str(flips), f"{largest:.3f}", moved_far, f"{touched.share()} of {len(groups)}"]
        )
        worst = sorted(
            {(round(c.moved, 3), f"{c.tool}/{c.persona} {c.what}") for c in changes if c.moved >= bounds[name]}
        )
        result[name] = {"changes": len(changes), "flips": flips, "touched": vars(touched), "largest": largest,
                        "far": far / len(changes), "worst": worst[::-1][:12]}  # fmt: skip
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
