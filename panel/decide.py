"""From pulls to a verdict: p_ship = sigmoid(intercept + strengths · S − weaknesses · W).

S and W are the sums of the pulls toward ship and toward skip, each weighted by the persona's lens, over distinct facts:
what says the same thing twice counts once. A pull within the calibration's dead band weighs nothing and one a little
beyond it little, so facts without bearing hardly add up; none weighs more than `LIMIT`, so no fact decides alone; and
the sums level off toward `CEILING`, so that no heap of small facts outweighs everything else. Nothing here looks at the
order of the evidence or runs a model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from panel.records import Decision, Evidence, Kind, Persona, Pull

#: Width in nats of the dead band's soft edge, over which a fact comes to weigh as much as it pulls; see `size_of`.
EDGE = 1.0
#: The most that one fact weighs, in nats.
LIMIT = 2.0
#: Nats at which a pull is worth a sentence; less of it may count without being an argument.
TELLING = 0.4
#: What the sum of one side levels off toward, in nats: C · (1 − exp(−sum / C)).
CEILING = 12.0
#: Two facts whose words overlap at least this much (Jaccard index) are one fact.
SAME_FACT = 0.8
_DENIAL = re.compile(  # t: of isn't, can't
    r"no|not|never|none|nobody|nothing|without|cannot|neither|nor|t|seldom|rarely|hardly|barely|scarcely|few|little"
)
_NUMBER = re.compile(r".*\d.*")


def decide(persona: Persona, evidence: Sequence[Evidence], pulls: Sequence[Pull]) -> tuple[Decision, float]:
    """The decision and p_ship (0 to 1, 4 decimals) of `persona`.

    Args:
        evidence: the dossier's evidence.
        pulls: one pull for each piece of evidence.
    """
    calibration = persona.calibration
    strengths, weaknesses = balance(persona, evidence, pulls, calibration.deadband)
    z = calibration.intercept + calibration.strengths * strengths - calibration.weaknesses * weaknesses
    p_ship = round(1.0 / (1.0 + math.exp(-z)) if z > 0 else math.exp(z) / (1.0 + math.exp(z)), 4)
    return ("ship" if p_ship >= 0.5 else "skip"), p_ship


def balance(
    persona: Persona, evidence: Sequence[Evidence], pulls: Sequence[Pull], deadband: float
) -> tuple[float, float]:
    """The weighted pulls toward ship and toward skip, both ≥ 0, in nats: what a calibration is fitted on."""
    facts = distinct_facts(evidence, pulls, deadband)
    # math.fsum is exact, so that the order of the evidence cannot show in the last bits
    toward = math.fsum(persona.lens[kind] * size for kind, size, ships in facts if ships)
    against = math.fsum(persona.lens[kind] * size for kind, size, ships in facts if not ships)
    return levelled(toward), levelled(against)


def distinct_facts(
    evidence: Sequence[Evidence], pulls: Sequence[Pull], deadband: float
) -> list[tuple[Kind, float, bool]]:
    """Each fact that counts, before the lens: its kind, its size (nats, 0 to `LIMIT`), whether it argues for ship."""
    by_id = {pull.evidence: pull.log_odds for pull in pulls}
    found: list[tuple[Kind, float, bool]] = []
    for group in _distinct(evidence, by_id):
        # the fullest wording speaks for the group, so that a copy in fewer words changes nothing
        item = min(group, key=lambda e: (-len(e.text), e.text, e.kind, by_id[e.id]))
        pull = by_id[item.id]
        found.append((item.kind, size_of(pull, deadband), pull > 0))
    return found


def size_of(pull: float, deadband: float) -> float:
    """What a pull weighs, in nats: nothing up to the dead band, x²/2 over its edge, then x − EDGE/2, at most `LIMIT`.

    x is how far the pull is beyond the dead band; with another `EDGE` it is x²/(2·EDGE). The slope grows from 0 to 1
    over the edge, as that of Huber's loss does, so a pull that moves a little never comes to count all at once.
    """
    beyond = max(abs(pull) - deadband, 0.0)
    return min(beyond * beyond / (2 * EDGE) if beyond < EDGE else beyond - EDGE / 2, LIMIT)


def is_telling(pull: float, deadband: float) -> bool:
    """Whether a pull is worth a sentence: beyond `TELLING`, and beyond the dead band."""
    return abs(pull) > max(TELLING, deadband)


def levelled(total: float) -> float:
    """The sum of one side, levelled off toward `CEILING`."""
    return CEILING * -math.expm1(-total / CEILING)


def _distinct(evidence: Sequence[Evidence], pulls: Mapping[str, float]) -> list[list[Evidence]]:
    """Evidence in groups that say the same thing, sorted by their text, whatever order they came in.

    A denial sets two facts apart, and so does a number where it turns the pull around: "20 ms" against "20 s".
    """
    groups: list[tuple[frozenset[str], list[Evidence]]] = []
    for item in sorted(evidence, key=lambda e: (e.text, pulls[e.id], e.kind)):
        words = frozenset(re.findall(r"\w+", item.text.lower()))
        for known, members in groups:
            alike = len(words & known) >= SAME_FACT * len(words | known)
            other = words ^ known
            numbers = any(_NUMBER.fullmatch(word) for word in other)
            turned = pulls[item.id] * pulls[members[0].id] <= 0
            if alike and not any(_DENIAL.fullmatch(word) for word in other) and not (numbers and turned):
                members.append(item)
                break
        else:
            groups.append((words, [item]))
    return [members for _, members in groups]
