"""The desk's state behind one class: what the web application calls, and nothing of HTTP.

Every method may be called from any thread. Every change takes the `revision` that it is based on and is refused as
`Stale` if the item has moved on; it is one transaction, on the disk before the method returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from panel.desk import decisions, edits, export, facts, publish, queue, sync, users, versions
from panel.desk.check import Checker
from panel.desk.database import Database
from panel.desk.diff import by_words
from panel.desk.document import check_typed
from panel.desk.reading import Context
from panel.desk.types import (
    MAX_BEAT,
    MAX_QUOTE,
    Checked,
    DossierVersion,
    Event,
    Feedback,
    FieldError,
    Item,
    NotFound,
    Offer,
    Piece,
    Published,
    QueueFilter,
    QueuePage,
    Role,
    Saved,
    SyncReport,
    User,
)
from panel.personas import load_personas
from panel.records import Decision, Dossier, Persona, Review, strip_unprintable


class DeskStore:
    """Editorial state in `outputs/desk.sqlite`, beside the records of `outputs/`.

    Args:
        outputs: the folder that runs write to (`panel.store`).
        site: the folder that is published to; default `outputs/site`.
        personas: default: the project's own.
        clock: the time as ISO 8601; default now, in UTC, to the second.

    Opening runs the migrations, and ends any publication that a killed process had begun. Raises SetupError where the
    file cannot be opened, is of a newer version, or is damaged.
    """

    def __init__(
        self,
        outputs: Path,
        *,
        site: Path | None = None,
        personas: Sequence[Persona] | None = None,
        clock: Callable[[], str] | None = None,
    ) -> None:
        self.outputs = outputs
        self.site = site or outputs / "desk_site"  # no tool's slug has a "_"
        panel = personas if personas is not None else load_personas()
        self._seen: dict[str, tuple[str, str]] = {}
        self._context = Context(Database(outputs / "desk.sqlite"), Checker(panel), clock or _now, outputs, self.site)
        try:
            publish.recover(self._context)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._context.database.close()

    # ------------------------------------------------------------------------------------------------- users

    def users(self) -> tuple[User, ...]:
        """All users, by name."""
        return users.users(self._context)

    def add_user(self, name: str, password: str, role: Role, *, by: str = "setup") -> User:
        """Add a user, or give one a new password and role. Raises FieldError."""
        return users.add(self._context, name, password, role, by)

    def login(self, name: str, password: str) -> User | None:
        """The user, or None; takes as long for an unknown name as for a wrong password."""
        return users.login(self._context, name, password)

    def user(self, name: str) -> User | None:
        """The user of that name, as they stand now (for sessions)."""
        return users.find(self._context, name)

    def remove_user(self, name: str, *, by: str) -> None:
        """Take away a user's access; the history keeps the name. Raises NotFound."""
        users.remove(self._context, name, by)

    # ------------------------------------------------------------------------------------------------- queue

    def sync(self) -> SyncReport:
        """Take in every record under `outputs` that is new or has changed. Cheap when nothing has."""
        return sync.sync(self._context, self._seen)

    def queue(self, show: QueueFilter = QueueFilter(), *, offset: int = 0, limit: int = 50) -> QueuePage:  # noqa: B008
        """One page of the queue (limit 1 to 200). Raises FieldError for a query that is too long."""
        return queue.page(self._context, show, offset, limit)

    def set_flip_rates(self, rates: Mapping[str, float]) -> int:
        """Flip rates (0 to 1) by tool slug, from an evaluation; returns how many tools of the queue have one."""
        return queue.set_flip_rates(self._context, rates)

    # ---------------------------------------------------------------------------------------------- one item

    def item(self, slug: str) -> Item:
        """Everything about one item. Raises NotFound (also for a slug with path tricks in it)."""
        return decisions.item_of(self._context, slug)

    def difference(self, slug: str, target: str) -> tuple[Piece, ...]:
        """The machine's draft against the current text, by words."""
        text = self.item(slug).texts.get(target)
        if text is None:
            raise NotFound(f"there is no text {strip_unprintable(target)[:120]!r} in this item")
        return by_words(text.draft, text.current)

    def history(self, slug: str | None = None, *, limit: int = 200, before: int | None = None) -> tuple[Event, ...]:
        """The newest events first, of one item or of all; `before` is an event id, for the next page."""
        return decisions.history(self._context, slug, limit, before)

    def claim(self, slug: str, user: User, *, take_over: bool = False) -> Item:
        """Make the item this user's own: only they may change it until `release`.

        Raises: Forbidden, naming the owner, if it is somebody else's and `take_over` is false.
        """
        decisions.claim(self._context, slug, user, take_over=take_over)
        return self.item(slug)

    def release(self, slug: str, user: User) -> None:
        """Give a claimed item back. Raises Forbidden if it is another user's and this one is no approver."""
        decisions.release(self._context, slug, user)

    # --------------------------------------------------------------------------------------------- text edits

    def check(self, slug: str, target: str, text: str, cites: Sequence[str] | None = None) -> Checked:
        """What the grounding rules say of a text that is being typed; writes nothing. `cites` None: as they are."""
        most = MAX_QUOTE if target.rpartition("/")[2] in ("quote", "pick", "pricing") else MAX_BEAT
        if len(text) > most:
            raise FieldError(f"this is longer than {most} characters", field="text", fix="shorten it")
        document = decisions.document_of(self._context, slug)
        return check_typed(document, self._context.checker, target, text, None if cites is None else tuple(cites))

    def save(
        self,
        slug: str,
        target: str,
        text: str,
        *,
        revision: int,
        user: User,
        cites: Sequence[str] | None = None,
        same_step: bool = False,
    ) -> Saved:
        """Autosave of a beat, a quote, the pick or the pricing read.

        An empty text puts the machine's draft back. With `same_step` the save is one undo step with the one before,
        if that was the same user's of the same target. A draft becomes `in review` by its first change. Sending what
        already stands there is acknowledged whatever the revision, so that a client may safely send twice.

        Raises: Stale, FieldError, NotFound, Forbidden, WrongState.
        """
        return edits.save(self._context, slug, target, text, cites, revision=revision, user=user, same_step=same_step)

    def undo(self, slug: str, *, revision: int, user: User) -> Saved:
        """Take back the last step (text, verdict, accepted version); `Saved.target` says what it was.

        Raises: WrongState if there is nothing to undo, Forbidden if the last step is somebody else's, Stale.
        """
        return edits.step(self._context, slug, revision=revision, user=user, undo=True)

    def redo(self, slug: str, *, revision: int, user: User) -> Saved:
        """Do again what was undone last. Raises as `undo`."""
        return edits.step(self._context, slug, revision=revision, user=user, undo=False)

    # ------------------------------------------------------------------------- verdicts and regenerated reviews

    def overrule(
        self, slug: str, tool: str, persona: str, decision: Decision | None, reason: str, *, revision: int, user: User
    ) -> Saved:
        """The editor's verdict in place of the reviewer's; None takes it back. The reason is required."""
        return versions.overrule(self._context, slug, tool, persona, decision, reason, revision=revision, user=user)

    def offer(self, slug: str, review: Review, tool: str, *, user: User, note: str = "") -> Offer:
        """Keep a regenerated review as a new open version beside the one in use; changes nothing readers see."""
        return versions.offer(self._context, slug, review, tool, user=user, note=note)

    def accept(self, slug: str, offer: int, *, revision: int, user: User, beats: Sequence[str] | None = None) -> Saved:
        """Use an offered version: whole, or only the named `beats` of it (sentence by sentence, as edits).

        Any version may be accepted, also an old one. Accepting whole puts edits of that review's texts aside.
        """
        return versions.accept(self._context, slug, offer, beats, revision=revision, user=user)

    def decline(self, slug: str, offer: int, *, user: User) -> Offer:
        """Put an open version away; it is kept."""
        return versions.decline(self._context, slug, offer, user=user)

    # ------------------------------------------------------------------------------------------------ dossiers

    def confirm(
        self, slug: str, tool: str, fact: str, source: str, kind: str, *, revision: int, user: User, target: str = ""
    ) -> Saved:
        """Add `fact` with its source to the tool's dossier, as a new version, for this item.

        `fact` is a whole sentence. With `target`, that beat cites the new evidence (`Saved.cites` then ends with its
        id). The record on disk does not change.
        """
        return facts.confirm(self._context, slug, tool, fact, source, kind, revision=revision, user=user, target=target)

    def dossier_versions(self, tool: str) -> tuple[DossierVersion, ...]:
        """All versions of a tool's dossier, oldest first."""
        return facts.versions_of(self._context, tool)

    def known_tools(self) -> tuple[tuple[str, str], ...]:
        """(slug, name) of every tool that has a dossier, by name: what one may compare with."""
        return facts.known_tools(self._context)

    def keep_dossier(self, dossier: Dossier, *, user: User, note: str = "") -> DossierVersion:
        """Keep a dossier written by hand as the newest version of its tool (the same content is kept once)."""
        return facts.keep(self._context, dossier, user=user, note=note)

    # -------------------------------------------------------------------------------- approve, publish, withdraw

    def waive(self, slug: str, key: str, reason: str, *, revision: int, user: User) -> Saved:
        """Let a flag (`Blocker.key`) pass, with a reason. Raises Forbidden where it cannot be waived."""
        return facts.waive(self._context, slug, key, reason, revision=revision, user=user)

    def approve(self, slug: str, *, revision: int, user: User) -> Saved:
        """Approvers only. Raises Blocked with every open blocker, Forbidden, Stale, WrongState."""
        return decisions.approve(self._context, slug, revision=revision, user=user)

    def reopen(self, slug: str, *, revision: int, user: User) -> Saved:
        """Back to `in review`, from approved, published (its page stays until published again) or withdrawn."""
        return decisions.reopen(self._context, slug, revision=revision, user=user)

    def publish(self, slug: str, *, revision: int, user: User) -> Published:
        """Approvers only. Write `site/<slug>/` (index.html, comparison.md, comparison.json) all at once.

        The same approval gives the same bytes, however often it is published.
        """
        return publish.publish(self._context, slug, revision=revision, user=user)

    def withdraw(self, slug: str, reason: str, *, revision: int, user: User) -> Published:
        """Approvers only. Put a tombstone in the page's place, with the reason."""
        return publish.withdraw(self._context, slug, reason, revision=revision, user=user)

    # -------------------------------------------------------------------------------------------------- feedback

    def feedback(self) -> tuple[Feedback, ...]:
        """How often each persona was corrected, and for what."""
        return export.feedback(self._context)

    def export(self, folder: Path) -> dict[str, Path]:
        """Write what editors did under `folder`: `cases/<tool>/{dossier,gold}.yaml` and `draft-against-final.csv`.

        Returns the paths by their names relative to `folder`.
        """
        return export.export(self._context, folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
