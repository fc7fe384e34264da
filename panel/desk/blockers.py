"""What stands between an item and its approval. Pure, as `panel.desk.document` is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from panel.desk.check import Checker
from panel.desk.document import Document, review_target
from panel.desk.types import Blocker, BlockerKind, Text
from panel.records import Comparison, strip_unprintable

# target, kind, message, the text that it is said of
Found = list[tuple[str, BlockerKind, str, str]]


def blockers_of(
    document: Document, checker: Checker, final: Comparison, known: Mapping[str, Text]
) -> tuple[Blocker, ...]:
    """All that stands, or stood and was waived, in the way, in the order of the page."""
    found: Found = []
    for tool in final.tools:
        version = document.dossiers.get(tool.slug)
        if version is None:
            why = f"the card is no valid dossier ({document.faults.get(tool.slug, '')}): nothing can be checked"
            found.append((tool.slug, "ungrounded", why, ""))
            continue
        for review in tool.reviews:
            target = review_target(tool.slug, review.persona)
            if review.decision is None or review.status != "scored":
                reason = strip_unprintable(review.reason or "no reason is on record")[:300]
                found.append((target, "unscored", f"is unscored: {reason}", ""))
                continue
            if f"verdict:{target}" not in document.marks:  # whoever overrules has seen that the texts say otherwise
                for beat, messages in checker.review(review, version).items():
                    place = f"{target}/{beat}" if beat else target
                    text = known[place].current if place in known else review.quote
                    found += [(place, "flagged", message, text) for message in messages]
            for beat_ in review.beats:
                found += _of_text(known[f"{target}/{beat_.name}"])
            if f"{target}/quote" in known:
                found += _of_text(known[f"{target}/quote"])
    for name in ("pick", "pricing"):
        found += _of_text(known[name])
    return tuple(_blocker(document, *each) for each in dict.fromkeys(found))


def _of_text(text: Text) -> Found:
    found: Found = []
    cited = ", ".join(text.cites) or "nothing it cites"
    kinds: tuple[tuple[str, BlockerKind, str], ...] = (
        ("ungrounded", "ungrounded", "the dossier does not have"),
        ("uncited", "flagged", f"{cited} does not"),
    )
    for level, kind, lacks in kinds:
        words = list(dict.fromkeys(span.text[:60] for span in text.checked.spans if span.level == level))
        if words:
            more = f" and {len(words) - 8} more" if len(words) > 8 else ""
            found.append((text.target, kind, f"names {', '.join(words[:8])}{more}, which {lacks}", text.current))
    return found + [(text.target, "flagged", problem, text.current) for problem in text.checked.problems]


def _blocker(document: Document, target: str, kind: BlockerKind, message: str, text: str) -> Blocker:
    # a waiver holds for this message about this text only
    key = hashlib.sha256("\0".join((target, kind, message, text)).encode("utf-8", "replace")).hexdigest()[:16]
    tool, _, rest = target.partition("/")
    beside = target in ("pick", "pricing")
    return Blocker(
        key=key,
        kind=kind,
        target=target,
        tool="" if beside else tool,
        persona=rest.partition("/")[0],
        message=message,
        waivable=kind == "flagged",
        waiver=document.waivers.get(key) if kind == "flagged" else None,
    )
