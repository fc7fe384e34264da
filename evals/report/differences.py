"""What was changed between two runs, persona by persona, and the verdicts that are other ones since."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from evals.report.names import moved
from evals.stability.record import PersonaAbout, Stability
from evals.stability.verdict import CellChange
from panel.records import PERSONA_SLUGS

CONTEXT = 2
#: So many changed verdicts stand open; the rest is folded away.
OPEN = 8

Piece = tuple[bool, str]  # (is it this that changed, text)


@dataclass(frozen=True)
class Line:
    """One line of a unified difference; of a changed line the pieces say which words are other ones."""

    op: Literal["same", "gone", "new", "gap"]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Flip:
    """Verdicts that are other ones, and in the same way, of one tool under one probe. `effect` is "right", "wrong", or
    "" where gold says nothing of it; p_ship is "" where they are several. `echoes` trials changed as the tool did."""

    tool: str
    where: str
    then: str
    now: str
    p_then: str
    p_now: str
    effect: str
    pulls: tuple[str, ...]
    echoes: int


@dataclass(frozen=True)
class PersonaChange:
    """`texts` are (what it is, difference); `open` flips are shown, `more` are folded away. How many verdicts changed
    on tools as they are written, and how many under probes."""

    persona: str
    texts: tuple[tuple[str, tuple[Line, ...]], ...]
    open: tuple[Flip, ...]
    more: tuple[Flip, ...]
    as_written: int
    probed: int


def persona_changes(run: Stability, then: Stability, changes: Sequence[CellChange]) -> list[PersonaChange]:
    """Of the personas whose text, prompt or calibration is another one, or whose verdicts are."""
    found = []
    for slug in (slug for slug in PERSONA_SLUGS if slug in run.about.personas):
        own = [change for change in changes if change.persona == slug]
        flips = _flips(own)
        was = then.about.personas.get(slug)
        texts = _texts(run.about.personas[slug], was) if was is not None else []
        if flips or texts:
            plain = sum(change.probe == "gold" for change in own)
            shown, folded = tuple(flips[:OPEN]), tuple(flips[OPEN:])
            found.append(PersonaChange(slug, tuple(texts), shown, folded, plain, len(own) - plain))
    return found


def _texts(now: PersonaAbout, was: PersonaAbout) -> list[tuple[str, tuple[Line, ...]]]:
    pairs = (
        ("The persona’s file", was.text, now.text),
        ("What the model reads to weigh a fact", was.prompt, now.prompt),
        ("Calibration", _calibration(was), _calibration(now)),
    )
    return [(title, tuple(unified(a, b))) for title, a, b in pairs if a != b]


def _calibration(about: PersonaAbout) -> str:
    return "\n".join(f"{key}: {value}" for key, value in about.calibration.model_dump(mode="json").items())


def unified(old: str, new: str) -> Iterator[Line]:
    """The unified difference of two texts by lines, with `CONTEXT` lines around each change."""
    a, b = old.splitlines(), new.splitlines()
    for n, group in enumerate(difflib.SequenceMatcher(None, a, b, autojunk=False).get_grouped_opcodes(CONTEXT)):
        if n or group[0][1] or group[0][3]:
            yield Line("gap", ((False, f"line {group[0][3] + 1}"),))
        for op, i, j, k, m in group:
            if op == "equal":
                yield from (Line("same", ((False, line),)) for line in a[i:j])
            elif op == "replace" and j - i == m - k:
                pairs = [_by_words(x, y) for x, y in zip(a[i:j], b[k:m], strict=True)]
                yield from (Line("gone", gone) for gone, _ in pairs)
                yield from (Line("new", come) for _, come in pairs)
            else:
                yield from (Line("gone", ((False, line),)) for line in a[i:j])
                yield from (Line("new", ((False, line),)) for line in b[k:m])


def _by_words(old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    a, b = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (old, new))
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < 0.4:  # nothing much in common: marks on single words would only distract
        return ((False, old),), ((False, new),)
    gone, come = [], []
    for op, i, j, k, m in matcher.get_opcodes():
        gone.append((op != "equal", "".join(a[i:j])))
        come.append((op != "equal", "".join(b[k:m])))
    return tuple(p for p in gone if p[1]), tuple(p for p in come if p[1])


def _flips(changes: Sequence[CellChange]) -> list[Flip]:
    """Trials of one probe that changed alike are one entry; those that changed as their tool did go with it."""
    plain = {(c.tool, c.then, c.now): c for c in changes if c.probe == "gold"}
    alike: dict[tuple[str, str, str, str], list[CellChange]] = defaultdict(list)
    echoes: dict[tuple[str, str, str], int] = defaultdict(int)
    for change in changes:
        key = change.tool, change.then, change.now
        if change.probe != "gold" and key in plain:
            echoes[key] += 1
        else:
            alike[change.probe, *key].append(change)
    return [
        _flip(own, echoes[key[0], key[1], key[2]] if probe == "gold" else 0) for (probe, *key), own in alike.items()
    ]


def _flip(own: Sequence[CellChange], echoes: int) -> Flip:
    change = own[0]
    p_then, p_now = moved(change.p_then, change.p_now) if len(own) == 1 else ("", "")
    where = "as written" if change.probe == "gold" else f"{change.probe}, {change.label}"
    return Flip(
        tool=change.tool,
        where=where if len(own) == 1 else f"{change.probe}, {len(own)} trials",
        then=change.then,
        now=change.now,
        p_then=p_then,
        p_now=p_now,
        effect=_effect(change),
        pulls=tuple(f"{id} {_nats(was)} → {_nats(is_)}" for id, was, is_ in change.pulls),
        echoes=echoes,
    )


def _effect(change: CellChange) -> str:
    """Of a changed tool gold says nothing: only a verdict on the tool as written is right or wrong."""
    return {"now": "right", "then": "wrong"}.get(change.right, "") if change.probe == "gold" else ""


def _nats(value: float) -> str:
    return f"{value + 0.0:+.2f}".replace("-", "−")


def settings(run: Stability, then: Stability | None) -> list[tuple[str, str, str]]:
    """What a run was made with, and the baseline's where that is another one: (what, now, then or "")."""
    now = _settings(run)
    was = dict(_settings(then)) if then is not None else {}
    return [(what, value, was[what] if was.get(what, value) != value else "") for what, value in now]


def _settings(run: Stability) -> list[tuple[str, str]]:
    about = run.about
    rows = [
        ("Model", about.model),
        ("Model hash", about.model_sha256[:12]),
        ("Adapter hash", about.adapter_sha256[:12]),
        ("Engine", f"{about.engine} {about.engine_version}".strip()),
        ("Way of weighing", str(about.weighing)),
        ("Prompts hash", about.prompts_sha256[:12]),
        ("Tools", str(len(about.cases))),
        *((f"{name.capitalize()}", value) for name, value in about.settings.items()),
    ]
    return [(what, value or "—") for what, value in rows]
