"""An item as it stands: the machine's record with what people changed laid over it. Pure: no file, no clock.

Nothing here is stored; it follows from the record, the marks, the offers and the dossiers each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from panel.desk.check import Checker
from panel.desk.types import Checked, DossierVersion, NotFound, Offer, Overruled, Text, Waiver
from panel.inputs import explain
from panel.merge import with_reviews
from panel.records import Beat, Comparison, Dossier, Review, ToolEntry, strip_unprintable

_NOTHING = Checked((), ())


@dataclass(frozen=True)
class Mark:
    """One thing that differs from the machine's draft; see `panel.desk.schema`."""

    value: dict[str, Any]
    by: str
    at: str


@dataclass(frozen=True)
class Document:
    """What an item consists of. `dossiers` are the versions in use, by tool; `faults` say why one is None."""

    base: Comparison
    marks: Mapping[str, Mark]
    offers: Mapping[str, tuple[Offer, ...]]
    dossiers: Mapping[str, DossierVersion | None]
    faults: Mapping[str, str]
    waivers: Mapping[str, Waiver]


def review_target(tool: str, persona: str) -> str:
    return f"{tool}/{persona}"


def dossier_of(entry: ToolEntry) -> tuple[Dossier | None, str]:
    """The dossier that a record's card was made from, or None and what is wrong with the card."""
    data = {name: getattr(entry, name) for name in Dossier.model_fields if name not in ("schema_", "community")}
    votes = {"ship": entry.community.ship, "total": entry.community.total}
    try:
        # from plain data: what the record holds was never validated as a dossier's
        plain = ToolEntry.model_validate(entry).model_dump(mode="json", include=set(data))
        return Dossier.model_validate({**plain, "schema": "dossier/1", "community": votes}), ""
    except ValidationError as error:
        field, message, _ = explain(error.errors(include_url=False)[0], Dossier)
        return None, strip_unprintable(f"{field}: {message}")[:200]


def machine_reviews(document: Document) -> Iterator[tuple[ToolEntry, Review]]:
    """Every review as a machine wrote it, in the version that is in use."""
    for tool in document.base.tools:
        for review in tool.reviews:
            target = review_target(tool.slug, review.persona)
            yield tool, used_version(document, target) or review


def used_version(document: Document, target: str) -> Review | None:
    used = document.marks.get(f"use:{target}")
    if used is None:
        return None
    return next((offer.review for offer in document.offers.get(target, ()) if offer.id == used.value["offer"]), None)


def final_record(document: Document) -> Comparison:
    """What readers would get: texts, verdicts and versions in use; tallies, split and pick follow from them."""
    reviews: dict[str, list[Review]] = {}
    changed = False
    for tool, machine in machine_reviews(document):
        final = _final_review(document, tool.slug, machine)
        original = next(r for r in tool.reviews if r.persona == final.persona)
        changed = changed or (final.decision, final.p_ship) != (original.decision, original.p_ship)
        reviews.setdefault(tool.slug, []).append(final)
    tools = []
    for tool in document.base.tools:
        version = document.dossiers.get(tool.slug)
        evidence = version.dossier.evidence if version is not None else tool.evidence
        tools.append(tool.model_copy(update={"reviews": tuple(reviews.get(tool.slug, ())), "evidence": evidence}))
    record = document.base.model_copy(update={"tools": tuple(tools)})
    if changed:
        record = with_reviews(record, reviews)
    pick, pricing = document.marks.get("text:pick"), document.marks.get("text:pricing")
    if pick is not None:
        words = {"why": pick.value["text"], "edited_by": pick.by}
        record = record.model_copy(update={"pick": record.pick.model_copy(update=words)})
    if pricing is not None:
        record = record.model_copy(update={"pricing_read": pricing.value["text"], "pricing_read_edited_by": pricing.by})
    return record


def _final_review(document: Document, tool: str, machine: Review) -> Review:
    target = review_target(tool, machine.persona)
    beats = tuple(_final_beat(beat, document.marks.get(f"text:{target}/{beat.name}")) for beat in machine.beats)
    quote = " ".join(beat.text for beat in beats) if beats != machine.beats else machine.quote
    update: dict[str, Any] = {"beats": beats, "quote": quote}
    whole = document.marks.get(f"text:{target}/quote")
    if whole is not None:
        update |= {"quote": whole.value["text"], "quote_edited_by": whole.by}
    verdict = document.marks.get(f"verdict:{target}")
    if verdict is not None:
        overruled = {
            "machine": machine.decision or "unscored", "p_ship": machine.p_ship,
            "reason": verdict.value["reason"], "by": verdict.by, "at": verdict.at,
        }  # fmt: skip
        # the probability was the machine's, of the machine's verdict
        update |= {"status": "scored", "decision": verdict.value["decision"], "p_ship": None, "overruled": overruled}
    return machine.model_copy(update=update)


def _final_beat(beat: Beat, mark: Mark | None) -> Beat:
    if mark is None:
        return beat
    update = {"text": mark.value["text"], "cites": tuple(mark.value["cites"]), "verbatim": False, "silent": False}
    if "offer" not in mark.value:  # a sentence of another version is still the machine's
        update["edited_by"] = mark.by
    return beat.model_copy(update=update)


def overruled(document: Document) -> dict[str, Overruled]:
    found = {}
    for tool, machine in machine_reviews(document):
        target = review_target(tool.slug, machine.persona)
        mark = document.marks.get(f"verdict:{target}")
        if mark is not None:
            found[target] = Overruled(
                target, machine.decision or "unscored", mark.value["decision"], mark.value["reason"], mark.by, mark.at
            )
    return found


# -------------------------------------------------------------------------------------------------------- texts


def texts(document: Document, checker: Checker, final: Comparison | None = None) -> dict[str, Text]:
    """Every text that may be edited, by target, with what the rules say of it."""
    final = final or final_record(document)
    now = {(tool.slug, review.persona): review for tool in final.tools for review in tool.reviews}
    found: dict[str, Text] = {}
    for tool, machine in machine_reviews(document):
        target = review_target(tool.slug, machine.persona)
        review, version = now[tool.slug, machine.persona], document.dossiers.get(tool.slug)
        before: list[str] = []
        for drafted, beat in zip(machine.beats, review.beats, strict=True):
            mark = document.marks.get(f"text:{target}/{beat.name}")
            checked = checker.beat(machine.persona, version, beat, machine=mark is None, before=before)
            name = f"{target}/{beat.name}"
            found[name] = _text(
                name, beat.name.replace("-", " "), drafted.text, beat.text, mark, checked, drafted.cites, beat.cites
            )
            if not beat.silent:
                before.append(beat.text)
        if review.beats or review.quote:
            mark, name = document.marks.get(f"text:{target}/quote"), f"{target}/quote"
            # a quote that follows its beats is checked in them
            checked = checker.quote(machine.persona, version, review.quote) if mark is not None else _NOTHING
            found[name] = _text(name, "quote", machine.quote, review.quote, mark, checked)
    for name, label, drafted_text, now_text, allowed in _beside(document, final):
        mark = document.marks.get(f"text:{name}")
        checked = _NOTHING
        if mark is not None:
            checked = checker.beside(document.dossiers.values(), now_text, allowed)
        found[name] = _text(name, label, drafted_text, now_text, mark, checked)
    return found


def _beside(document: Document, final: Comparison) -> list[tuple[str, str, str, str, str]]:
    """(target, label, draft, current, what it may say beside the dossiers) of the texts beside the reviews."""
    figures = " ".join(f"{t.panel.ship} {t.panel.skip} {t.panel.percent}%" for t in final.tools)
    pick = " ".join([document.base.pick.why, figures])
    return [
        ("pick", "pick", document.base.pick.why, final.pick.why, pick),
        ("pricing", "pricing read", document.base.pricing_read, final.pricing_read, document.base.pricing_read),
    ]


def _text(
    target: str, label: str, draft: str, current: str, mark: Mark | None, checked: Checked,
    draft_cites: tuple[str, ...] = (), cites: tuple[str, ...] = (),
) -> Text:  # fmt: skip
    by, at = (mark.by, mark.at) if mark is not None else (None, None)
    return Text(target, label, draft, current, draft_cites, cites, by, at, checked)


def check_typed(document: Document, checker: Checker, target: str, text: str, cites: tuple[str, ...] | None) -> Checked:
    """What the rules would say if `text` stood at `target`."""
    final = final_record(document)
    if target in ("pick", "pricing"):
        allowed = next(row[4] for row in _beside(document, final) if row[0] == target)
        return checker.beside(document.dossiers.values(), text, allowed)
    tool, review, name = find_text(final, target)
    version = document.dossiers.get(tool.slug)
    if name == "quote":
        return checker.quote(review.persona, version, text)
    drafted = next(m for t, m in machine_reviews(document) if t.slug == tool.slug and m.persona == review.persona)
    place = next(i for i, beat in enumerate(review.beats) if beat.name == name)
    beat = review.beats[place]
    typed = Beat(name=name, text=text, cites=beat.cites if cites is None else cites)
    machine = drafted.beats[place]
    same = (machine.text, machine.cites) == (typed.text, typed.cites)
    before = [other.text for other in review.beats[:place] if not other.silent]
    return checker.beat(review.persona, version, machine if same else typed, machine=same, before=before)


def find_text(record: Comparison, target: str) -> tuple[ToolEntry, Review, str]:
    """The tool, the review and the name of the beat (or `quote`) that `target` names. Raises NotFound."""
    slug, _, rest = target.partition("/")
    persona, _, name = rest.partition("/")
    for tool in record.tools:
        for review in tool.reviews:
            known = [beat.name for beat in review.beats] + (["quote"] if review.status == "scored" else [])
            if (tool.slug, review.persona) == (slug, persona) and name in known:
                return tool, review, name
    raise NotFound(f"there is no text {strip_unprintable(target)[:120]!r} in this item")


def find_review(record: Comparison, tool: str, persona: str) -> Review:
    """Raises NotFound."""
    for entry in record.tools:
        for review in entry.reviews:
            if (entry.slug, review.persona) == (tool, persona):
                return review
    raise NotFound(f"there is no review of {strip_unprintable(tool)[:60]!r} by {strip_unprintable(persona)[:60]!r}")


def searchable(final: Comparison) -> str:
    """The words that an item is found by: its tools, what was said of them, and the evidence."""
    parts: list[str] = []
    for tool in final.tools:
        parts += [tool.slug, tool.name, tool.category, tool.tagline, tool.entry_price, *tool.rivals, tool.summary]
        parts += [text for review in tool.reviews for text in (review.quote, review.reason or "")]
        parts += [item.text for item in tool.evidence]
    parts += [final.pick.why, final.pricing_read]
    text = " ".join(strip_unprintable(part)[:8000] for part in parts)
    return re.sub(r"\s+", " ", text)[:100_000]
