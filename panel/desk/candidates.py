"""Pasted text (a product page, a README, release notes) cut into proposed evidence.

A person keeps, edits or drops what is proposed here, so the rules lean toward keeping: they leave out what is plainly
no statement about the tool, and say why.
"""

from __future__ import annotations

import html
import re

from panel.desk.types import MAX_PASTE, Candidate, Cut, FieldError
from panel.records import Kind, strip_unprintable
from panel.screen import screen
from panel.validate import boilerplate

_REFUSED = 1 << 20  # characters; between this and MAX_PASTE the rest is cut off, and said to be
_MOST, _SHORTEST, _LONGEST = 80, 4, 400  # candidates; words, characters of one

_FENCE = re.compile(r"^\s*(?:```|~~~)")
_TAG = re.compile(r"<[/!]?[A-Za-z][^<>]{0,300}>|<!--.{0,300}?-->", re.DOTALL)
_CODE = re.compile(r"<(script|style)\b", re.IGNORECASE)
_IMAGE = re.compile(r"!\[[^\[\]\n]{0,200}\]\([^()\n]{0,300}\)")
_LINK = re.compile(r"\[([^\[\]\n]{1,200})\]\([^()\n]{0,300}\)")
_MARKUP = re.compile(r"\*\*|__|`|(?<!\w)\*|\*(?!\w)")
_BULLET = re.compile(r"^\s*(?:[-*+•·▪✓✔–]|\d{1,3}[.)])\s+")
_RULE = re.compile(r"^\W*$|^\s*\|.*\|\s*$|^\s*[|:-]{3,}")
_HEADING = re.compile(r"^\s*#{1,6}\s")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]”]?\s+(?=[\"'(“]?[A-Z0-9$€£])")

_IMPERATIVE = re.compile(
    r"^(?:please\s+|now\s+|just\s+|simply\s+)?(?:add|ask|book|browse|build|buy|call|check|choose|click|clone|"
    r"compare|configure|contact|copy|create|cut|deploy|discover|do(?:n['’]t| not)|download|enable|enter|explore|find|"
    r"follow|get|give|go|grab|install|join|jump|keep|learn|let|log ?in|make|meet|move|open|order|pick|press|read|"
    r"replace|request|run|save|say|schedule|see|select|set|share|ship|show|sign|skip|star|start|stop|subscribe|"
    r"switch|take|talk|tell|try|turn|unlock|upgrade|use|view|visit|watch|write)\b(?!\s+(?:is|are|was|were|has|have)\b)",
    re.IGNORECASE,
)
_NAVIGATION = re.compile(
    r"\b(?:sign (?:in|up)|log ?in|cookie|all rights reserved|privacy policy|terms of (?:use|service)|newsletter|"
    r"back to top|table of contents|read more|learn more|skip to|menu|breadcrumb|copyright \d{4})|©",
    re.IGNORECASE,
)
_MARKETING = re.compile(
    r"!\s*$|\b(?:amazing|awesome|best|beautiful(?:ly)?|blazing(?:ly)?|delight\w*|effortless\w*|incredible|"
    r"love[ds]? by|magic\w*|most (?:advanced|powerful|loved)|perfect|stunning|supercharge\w*|the future of|"
    r"trusted by|ultimate|unmatched|unparalleled|unrivall?ed|world-class|#1|number one)\b",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|can|cannot|could|will|would|does|do|did|must|may|might|costs?|"
    r"runs?|needs?|uses?|takes?|works?|\w{3,}(?:s|ed|es))\b",
    re.IGNORECASE,
)

_WORDS: tuple[tuple[Kind, str], ...] = (
    ("pricing", r"[$€£]\s?\d|\b\d[\d.,]*\s?(?:USD|EUR|GBP)\b|\bpric(?:e|es|ed|ing)\b|\bcosts?\b|"
                r"\bfree (?:plan|tier|of charge|for)\b|\bsubscri\w+|\bper (?:seat|user|month|year)\b|\bbilled\b|"
                r"\b(?:paid|enterprise|team|pro|starter) plans?\b"),
    ("license", r"\blicen[sc]\w+|\bopen[- ]source\b|\bsource[- ]available\b|\b(?:MIT|GPL|AGPL|BSD|Apache[- ]2)\b"),
    ("roadmap", r"\broad ?map\b|\bcoming (?:soon|in|later)\b|\b(?:is|are) planned\b|\bplans? to\b|\bupcoming\b|"
                r"\bwill (?:be|add|support|ship|drop|remove|come|follow)\b|\bnext (?:release|version|quarter)\b"),
    ("security", r"\bsecur\w+|\bvulnerabilit\w+|\bCVE-\d|\bencrypt\w+|\baudit\w*|\bSOC ?2\b|\bGDPR\b|\bHIPAA\b|"
                 r"\bISO ?27001\b|\bsandbox\w*|\bSSO\b|\bSAML\b|\bpenetration test|\bpermissions?\b"),
    ("benchmark", r"\bbenchmark\w*|\b\d[\d.,]*\s?(?:x|times|×|%|percent) (?:faster|slower|better|less|more|fewer|"
                  r"smaller|lower|higher)|\b\d[\d.,]*\s?(?:ms|milliseconds|seconds|tokens|queries|requests|rows|"
                  r"MB|GB)\b(?:[^.]{0,40}(?:/s|per second|on|in)\b)|\blatency\b|\bthroughput\b|\bp9[59]\b"),
    ("limitation", r"\b(?:not|cannot|can't|doesn't|don't|isn't|aren't|won't|no longer|lacks?|without|limited to|"
                   r"only|unsupported|deprecat\w+|experimental|beta|alpha|known issues?|breaking changes?|"
                   r"fails?|unstable|missing|requires?|at most|removed)\b"),
    ("support", r"\bsupport (?:team|is|by|via|hours|plan|engineers?|contract)|\bSLA\b|\b24/7\b|\bforum\b|"
                r"\bDiscord\b|\bSlack\b|\bemail support\b|\bresponse times?\b|\bwithin \w+ (?:hours?|days?)\b|"
                r"\bhelp ?desk\b|\bcommunity (?:forum|chat|support)\b"),
    ("adoption", r"\bused (?:by|at|in)\b|\bcustomers?\b|\bdownload\w*|\b(?:GitHub )?stars\b|\bcontributors?\b|"
                 r"\b\d[\d.,]*\s?(?:k|million|thousand|\+)?\+? (?:users|teams|companies|developers|"
                 r"organi[sz]ations|projects|installs)\b|\bin production at\b|\bcase stud(?:y|ies)\b"),
    ("docs", r"\bdoc(?:s|umentation|umented)\b|\btutorials?\b|\bguides?\b|\bmanual\b|\bAPI reference\b|"
             r"\bexamples?\b|\bquick ?start\b|\bchangelog\b"),
)  # fmt: skip
_KINDS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _WORDS)


def candidates(text: str, *, first_id: int = 1) -> Cut:
    """Cut `text` into sentences, and propose those that state something, with a kind and an id.

    Raises:
        FieldError: the text is beyond all bounds.
    """
    if len(text) > _REFUSED:
        raise FieldError("this is longer than a million characters", field="text", fix="paste the part with the facts")
    proposed: list[Candidate] = []
    dropped: list[tuple[str, str]] = []
    seen: set[str] = set()
    found = _sentences(strip_unprintable(html.unescape(text[:MAX_PASTE])))
    for sentence, listed in found[:-1] if len(text) > MAX_PASTE else found:  # the last was cut through
        folded = sentence.rstrip(".").casefold()
        if folded in seen:
            continue
        seen.add(folded)
        why = _why_not(sentence, listed=listed)
        if why is None and len(proposed) >= _MOST:
            why = f"more than {_MOST} facts"
        if why is None:
            ended = sentence if sentence[-1] in ".!?" else f"{sentence}."
            proposed.append(Candidate(f"E{first_id + len(proposed)}", kind_of(sentence), ended))
        elif len(dropped) < 5 * _MOST:
            dropped.append((sentence[:_LONGEST], why))
    return Cut(tuple(proposed), tuple(dropped), len(text) > MAX_PASTE)


def kind_of(sentence: str) -> Kind:
    """The kind of evidence that the sentence's words point to; a capability where none does."""
    return next((kind for kind, words in _KINDS if words.search(sentence)), "capability")


def _sentences(text: str) -> list[tuple[str, bool]]:
    """Sentences without markup, each with whether it was an item of a list."""
    text = _without_code(text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _TAG.sub("\n", _IMAGE.sub("", text))
    blocks: list[tuple[list[str], bool]] = [([], False)]
    fenced = False
    for raw in text.split("\n"):
        if _FENCE.match(raw):
            fenced = not fenced
            blocks.append(([], False))
        elif fenced or (raw.startswith(("    ", "\t")) and not _BULLET.match(raw)):
            continue  # code
        elif not raw.strip() or _RULE.match(raw) or _HEADING.match(raw):
            blocks.append(([], False))
        elif _BULLET.match(raw):
            blocks.append(([_BULLET.sub("", raw, count=1)], True))
        else:
            blocks[-1][0].append(raw)
    found = []
    for lines, listed in blocks:
        # an address book or a menu is lines without an end; prose is broken where the window was
        joined = " ".join(lines) if any(re.search(r"[.!?:]\s*$", one) for one in lines) or len(lines) == 1 else None
        for part in [joined] if joined is not None else lines:
            plain = re.sub(r"\s+", " ", _MARKUP.sub("", _LINK.sub(r"\1", part))).strip()
            found += [(sentence.strip(), listed) for sentence in _SENTENCE.split(plain) if sentence.strip()]
    return found


def _without_code(text: str) -> str:
    """`text` without what stands between the tags of scripts and style sheets; found by hand, in one pass."""
    kept, place = [], 0
    while opened := _CODE.search(text, place):
        kept.append(text[place : opened.start()])
        closed = re.compile(rf"</{opened.group(1)}\b", re.IGNORECASE).search(text, opened.end())
        place = closed.end() if closed else len(text)
    return "".join([*kept, text[place:]])


def _why_not(sentence: str, *, listed: bool) -> str | None:
    """Why the sentence is no candidate, or None."""
    words = sentence.split()
    if len(sentence) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    if len(words) < _SHORTEST:
        return "too short"
    if sentence.rstrip("\"')”").endswith("?"):
        return "a question"
    if _NAVIGATION.search(sentence) or len(re.findall(r"\s[|›»·/]\s", sentence)) > 1:
        return "navigation"
    if screen(sentence).set_aside:
        return "speaks to its reader"
    if _IMPERATIVE.match(sentence) and not listed:
        return "an invitation"
    if _MARKETING.search(sentence) or boilerplate(sentence):
        return "advertising"
    if not listed and not _VERB.search(sentence):
        return "no statement"
    return None
