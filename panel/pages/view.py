"""What the templates print: a comparison record turned into labels, links and bar lengths.

The one entry is `view(record)`. Anchors are unique on the page whatever slugs and ids the record holds, and a link
is made only where its target exists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from panel.pages.words import DASH, PERIODS, count, date, label, money, safe_url
from panel.records import PERSONA_SLUGS, Comparison, Evidence, Provenance, Review, ToolEntry

#: What a reader sees of a persona: its name, and the question it comes with.
PERSONAS = {
    "builder": ("Builder", "Would I reach for it this afternoon?"),
    "competitor-analyst": ("Competitor analyst", "What does it beat, and what beats it?"),
    "futurist": ("Futurist", "What has to come true for it to matter?"),
    "business-buyer": ("Business buyer", "Would I put a budget line behind it?"),
}

_MARKS = {"ship": "✓ Ship", "skip": "✕ Skip", "unscored": "– Unscored", "missing": "No review"}
_STRONGEST = 4  # how many pulls stand open on the page; the rest is folded away


@dataclass(frozen=True)
class Cite:
    """A citation at the end of a beat. `href` is None where the record holds no such evidence; `words` is what a
    reader sees: the id, in quotation marks where the beat repeats the evidence word for word."""

    id: str
    anchor: str
    href: str | None
    words: str


@dataclass(frozen=True)
class BeatView:
    label: str
    text: str
    cites: tuple[Cite, ...]


@dataclass(frozen=True)
class PullView:
    """One bar: `x` and `width` are in hundredths of the track, whose middle (50) is a pull of zero."""

    id: str
    href: str | None
    kind: str
    value: str
    toward: str
    x: str
    width: str


@dataclass(frozen=True)
class ReviewView:
    tool: str
    verdict: str
    reason: str
    confidence: str | None
    meter: tuple[str, str]  # x and width, as in a PullView
    quote: str
    beats: tuple[BeatView, ...]
    in_sequence: bool
    strong: tuple[PullView, ...]
    weak: tuple[PullView, ...]
    edited_by: str = ""
    overruled: tuple[str, str, str] | None = None  # what the reviewer said, who overruled it, why


@dataclass(frozen=True)
class ChangeView:
    """One text that a person changed; `machine` is what the model had drafted."""

    place: str
    by: str
    machine: str
    regenerated: bool


@dataclass(frozen=True)
class EditorialView:
    """Who answers for a published page, and what of it people wrote (`panel.desk.publish`)."""

    accountable: str
    approved: tuple[str, str | None]
    editors: str
    models: str
    changes: tuple[ChangeView, ...]
    overruled: int
    confirmed: tuple[str, ...]
    waived: int


Links = tuple[tuple[str, str], ...]  # label of a citing beat, anchor of the citation


@dataclass(frozen=True)
class EvidenceView:
    id: str
    anchor: str
    kind: str
    text: str
    source: str
    href: str | None
    cited: tuple[tuple[str, Links], ...]  # by persona
    set_aside: tuple[tuple[str, str], ...]  # sentences that were not read, each with the reason


@dataclass
class _Tool:
    """A tool, its evidence with an anchor each, and by anchor and persona who cites it: (beat, anchor) pairs."""

    entry: ToolEntry
    key: str
    items: list[tuple[Evidence, str]] = field(default_factory=list)
    cited: dict[str, dict[str, list[tuple[str, str]]]] = field(default_factory=dict)

    def anchor(self, evidence: str) -> str | None:
        return next((anchor for item, anchor in self.items if item.id == evidence), None)


def _panel_line(tool: ToolEntry) -> str:
    scored, unscored = tool.panel.ship + tool.panel.skip, tool.panel.unscored
    line = f"{tool.panel.ship} of {scored} reviewers" if scored else "no scored review"
    return f"{line}, {unscored} unscored" if unscored else line


def _verdict(review: Review | None) -> str:
    if review is None:
        return "missing"
    # A review without a decision is unscored whatever its status says: it must never look like a skip.
    return review.decision if review.status == "scored" and review.decision else "unscored"


def _confidence(review: Review) -> str | None:
    """For example "81% toward ship"; None where there is no probability to show."""
    p = review.p_ship
    if _verdict(review) == "unscored" or p is None or not 0 <= p <= 1:
        return None
    ship = p > 0.5 or (p == 0.5 and review.decision == "ship")
    return f"{(p if ship else 1 - p) * 100:.0f}% toward {'ship' if ship else 'skip'}"


def _bar(share: float) -> tuple[str, str]:
    """x and width of a bar from the middle of a track of 100, for a share of its half: −1 is the left end."""
    length = min(abs(share), 1.0) * 50
    return f"{50 - length if share < 0 else 50:.1f}", f"{length:.1f}"


# --------------------------------------------------------------------------------------------------- the views


def _tools(record: Comparison) -> list[_Tool]:
    """The tools with anchors that are unique on the page, whatever slugs and ids the record holds."""
    taken: set[str] = set()

    def unique(wanted: str) -> str:
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}-{number}"
        taken.add(name)
        return name

    tools = []
    for entry in record.tools:
        tool = _Tool(entry, unique(re.sub(r"[^a-z0-9-]", "-", entry.slug.lower()) or "tool"))
        tool.items = [(item, unique(f"e-{tool.key}-{item.id}")) for item in entry.evidence]
        tools.append(tool)
    return tools


def _review_of(tool: ToolEntry, persona: str) -> Review | None:
    return next((r for r in tool.reviews if r.persona == persona), None)


def _beats(tool: _Tool, review: Review) -> tuple[BeatView, ...]:
    views = []
    for number, beat in enumerate(review.beats, 1):
        cites = []
        for place, cited in enumerate(beat.cites, 1):
            target = tool.anchor(cited)
            anchor = f"c-{tool.key}-{review.persona}-{number}-{place}"
            words = f"“{cited}”" if beat.verbatim else cited
            cites.append(Cite(cited, anchor, f"#{target}" if target else None, words))
            if target:
                citing = tool.cited.setdefault(target, {}).setdefault(PERSONAS[review.persona][0], [])
                citing.append((label(beat.name), anchor))
        views.append(BeatView(label(beat.name), beat.text, tuple(cites)))
    return tuple(views)


def _pulls(tool: _Tool, review: Review, scale: float) -> tuple[PullView, ...]:
    """The pulls as bars, strongest first; those of equal strength keep the order of the record."""
    kinds = {item.id: str(item.kind) for item in tool.entry.evidence}
    views = []
    for pull in sorted((p for p in review.pulls if math.isfinite(p.log_odds)), key=lambda p: -abs(p.log_odds)):
        value = round(pull.log_odds, 2) + 0.0  # + 0.0 turns -0.0 into 0.0
        x, width = _bar(value / scale)
        target = tool.anchor(pull.evidence)
        views.append(
            PullView(
                id=pull.evidence,
                href=f"#{target}" if target else None,
                kind=kinds.get(pull.evidence, ""),
                value=f"{value:+.2f}".replace("-", "−") if value else "0.00",
                toward="ship" if value > 0 else "skip" if value < 0 else "neither",
                x=x,
                width=width,
            )
        )
    return tuple(views)


def _review(tool: _Tool, persona: str, scale: float) -> ReviewView:
    review = _review_of(tool.entry, persona)
    if review is None:
        return ReviewView(tool.entry.name, "missing", "", None, ("", ""), "", (), False, (), ())
    verdict = _verdict(review)
    beats, pulls = _beats(tool, review) if verdict != "unscored" else (), _pulls(tool, review, scale)
    return ReviewView(
        tool=tool.entry.name,
        verdict=verdict,
        reason=review.reason or "No reason is on record.",
        confidence=_confidence(review),
        meter=_bar(2 * (review.p_ship or 0.0) - 1),
        quote=review.quote,
        beats=beats,
        in_sequence=review.quote == " ".join(beat.text for beat in review.beats),
        strong=pulls[:_STRONGEST],
        weak=pulls[_STRONGEST:],
        edited_by=_edited_by(review),
        overruled=_overruled(review),
    )


def _edited_by(review: Review) -> str:
    """The people whose words stand in the quote."""
    names = [_extra(beat).get("edited_by") for beat in review.beats] + [_extra(review).get("quote_edited_by")]
    return ", ".join(dict.fromkeys(str(name) for name in names if name))


def _overruled(review: Review) -> tuple[str, str, str] | None:
    found = _extra(review).get("overruled")
    if not isinstance(found, dict):
        return None
    machine = str(found.get("machine"))
    return machine if machine in _MARKS else "unscored", str(found.get("by", "")), str(found.get("reason", ""))


def _extra(part: Any) -> dict[str, Any]:
    """Fields beyond the schema; they may hold anything."""
    return part.model_extra or {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list | tuple) else []


def _editorial(record: Comparison) -> EditorialView | None:
    found = _extra(record).get("editorial")
    if not isinstance(found, dict) or not found.get("accountable"):
        return None
    names = {tool.slug: tool.name for tool in record.tools}
    changes = []
    for row in _rows(found.get("changes")):
        target = str(row.get("target", ""))
        slug, _, rest = target.partition("/")
        persona, _, beat = rest.partition("/")
        who = PERSONAS.get(persona, (persona, ""))[0]
        place = f"{who} on {names.get(slug, slug)}: {label(beat)}" if rest else f"The {label(target)}"
        changes.append(
            ChangeView(place, str(row.get("by", "")), str(row.get("machine", "")), bool(row.get("regenerated")))
        )
    listed = {name: found.get(name) for name in ("edited_by", "drafted_by")}
    several = {n: ", ".join(map(str, v)) if isinstance(v, list | tuple) else "" for n, v in listed.items()}
    confirmed = tuple(
        f"{row.get('evidence', '')} of {names.get(str(row.get('tool')), row.get('tool'))}, by {row.get('by', '')}"
        for row in _rows(found.get("confirmed"))
    )
    return EditorialView(
        accountable=str(found["accountable"]),
        approved=date(str(found.get("approved", ""))),
        editors=several["edited_by"],
        models=several["drafted_by"],
        changes=tuple(changes),
        overruled=len(_rows(found.get("overruled"))),
        confirmed=confirmed,
        waived=len(_rows(found.get("waived"))),
    )


def _evidence(tool: _Tool) -> list[EvidenceView]:
    return [
        EvidenceView(
            i.id, anchor, i.kind, i.text, i.source, safe_url(i.source),
            tuple((persona, tuple(links)) for persona, links in tool.cited.get(anchor, {}).items()),
            _set_aside(tool.entry, i.id),
        )
        for i, anchor in tool.items
    ]  # fmt: skip


def _set_aside(tool: ToolEntry, evidence: str) -> tuple[tuple[str, str], ...]:
    found = (pull.set_aside for review in tool.reviews for pull in review.pulls if pull.evidence == evidence)
    distinct = dict.fromkeys(sentence for sentences in found for sentence in sentences)
    # a record holds "sentence (reason)"
    parts = (re.fullmatch(r"(?s)(.*) \(([^()]*)\)", sentence) or (None, sentence, "") for sentence in distinct)
    return tuple((part[1], part[2]) for part in parts)


def _provenance(p: Provenance) -> list[tuple[str, str]]:
    def short(digest: str) -> str:
        return digest[:12] or DASH

    return [
        ("Model", p.model), ("Model hash", short(p.model_sha256)),
        ("Adapter hash", short(p.adapter_sha256)), ("Calibrated", "yes" if p.calibrated else "no"),
        ("Engine", f"{p.engine} {p.engine_version}".strip()),
        ("Seed", str(p.seed)), ("Persona hash", short(p.persona_sha256)), ("Prompt hash", short(p.prompt_sha256)),
        ("Dossier hash", short(p.dossier_sha256)), ("Tokens read", f"{p.prompt_tokens:,}"),
        ("Tokens written", f"{p.completion_tokens:,}"), ("Steps", str(p.steps)), ("Seconds", f"{p.seconds:.1f}"),
    ]  # fmt: skip


def _runs(record: Comparison) -> dict[str, Any]:
    """Provenance, with what all reviews share said once: {"shared": rows, "each": [(tool, persona, rows)]}."""
    runs = [(t.name, PERSONAS[r.persona][0], _provenance(r.provenance)) for t in record.tools for r in t.reviews]
    shared = [row for row in runs[0][2] if all(row in rows for _, _, rows in runs)] if runs else []
    each = [(tool, persona, [row for row in rows if row not in shared]) for tool, persona, rows in runs]
    return {"shared": shared, "each": each}


def _split(record: Comparison, personas: Iterable[str]) -> list[tuple[str, list[str]]]:
    """A row for each persona: its name, and its decision on each tool, in the record's order of tools."""
    decisions: dict[str, dict[str, str]] = {row.persona: dict(row.decisions) for row in record.reviewer_split}
    rows = []
    for slug in personas:
        known = decisions.get(slug, {})
        rows.append((PERSONAS[slug][0], [known.get(t.slug) or _verdict(_review_of(t, slug)) for t in record.tools]))
    return rows


def view(record: Comparison) -> dict[str, Any]:
    """Everything that the templates print, by the name that they print it under."""
    tools = _tools(record)
    seen = {r.persona for t in record.tools for r in t.reviews} | {row.persona for row in record.reviewer_split}
    personas = [slug for slug in PERSONA_SLUGS if slug in seen]
    strengths = (abs(p.log_odds) for t in record.tools for r in t.reviews for p in r.pulls)
    scale = max((s for s in strengths if math.isfinite(s)), default=0.0) or 1.0
    picked = next((t.name for t in record.tools if t.slug == record.pick.slug), record.pick.slug)
    return {
        "record": record,
        "names": [t.name for t in record.tools],
        "reviewers": count(len(personas), "AI reviewer", "AI reviewers"),
        "date": date(record.created),
        "picked": picked,
        "cards": [(t, _panel_line(t), [_verdict(_review_of(t, p)) for p in personas]) for t in record.tools],
        "plans": [(t, [(p, money(p), PERIODS[p.period]) for p in t.pricing]) for t in record.tools],
        "split": _split(record, personas),
        # Before the evidence, which says where each piece is cited.
        "scorecard": [(p, *PERSONAS[p], [_review(t, p, scale) for t in tools]) for p in personas],
        "evidence": [(t.entry, _evidence(t)) for t in tools],
        "runs": _runs(record),
        "marks": _MARKS,
        "editorial": _editorial(record),
        "pick_by": str(_extra(record.pick).get("edited_by") or ""),
        "pricing_by": str(_extra(record).get("pricing_read_edited_by") or ""),
    }
