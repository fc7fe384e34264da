"""What a reader calls things: personas, families of probes, probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from evals.stability.record import Family, Figure, Who
from panel.pages.view import PERSONAS

FAMILIES: Mapping[Family, tuple[str, str]] = {
    "rerun": ("Reruns", "nothing is changed"),
    "order": ("Order", "only what stands where"),
    "content": ("Content", "how it is said, or what has no bearing"),
    "attack": ("Attacks", "words to the reviewer beside an honest fact"),
    "directional": ("Directional", "a fact that must count"),
}
#: Outcomes of a gate that compared something; with any other it stopped before.
COMPARED = ("pass", "regress", "inconclusive")


def persona_name(who: Who | str) -> str:
    """`competitor-analyst` as "Competitor analyst"; "The panel" for all of them."""
    return "The panel" if who == "all" else PERSONAS[who][0] if who in PERSONAS else who


def probability(p: float | None) -> str:
    """Two digits, or as many as it takes to see on which side of one half it is."""
    return "—" if p is None else f"{p:.2f}" if p == 0.5 or f"{p:.2f}" != "0.50" else f"{p:.4f}"


def moved(before: float | None, after: float | None) -> tuple[str, str]:
    """Two probabilities with as many digits as it takes to tell them apart."""
    pair = probability(before), probability(after)
    if before is None or after is None or before == after or pair[0] != pair[1]:
        return pair
    return f"{before:.4f}", f"{after:.4f}"


def signed(found: Figure) -> str:
    """An effect with its interval: "−0.150 (−0.310 to −0.020)"."""

    def one(value: float) -> str:
        return f"{value + 0.0:+.3f}".replace("-", "−")

    if found.value is None:
        return "undefined"
    if found.low is None or found.high is None:
        return one(found.value)
    return f"{one(found.value)} ({one(found.low)} to {one(found.high)})"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
