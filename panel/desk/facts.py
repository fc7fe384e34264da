"""Facts that an editor confirms with a source, and flags that one lets pass with a reason."""

from __future__ import annotations

from pydantic import ValidationError

from panel.desk.document import final_record, find_text
from panel.desk.edits import line, standing, text_value
from panel.desk.reading import Context, as_version, keep_dossier, record_event, rows, run
from panel.desk.types import (
    MAX_REASON,
    Blocker,
    DossierVersion,
    FieldError,
    Forbidden,
    NotFound,
    Saved,
    User,
    WrongState,
)
from panel.desk.work import Work, changing, view_of
from panel.inputs import explain
from panel.records import Dossier, Evidence, strip_unprintable


def confirm(
    context: Context, slug: str, tool: str, fact: str, source: str, kind: str,
    *, revision: int, user: User, target: str,
) -> Saved:  # fmt: skip
    with changing(context, slug, user, revision, verb="edited") as work:
        if tool not in work.document.dossiers:
            raise NotFound(f"there is no tool {strip_unprintable(tool)[:60]!r} in this item")
        version = work.document.dossiers[tool]
        if version is None:
            raise WrongState(f"the card of {tool} is no valid dossier, so nothing can be added to it")
        new = f"E{1 + max(int(item.id[1:]) for item in version.dossier.evidence)}"
        try:
            item = Evidence.model_validate({"id": new, "kind": kind, "text": fact, "source": source})
            data = version.dossier.model_dump(mode="json", by_alias=True)
            dossier = Dossier.model_validate(data | {"evidence": [*data["evidence"], item.model_dump(mode="json")]})
        except ValidationError as error:
            field, message, fix = explain(error.errors(include_url=False)[0], Evidence)
            raise FieldError(message, field={"text": "fact"}.get(field, field), fix=fix) from error
        cites = None
        if target:
            entry, review, name = find_text(final_record(work.document), target)
            if entry.slug != tool or name == "quote":
                raise FieldError("only a beat about this tool can cite it", field="target", fix="name such a beat")
            cites = [*next(beat.cites for beat in review.beats if beat.name == name), new]
        kept = keep_dossier(context, work.connection, dossier, by=user.name, note=f"{new} confirmed in {slug}")
        work.put(f"dossier:{tool}", {"version": kept.version})
        if cites is not None:
            work.put(f"text:{target}", text_value(work, target, standing(work, target), cites))
        return work.finish(
            "confirm", target or tool, tool=tool, evidence=new, fact=item.text, source=item.source,
            version=kept.version, now=item.text,
        )  # fmt: skip


def waive(context: Context, slug: str, key: str, reason: str, *, revision: int, user: User) -> Saved:
    why = line(reason, "reason", MAX_REASON)
    with changing(context, slug, user, revision, verb="changed") as work:
        blocker = _blocker(work, key)
        if not blocker.waivable:
            raise Forbidden(f"what is {blocker.kind} cannot be waived: {blocker.message}")
        run(
            work.connection,
            "INSERT OR REPLACE INTO waivers VALUES (:item, :key, :reason, :by, :at)",
            item=work.item["id"], key=key, reason=why, by=user.name, at=context.clock(),
        )  # fmt: skip
        work.reload()
        return work.finish("waive", blocker.target, flag=blocker.message, reason=why)


def _blocker(work: Work, key: str) -> Blocker:
    found = next((b for b in view_of(work.context, work.document)[2] if b.key == key), None)
    if found is None:
        raise NotFound("there is no such flag any more; the text it was about has changed")
    return found


def versions_of(context: Context, tool: str) -> tuple[DossierVersion, ...]:
    with context.database.read() as connection:
        found = rows(connection, "SELECT * FROM dossiers WHERE tool = :tool ORDER BY version", tool=tool)
        return tuple(as_version(row) for row in found)


def known_tools(context: Context) -> tuple[tuple[str, str], ...]:
    with context.database.read() as connection:
        found = rows(
            connection,
            "SELECT tool, name, max(version) FROM dossiers GROUP BY tool ORDER BY name COLLATE NOCASE, tool",
        )
        return tuple((row["tool"], row["name"]) for row in found)


def keep(context: Context, dossier: Dossier, *, user: User, note: str) -> DossierVersion:
    words = line(note, "note", MAX_REASON, empty=True)
    with context.database.write() as connection:
        kept = keep_dossier(context, connection, dossier, by=user.name, note=words or "written by hand")
        record_event(context, connection, user.name, "dossier", target=dossier.slug, version=kept.version)
        return kept
