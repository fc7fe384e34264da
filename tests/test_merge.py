"""From reviews to a comparison: tallies, the pick, the split and the price, each worked by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from panel.merge import PERSONA_CORRELATION, effective_votes, merge, tally
from panel.records import PERSONA_SLUGS, Dossier, Provenance, Review
from tests.scripted import DOSSIER

PROVENANCE = Provenance(
    model="m", model_sha256="0", engine="e", engine_version="1", persona_sha256="0", prompt_sha256="0",
    dossier_sha256="0", seed=0,
)  # fmt: skip

#: one letter per persona, in the panel's order: S ship, K skip, U unscored
Verdicts = str


def reviews(verdicts: Verdicts, chances: Sequence[float] | None = None) -> list[Review]:
    chances = chances or [0.75 if v == "S" else 0.25 for v in verdicts]
    made = []
    for slug, verdict, chance in zip(PERSONA_SLUGS, verdicts, chances, strict=False):
        data: dict[str, Any] = {"persona": slug, "status": "unscored", "reason": "it broke", "provenance": PROVENANCE}
        if verdict != "U":
            data |= {
                "status": "scored",
                "decision": "ship" if verdict == "S" else "skip",
                "p_ship": chance,
                "reason": None,
            }
        made.append(Review.model_validate(data))
    return made


def tool(name: str, **fields: Any) -> Dossier:
    return Dossier.model_validate(yaml.safe_load(DOSSIER) | {"slug": name.lower(), "name": name} | fields)


def pick(*panels: Verdicts | tuple[Verdicts, Sequence[float]]) -> tuple[str | None, str]:
    """The pick among tools called A, B, C … whose panels voted so."""
    dossiers = [tool("ABC"[n]) for n in range(len(panels))]
    voted = {d.slug: reviews(*((p,) if isinstance(p, str) else p)) for d, p in zip(dossiers, panels, strict=True)}
    record = merge(dossiers, voted, created="2025-01-01T00:00:00+00:00")
    return record.pick.slug, record.pick.why


# ---------------------------------------------------------------------------------------------------- tallies


@pytest.mark.parametrize(
    ("verdicts", "counts", "percent"),
    [
        ("SSSS", (4, 0, 0), 100), ("KKKK", (0, 4, 0), 0), ("SSSK", (3, 1, 0), 75), ("SSKK", (2, 2, 0), 50),
        ("SUUU", (1, 0, 3), 100), ("SKKU", (1, 2, 1), 33), ("SSKU", (2, 1, 1), 67), ("UUUU", (0, 0, 4), None),
    ],
)  # fmt: skip
def test_an_unscored_review_is_no_skip(verdicts: str, counts: tuple[int, int, int], percent: int | None) -> None:
    found = tally(reviews(verdicts))
    assert (found.ship, found.skip, found.unscored) == counts
    assert found.percent == percent


def test_effective_votes_worked_by_hand() -> None:
    """Kish: 4 / (1 + 3 · 0.5) = 1.6; none correlated: 4; wholly correlated: 1; a single vote is one vote."""
    assert effective_votes(4, 0.5) == 1.6
    assert effective_votes(4, 0.0) == 4.0
    assert effective_votes(4, 1.0) == 1.0
    assert effective_votes(1, 0.7) == 1.0
    assert effective_votes(0, 0.5) == 0.0
    assert 0 < PERSONA_CORRELATION < 1
    # Only what was scored is a vote.
    assert tally(reviews("SKUU")).effective_votes == round(2 / (1 + PERSONA_CORRELATION), 2)


def test_a_half_is_rounded_up_as_readers_do() -> None:
    """1 of 8 is 12.5%, which round() would make 12."""
    record = merge([tool("A", community={"ship": 1, "total": 8})], {"a": reviews("SSSS")}, created="")
    assert record.tools[0].community.percent == 13
    record = merge([tool("A", community={"ship": 0, "total": 0})], {"a": reviews("SSSS")}, created="")
    assert record.tools[0].community.percent is None
    record = merge([tool("A", community={"ship": 7, "total": 1000})], {"a": reviews("SSSS")}, created="")
    assert record.tools[0].community.percent == 1


# ------------------------------------------------------------------------------------------------------- pick


def test_the_larger_share_is_picked_wherever_it_stands() -> None:
    assert pick("SSSK", "SKKK") == ("a", "3 of 4 reviewers would ship A, 1 of 4 B.")
    assert pick("SKKK", "SSSK") == ("b", "3 of 4 reviewers would ship B, 1 of 4 A.")
    assert pick("SKKK", "SSKK", "SSSK")[0] == "c"
    # a share, not a number: 2 of 2 is more than 3 of 4
    assert pick("SSSK", "SSUU")[0] == "b"


def test_between_equals_the_surer_panel_decides() -> None:
    """Means 0.6, 0.55: (0.9 + 0.7 + 0.4 + 0.4) / 4 and (0.6 + 0.6 + 0.5 + 0.5) / 4."""
    surer, calmer = ("SSKK", [0.9, 0.7, 0.4, 0.4]), ("SSKK", [0.6, 0.6, 0.5, 0.5])
    slug, why = pick(calmer, surer)
    assert slug == "b"
    assert (
        why == "2 of 4 reviewers would ship B and 2 of 4 A; the panel is surer of B (mean p(ship) 0.60 against 0.55)."
    )


def test_a_tie_has_no_favourite() -> None:
    slug, why = pick("SSKK", "KKSS")
    assert slug is None
    assert "equally sure of both" in why


def test_nobody_picks_what_nobody_would_ship() -> None:
    assert pick("KKKK", "KKKU") == (None, "No reviewer would ship any of these tools.")
    assert pick("UUUU", "UUUU") == (None, "No review was scored, so there is no favourite.")
    assert pick("KKKK") == (None, "No reviewer would ship any of these tools.")


def test_a_tool_without_a_review_cannot_lose() -> None:
    assert pick("SSKK", "UUUU") == ("a", "2 of 4 reviewers would ship A; no other tool has a scored review.")


def test_one_tool_alone_needs_a_majority() -> None:
    assert pick("SSSK")[0] == "a"
    assert pick("SSKK") == (None, "2 of 4 reviewers would ship A.")


@pytest.mark.parametrize("panels", list(itertools.combinations(["SSSS", "SSSK", "SSKK", "SUKK", "KKKK", "UUUU"], 2)))
def test_the_order_of_the_tools_does_not_matter(panels: tuple[str, str]) -> None:
    there = pick(*panels)[0]
    back = pick(*panels[::-1])[0]
    assert back == {"a": "b", "b": "a", None: None}[there]


# ------------------------------------------------------------------------------------------- split and prices


def test_reviews_stand_in_the_panels_order_and_the_split_says_what_each_decided() -> None:
    record = merge([tool("A"), tool("B")], {"a": reviews("SKSU")[::-1], "b": reviews("KKSS")}, created="")
    assert [r.persona for r in record.tools[0].reviews] == list(PERSONA_SLUGS)
    assert [(row.persona, row.decisions) for row in record.reviewer_split] == [
        ("builder", {"a": "ship", "b": "skip"}),
        ("competitor-analyst", {"a": "skip", "b": "skip"}),
        ("futurist", {"a": "ship", "b": "ship"}),
        ("business-buyer", {"a": "unscored", "b": "ship"}),
    ]


def test_a_panel_may_be_smaller_than_four() -> None:
    record = merge([tool("A")], {"a": reviews("SK")}, created="")
    assert [row.persona for row in record.reviewer_split] == ["builder", "competitor-analyst"]


def plan(price: float, **fields: Any) -> dict[str, Any]:
    return {"plan": "Team", "price": price, "currency": "USD", "per": "seat", "period": "month"} | fields


@pytest.mark.parametrize(
    ("plans", "says"),
    [
        ([], "A starts at $12 per seat."),
        ([plan(0)], "A starts at $12 per seat. None of its plans costs anything."),
        # 12 dollars · 10 seats · 12 months
        ([plan(0), plan(12)], "Its cheapest paid plan, Team, is $12 per seat, a month: $1,440 a year for 10 seats."),
        ([plan(100, period="year")], "is $100 per seat, a year: $1,000 a year for 10 seats."),
        ([plan(300, period="once")], "is $300 per seat, once."),
        ([plan(0.002, per="1,000 tokens", period="once")], "is $0.002 per 1,000 tokens, once."),
        ([plan(9.5, currency="EUR", per="server")], "is €9.50 per server, a month."),
        # 100 a year is less than 12 a month, which makes 144
        ([plan(12, plan="Monthly"), plan(100, plan="Yearly", period="year")], "cheapest paid plan, Yearly, is $100"),
        ([plan(12, plan="Monthly"), plan(150, plan="Yearly", period="year")], "cheapest paid plan, Monthly, is $12"),
    ],
)  # fmt: skip
def test_the_price_is_worked_out_from_the_plans(plans: list[dict[str, Any]], says: str) -> None:
    record = merge([tool("A", pricing=plans)], {"a": reviews("SSSS")}, created="")
    assert record.pricing_read.startswith("A starts at $12 per seat.")
    assert says in record.pricing_read
    assert ".." not in record.pricing_read


def test_merging_is_a_function_of_what_it_is_given() -> None:
    again = [merge([tool("A"), tool("B")], {"a": reviews("SKSU"), "b": reviews("KKSS")}, created="x") for _ in range(2)]
    assert again[0] == again[1]
    assert again[0].model_dump_json(by_alias=True) == again[1].model_dump_json(by_alias=True)
