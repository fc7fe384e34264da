"""From pulls to a verdict: p_ship = sigmoid(intercept + slope · mean of the lens-weighted pulls).

The mean is taken over distinct facts: what says the same thing twice counts once. Nothing here looks at the order
of the evidence or runs a model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from panel.records import Decision, Evidence, Persona, Pull

#: Two facts whose words overlap at least this much (Jaccard index) are one fact, unless what sets them apart is a
#: number or a denial.
SAME_FACT = 0.8
_APART = re.compile(r".*\d.*|no|not|never|none|nobody|nothing|without|cannot|neither|nor|t")  # t: of isn't, can't


def decide(persona: Persona, evidence: Sequence[Evidence], pulls: Sequence[Pull]) -> tuple[Decision, float]:
    """The decision and p_ship (0 to 1, 4 decimals) of `persona`.

    Args:
        evidence: the dossier's evidence.
        pulls: one pull for each piece of evidence.
    """
    by_id = {pull.evidence: pull.log_odds for pull in pulls}
    weights, weighted = [], []
    for group in _distinct(evidence):
        # math.fsum is exact, so that the order of the evidence cannot show in the last bits
        lens = math.fsum(persona.lens[item.kind] for item in group) / len(group)
        pull = math.fsum(by_id[item.id] for item in group) / len(group)
        weights.append(lens)
        weighted.append(lens * pull)
    weight = math.fsum(weights)
    mean = math.fsum(weighted) / weight if weight else 0.0
    z = persona.calibration.intercept + persona.calibration.slope * mean
    p_ship = round(1.0 / (1.0 + math.exp(-z)) if z > 0 else math.exp(z) / (1.0 + math.exp(z)), 4)
    return ("ship" if p_ship >= 0.5 else "skip"), p_ship


def _distinct(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """Evidence in groups that say the same thing, sorted by their text, whatever order they came in."""
    groups: list[tuple[frozenset[str], list[Evidence]]] = []
    for item in sorted(evidence, key=lambda e: (e.text, e.id)):
        words = frozenset(re.findall(r"\w+", item.text.lower()))
        for known, members in groups:
            alike = len(words & known) >= SAME_FACT * len(words | known)
            if alike and not any(_APART.fullmatch(word) for word in words ^ known):
                members.append(item)
                break
        else:
            groups.append((words, [item]))
    return [members for _, members in groups]
