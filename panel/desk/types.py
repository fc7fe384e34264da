"""What the desk's state is made of, as plain frozen data, and what it refuses with.

A *target* names one thing on a page that a person may change:

    <tool>/<persona>/<beat>     a beat                    lanternfish/builder/primitive
    <tool>/<persona>/quote      the whole quote, where it no longer follows its beats
    <tool>/<persona>            the review: its verdict, its regenerated versions
    pick, pricing               the two texts that stand beside the reviews
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from panel.errors import PanelError, SetupError
from panel.records import Comparison, Decision, Dossier, Kind, PersonaSlug, Review

State = Literal["draft", "in review", "approved", "published", "withdrawn"]
STATES: tuple[State, ...] = ("draft", "in review", "approved", "published", "withdrawn")
Role = Literal["editor", "approver"]
BlockerKind = Literal["unscored", "flagged", "ungrounded"]

#: Longest texts that are taken, in characters; what is longer is refused, never cut.
MAX_BEAT, MAX_QUOTE, MAX_REASON, MAX_SOURCE, MAX_NAME, MAX_QUERY, MAX_PASTE = 1000, 4000, 1000, 400, 60, 200, 200_000


# ------------------------------------------------------------------------------------------------------ errors


class FieldError(SetupError):
    """What a person sent is not acceptable; `field` says which, `fix` what to do (HTTP 422)."""


class NotFound(PanelError):
    """No such item, tool, reviewer, version or user (HTTP 404)."""


class Forbidden(PanelError):
    """This user may not do that: wrong role, or the item is claimed by somebody else (HTTP 403)."""


class WrongState(PanelError):
    """Not possible in the state that the item is in, such as an edit of an approved one (HTTP 409)."""


@dataclass(frozen=True)
class Change:
    """One line of an item's history as a conflict tells it. `text` is what stands at the target now."""

    at: str
    by: str
    action: str
    target: str
    text: str


class Stale(PanelError):
    """Somebody else was faster; nothing was written (HTTP 409).

    `revision` is the item's now, `changes` what happened since the revision that the refused save was based on,
    oldest first.
    """

    def __init__(self, revision: int, changes: tuple[Change, ...]) -> None:
        self.revision, self.changes = revision, changes
        who = ", ".join(dict.fromkeys(change.by for change in changes)) or "somebody"
        what = ", ".join(dict.fromkeys(change.target or change.action for change in changes)) or "the item"
        super().__init__(f"{who} has changed {what} meanwhile; nothing was overwritten")


class Blocked(PanelError):
    """The item cannot be approved yet; `blockers` says what stands in the way, and where (HTTP 409)."""

    def __init__(self, blockers: tuple[Blocker, ...]) -> None:
        self.blockers = blockers
        super().__init__(f"{len(blockers)} things stand in the way: " + "; ".join(b.message for b in blockers[:3]))


# ------------------------------------------------------------------------------------------------- users, queue


@dataclass(frozen=True)
class User:
    """Who acts. An approver may do all that an editor may."""

    name: str
    role: Role


@dataclass(frozen=True)
class ToolLine:
    """One tool of an item in the queue: the verdicts as they stand now, in the panel's order of personas.

    `flip_rate` is the share (0 to 1) of changes that should not matter and did, from an evaluation, or None.
    """

    slug: str
    name: str
    percent: int | None
    ship: int
    skip: int
    unscored: int
    decisions: tuple[tuple[PersonaSlug, Literal["ship", "skip", "unscored"]], ...]
    flip_rate: float | None


@dataclass(frozen=True)
class Row:
    """One item in the queue.

    `split` is 0 where all agree and 1 where a panel is halved (the most divided tool counts); `urgency` is what the
    queue is sorted by, higher first. `unscored`, `flagged` and `ungrounded` count open (not waived) blockers.
    `owner` has claimed the item; `live` says that its page is published at this moment.
    """

    id: int
    slug: str
    kind: Literal["comparison", "review"]
    title: str
    state: State
    revision: int
    created: str
    updated: str
    owner: str | None
    live: bool
    edited: bool
    split: float
    unscored: int
    flagged: int
    ungrounded: int
    flip_rate: float | None
    urgency: float
    tools: tuple[ToolLine, ...]


@dataclass(frozen=True)
class QueuePage:
    """`rows` of one page; `total` rows match; `counts` are all items by state, whatever the filter."""

    rows: tuple[Row, ...]
    total: int
    counts: dict[State, int]


@dataclass(frozen=True)
class QueueFilter:
    """What the queue shows. `query` is words, all of which must occur (the last may be a beginning).

    `only`: items with unscored reviews, open flags, ungrounded words, a divided panel, or verdicts known to flip.
    """

    states: tuple[State, ...] = ()
    query: str = ""
    only: Literal["", "unscored", "flagged", "ungrounded", "split", "flips", "edited"] = ""
    kind: Literal["", "comparison", "review"] = ""
    owner: str = ""
    sort: Literal["urgency", "updated", "title"] = "urgency"


@dataclass(frozen=True)
class SyncReport:
    """What `DeskStore.sync` found: slugs of new and changed items; problems as (path, one sentence)."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


# ------------------------------------------------------------------------------------------------ review screen


@dataclass(frozen=True)
class Span:
    """`text[start:end]` (in characters) that the grounding rules do not let pass.

    `level` is `ungrounded` where the dossier does not have it at all (it blocks approval, and can be confirmed with a
    source), `uncited` where the dossier has it and what the sentence cites does not (a flag; cite more, or waive).
    """

    start: int
    end: int
    text: str
    why: str
    level: Literal["ungrounded", "uncited"]


@dataclass(frozen=True)
class Checked:
    """What the rules say of a text: spans to underline, and problems of the whole text in one sentence each."""

    spans: tuple[Span, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """One editable text. `draft` is the machine's, always kept; `by`/`at` say who changed it last, if anyone."""

    target: str
    label: str
    draft: str
    current: str
    draft_cites: tuple[str, ...]
    cites: tuple[str, ...]
    by: str | None
    at: str | None
    checked: Checked

    @property
    def edited(self) -> bool:
        return self.current != self.draft or self.cites != self.draft_cites


@dataclass(frozen=True)
class Overruled:
    """An editor's verdict in place of the machine's."""

    target: str
    machine: Literal["ship", "skip", "unscored"]
    decision: Decision
    reason: str
    by: str
    at: str


@dataclass(frozen=True)
class Offer:
    """A regenerated review: version 1 is the record's own. `state`: what was decided about it.

    An `open` offer waits; `accepted` is the one in use (exactly one per review, at first version 1); `old` was in use
    before; `declined` was put away. All are kept.
    """

    id: int
    target: str
    version: int
    state: Literal["open", "accepted", "old", "declined"]
    by: str
    at: str
    note: str
    review: Review


@dataclass(frozen=True)
class Waiver:
    by: str
    at: str
    reason: str


@dataclass(frozen=True)
class Blocker:
    """Something that stands between an item and its approval, and where.

    `key` names it for `DeskStore.waive`; a waiver holds only for the text that it was given for. What is `ungrounded`
    or `unscored` cannot be waived (`waivable` false): confirm, rewrite, regenerate or overrule it.
    """

    key: str
    kind: BlockerKind
    target: str
    tool: str
    persona: str
    message: str
    waivable: bool
    waiver: Waiver | None = None


@dataclass(frozen=True)
class DossierVersion:
    """One version of a tool's dossier; `note` says why it was made."""

    tool: str
    version: int
    sha256: str
    by: str
    at: str
    note: str
    dossier: Dossier


@dataclass(frozen=True)
class Item:
    """All that the review screen shows.

    `draft` is the machine's record, never changed; `record` is what readers would get now: the editor's texts and
    verdicts, the accepted reviews, percentages and pick worked out anew. `blockers` holds waived ones too.
    `dossiers` is by tool slug, None where the record's card is no valid dossier.
    """

    row: Row
    draft: Comparison
    record: Comparison
    texts: dict[str, Text]
    overruled: dict[str, Overruled]
    offers: dict[str, tuple[Offer, ...]]
    blockers: tuple[Blocker, ...]
    dossiers: dict[str, DossierVersion | None]
    can_undo: bool
    can_redo: bool

    @property
    def open_blockers(self) -> tuple[Blocker, ...]:
        return tuple(blocker for blocker in self.blockers if blocker.waiver is None)


@dataclass(frozen=True)
class Saved:
    """The acknowledgement of a change: it is on the disk. `revision` is the base of the next one."""

    revision: int
    state: State
    target: str
    text: str
    cites: tuple[str, ...]
    checked: Checked
    open_blockers: int
    can_undo: bool
    can_redo: bool


@dataclass(frozen=True)
class Piece:
    """A run of words in a difference: `same`, only in the draft (`gone`), only in the current text (`new`)."""

    op: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True)
class Event:
    """One line of the append-only history. `item` is the slug, "" for what concerns no item."""

    id: int
    at: str
    by: str
    item: str
    action: str
    target: str
    detail: dict[str, object] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------- new tool, feedback


@dataclass(frozen=True)
class Candidate:
    """A proposed piece of evidence, cut from a pasted text."""

    id: str
    kind: Kind
    text: str


@dataclass(frozen=True)
class Cut:
    """Candidates of a pasted text; `dropped` are (sentence, why) for what was left out, `truncated` if text was."""

    candidates: tuple[Candidate, ...]
    dropped: tuple[tuple[str, str], ...]
    truncated: bool


@dataclass(frozen=True)
class FormProblem:
    """`field` in the form's own names: `name`, `evidence.3.text`, `pricing.0.price`."""

    field: str
    problem: str
    fix: str


@dataclass(frozen=True)
class Feedback:
    """How often a persona was corrected over all items, and for what."""

    persona: PersonaSlug
    reviews: int
    overruled_to_ship: int
    overruled_to_skip: int
    beats_edited: dict[str, int]
    quotes_edited: int
    regenerated: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """What `publish` and `withdraw` wrote."""

    folder: str
    files: dict[str, str]  # name → SHA-256
    revision: int
