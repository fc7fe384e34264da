"""From reviews to a comparison. Pure: the same reviews in the same order give the same record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from panel.grounding import format_price
from panel.records import (
    PERSONA_SLUGS,
    CommunityTally,
    Comparison,
    Dossier,
    PanelTally,
    Pick,
    Review,
    SplitRow,
    ToolEntry,
)

#: Mean correlation between two personas' p_ship over the development cases, embedded model: `python -m evals.gold`.
PERSONA_CORRELATION = 0.73

_SEATS, _MONTHS = 10, 12


def merge(dossiers: Sequence[Dossier], reviews: Mapping[str, Sequence[Review]], *, created: str) -> Comparison:
    """The comparison of `dossiers`.

    Args:
        reviews: by tool slug; the panel's order of personas is restored here.
        created: ISO 8601 time of the run.
    """
    tools = tuple(_entry(dossier, reviews[dossier.slug]) for dossier in dossiers)
    return Comparison(
        created=created,
        pick=_pick(tools),
        tools=tools,
        reviewer_split=_split(tools),
        pricing_read=" ".join(_pricing(dossier) for dossier in dossiers),
    )


def _entry(dossier: Dossier, reviews: Sequence[Review]) -> ToolEntry:
    votes = dossier.community
    return ToolEntry(
        slug=dossier.slug,
        name=dossier.name,
        category=dossier.category,
        tagline=dossier.tagline,
        summary=dossier.summary,
        entry_price=dossier.entry_price,
        license=dossier.license,
        pricing=dossier.pricing,
        rivals=dossier.rivals,
        panel=tally(reviews),
        community=CommunityTally(ship=votes.ship, total=votes.total, percent=_percent(votes.ship, votes.total)),
        reviews=tuple(sorted(reviews, key=lambda r: PERSONA_SLUGS.index(r.persona))),
        evidence=dossier.evidence,
    )


def with_reviews(record: Comparison, reviews: Mapping[str, Sequence[Review]]) -> Comparison:
    """`record` with other reviews of its tools: tallies, split and pick are worked out anew, the rest stays.

    Args:
        reviews: by tool slug; a tool that is not named keeps its own.
    """
    tools = tuple(
        tool.model_copy(update={"reviews": tuple(reviews[tool.slug]), "panel": tally(reviews[tool.slug])})
        if tool.slug in reviews
        else tool
        for tool in record.tools
    )
    return record.model_copy(update={"tools": tools, "reviewer_split": _split(tools), "pick": _pick(tools)})


def tally(reviews: Sequence[Review]) -> PanelTally:
    """Ships, skips, and how many independent votes the scored ones are worth."""
    ship = sum(r.decision == "ship" for r in reviews)
    skip = sum(r.decision == "skip" for r in reviews)
    scored = ship + skip
    return PanelTally(
        ship=ship,
        skip=skip,
        unscored=len(reviews) - scored,
        percent=_percent(ship, scored),
        effective_votes=round(effective_votes(scored, PERSONA_CORRELATION), 2),
    )


def effective_votes(votes: int, correlation: float) -> float:
    """N / (1 + (N − 1)ρ), the effective sample size of N equally correlated votes (Kish 1965)."""
    return votes / (1 + (votes - 1) * correlation) if votes else 0.0


def _percent(part: int, whole: int) -> int | None:
    """Rounded half up, as readers expect: 1 of 8 is 13%."""
    return (200 * part + whole) // (2 * whole) if whole else None


def _pick(tools: Sequence[ToolEntry]) -> Pick:
    """The tool with the higher panel percentage; between equals the one that the panel is surer of."""
    scored = [t for t in tools if t.panel.percent is not None]
    if not scored:
        return Pick(slug=None, why="No review was scored, so there is no favourite.")

    def confidence(tool: ToolEntry) -> float:
        values = [r.p_ship for r in tool.reviews if r.p_ship is not None]
        return sum(values) / len(values) if values else 0.5  # verdicts that people gave have no probability

    ranked = sorted(scored, key=lambda t: (-(t.panel.percent or 0), -round(confidence(t), 2)))
    best = ranked[0]
    says = f"{best.panel.ship} of {best.panel.ship + best.panel.skip} reviewers would ship {best.name}"
    if best.panel.ship == 0:
        return Pick(slug=None, why="No reviewer would ship any of these tools.")
    if len(tools) == 1:
        return Pick(slug=best.slug if best.panel.ship > best.panel.skip else None, why=f"{says}.")
    second = ranked[1] if len(ranked) > 1 else None
    if second is None:
        return Pick(slug=best.slug, why=f"{says}; no other tool has a scored review.")
    other = f"{second.panel.ship} of {second.panel.ship + second.panel.skip} {second.name}"
    if best.panel.percent != second.panel.percent:
        return Pick(slug=best.slug, why=f"{says}, {other}.")
    lead = round(confidence(best), 2) - round(confidence(second), 2)
    if lead == 0:
        return Pick(slug=None, why=f"{says} and {other}, and the panel is equally sure of both.")
    return Pick(
        slug=best.slug,
        why=f"{says} and {other}; the panel is surer of {best.name} "
        f"(mean p(ship) {confidence(best):.2f} against {confidence(second):.2f}).",
    )


def _split(tools: Sequence[ToolEntry]) -> tuple[SplitRow, ...]:
    present = {r.persona for t in tools for r in t.reviews}
    rows = []
    for persona in (p for p in PERSONA_SLUGS if p in present):
        decisions = {t.slug: r.decision or "unscored" for t in tools for r in t.reviews if r.persona == persona}
        rows.append(SplitRow.model_validate({"persona": persona, "decisions": decisions}))
    return tuple(rows)


def _pricing(dossier: Dossier) -> str:
    """What one pays for the tool, worked out from its plans."""
    paid = [plan for plan in dossier.pricing if plan.price > 0]
    entry = f"{dossier.name} starts at {dossier.entry_price}."
    if not paid:
        return entry + (" None of its plans costs anything." if dossier.pricing else "")
    plan = min(paid, key=lambda p: p.price * (_MONTHS if p.period == "month" else 1))
    period = "once" if plan.period == "once" else f"a {plan.period}"
    entry += (
        f" Its cheapest paid plan, {plan.plan}, is {format_price(plan.price, plan.currency)} per {plan.per}, {period}"
    )
    if plan.per.lower() != "seat" or plan.period == "once":
        return entry + "."
    total = plan.price * _SEATS * (_MONTHS if plan.period == "month" else 1)
    return f"{entry}: {format_price(total, plan.currency)} a year for {_SEATS} seats."
