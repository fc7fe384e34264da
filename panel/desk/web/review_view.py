"""What the review screen prints: the item's record as the page shows it, joined with who may change what in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from panel.desk.types import Blocker, Event, Item, Offer, Overruled, Span, Text
from panel.pages.view import PERSONAS, EvidenceView, PullView, ReviewView, view
from panel.pages.words import label
from panel.records import KINDS

#: What the history says of an action; one that is not here is shown as it is kept.
MAX_DETAIL = 300


@dataclass(frozen=True)
class Sentence:
    """One text that can be edited where it stands. `anchor` is its id on the page, whatever the target holds."""

    anchor: str
    text: Text
    pieces: tuple[tuple[str, Span | None], ...]
    blockers: tuple[Blocker, ...]
    max_length: int


@dataclass(frozen=True)
class ReviewScreen:
    """One reviewer on one tool. `pulls` are the strongest four; the rest stands beside the evidence."""

    anchor: str
    target: str
    tool: str
    place: int
    persona: str
    persona_name: str
    shown: ReviewView
    overruled: Overruled | None
    quote: Sentence | None
    beats: tuple[tuple[str, Sentence], ...]
    pulls: tuple[PullView, ...]
    open_offers: tuple[Offer, ...]
    older: tuple[Offer, ...]
    blockers: tuple[Blocker, ...]


@dataclass(frozen=True)
class EvidenceLine:
    """One piece of evidence, and how far it pulls each reviewer: (slug, name, bar)."""

    anchor: str
    shown: EvidenceView
    pulls: tuple[tuple[str, str, PullView], ...]
    new: bool


def pieces(text: str, spans: Iterable[Span]) -> tuple[tuple[str, Span | None], ...]:
    """`text` cut at its spans; overlapping ones are shown once."""
    found: list[tuple[str, Span | None]] = []
    at = 0
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if span.start < at or span.end <= span.start or span.end > len(text):
            continue
        if span.start > at:
            found.append((text[at : span.start], None))
        found.append((text[span.start : span.end], span))
        at = span.end
    if at < len(text):
        found.append((text[at:], None))
    return tuple(found)


def review_view(item: Item) -> dict[str, Any]:
    """Everything of `item` that `review.html.j2` prints, by name."""
    shown = view(item.record)
    anchors = {target: f"t{number}" for number, target in enumerate(item.texts)}
    by_target: dict[str, list[Blocker]] = {}
    for blocker in item.blockers:
        by_target.setdefault(blocker.target, []).append(blocker)

    def sentence(target: str) -> Sentence | None:
        text = item.texts.get(target)
        if text is None:
            return None
        beat = target.count("/") == 2 and not target.endswith("/quote")
        return Sentence(
            anchors[target], text, pieces(text.current, text.checked.spans), tuple(by_target.get(target, ())),
            1000 if beat else 4000,
        )  # fmt: skip

    sections = []
    pulls: dict[tuple[int, str], list[tuple[str, str, PullView]]] = {}
    for slug, name, question, reviews in shown["scorecard"]:
        screens = []
        for place, (tool, one) in enumerate(zip(item.record.tools, reviews, strict=True)):
            target = f"{tool.slug}/{slug}"
            for pull in (*one.strong, *one.weak):
                pulls.setdefault((place, pull.id), []).append((slug, name, pull))
            review = next((r for r in tool.reviews if r.persona == slug), None)
            beats = [(b.name, sentence(f"{target}/{b.name}")) for b in (review.beats if review else ())]
            # all of a quote is one text only where it no longer is the sum of its beats
            whole = None if one.in_sequence else sentence(f"{target}/quote")
            offers = item.offers.get(target, ())
            screens.append(
                ReviewScreen(
                    anchor=f"r{place}-{slug}", target=target, tool=tool.slug, place=place, persona=slug,
                    persona_name=name, shown=one, overruled=item.overruled.get(target),
                    quote=whole,
                    beats=tuple((label(beat), found) for beat, found in beats if found is not None),
                    pulls=one.strong, open_offers=tuple(o for o in offers if o.state == "open"),
                    older=tuple(o for o in offers if o.state != "open"), blockers=tuple(by_target.get(target, ())),
                )
            )  # fmt: skip
        sections.append((slug, name, question, screens))
    drafted = {tool.slug: {e.id for e in tool.evidence} for tool in item.draft.tools}
    evidence = [
        (
            tool,
            [
                EvidenceLine(
                    f"e{place}-{number}", one, tuple(pulls.get((place, one.id), ())),
                    one.id not in drafted.get(tool.slug, set()),
                )
                for number, one in enumerate(items)
            ],
        )
        for place, (tool, items) in enumerate(shown["evidence"])
    ]  # fmt: skip
    return {
        "page": shown,
        "sections": sections,
        "evidence": evidence,
        "pick": sentence("pick"),
        "pricing": sentence("pricing"),
        "where": _where(item, anchors),
        "kinds": KINDS,
        "labels": {target: text.label for target, text in item.texts.items()},
    }


def _where(item: Item, anchors: dict[str, str]) -> dict[str, str]:
    """For each blocker's key the id on the page that it speaks of."""
    places = {tool.slug: place for place, tool in enumerate(item.record.tools)}
    where = {}
    for blocker in item.blockers:
        known = blocker.tool in places and blocker.persona
        fallback = f"r{places[blocker.tool]}-{blocker.persona}" if known else "main"
        where[blocker.key] = anchors.get(blocker.target, fallback)
    return where


def history_lines(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Events as the history shows them: the detail as (name, value) pairs, long values cut."""
    lines = []
    for event in events:
        parts = event.target.split("/")
        about = " · ".join(PERSONAS[p][0] if p in PERSONAS else label(p) for p in parts if p)
        told = {name.replace("_", " "): value for name, value in event.detail.items() if value not in ("", None)}
        detail = [(name, _short(value)) for name, value in told.items()]
        lines.append({"event": event, "about": about, "detail": detail})
    return lines


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_DETAIL else f"{text[:MAX_DETAIL]}…"
