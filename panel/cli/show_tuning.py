"""What people see of a change of a persona: its text, its verdicts, its quotes. Results go to standard output.

Text of a persona, a dossier or a model is stripped of control characters and never read as markup.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from panel.cli.show import line, note, plain
from panel.records import Dossier, Review, strip_unprintable
from panel.tuning.changes import Change, word_changes
from panel.tuning.difference import Difference, Quotes
from panel.tuning.effect import Effect
from panel.tuning.revisions import Side
from panel.tuning.search import Found
from panel.tuning.statistics import Interval, unseen
from panel.tuning.trying import Tried, moved_pulls

#: Tools named in one line, before it says how many more there are.
_NAMED = 6


def weighed(persona: str, done: int, of: int) -> None:
    """Progress on one line of standard error, which is wiped when all is done."""
    text = f"{persona}: weighing {done}/{of} " if done < of else " " * 60 + "\r"
    print(f"\r{text}", end="", file=sys.stderr, flush=True)


def _console() -> Console:
    return Console(highlight=False)


def words(before: str, after: str, *, colour: bool) -> Text:
    """`after` with what it no longer says struck out; without colours in git's marks: [-gone-]{+new+}."""
    text = Text()
    for run in word_changes(strip_unprintable(before), strip_unprintable(after)):
        if not run.changed:
            text.append(run.after)
            continue
        for said, style, marks in ((run.before, "red strike", "[-{}-]"), (run.after, "green", "{{+{}+}}")):
            bare = said.rstrip()
            if bare:
                text.append(bare if colour else marks.format(bare), style if colour else "")
                text.append(said[len(bare) :] or " ")
    text.rstrip()
    return text


def differences(sides: tuple[Side, Side], part: str, found: Sequence[Difference], *, as_json: bool) -> None:
    """What `personas diff` found, persona by persona."""
    if as_json:
        about = {"schema": "persona-diff/1", "before": sides[0].label, "after": sides[1].label, "part": part}
        line(json.dumps(about | {"personas": [one.as_data() for one in found]}, indent=2, ensure_ascii=False))
        return
    console = _console()
    if not found:
        console.print("no difference")
    for one in found:
        console.print(Text(one.slug, "bold"))
        console.print(_texts(one.changes, sides))
        if one.effect is not None:
            _effect(console, one.effect, part, one.fitted_on)
        elif all(change.reach in ("quote", "nothing") for change in one.changes):
            console.print("Reaches no verdict: p_ship of every tool stays as it is.")
        else:
            console.print("Reaches no verdict of this model: it has an adapter, and is shown no examples.")
        if one.unlearned:
            console.print("The model's adapter has learned to read for the audiences as they were: a new wording is")
            console.print(
                "outside of that. Train it again (make adapter) before the figures are taken for the model's."
            )
        for quote in one.quotes:
            _side_by_side(console, quote, sides)
        if one.quotes and one.uncalibrated:
            note(f"warning: {one.slug} is not calibrated for this model; see: review-panel personas calibrate")


def _texts(changed: Sequence[Change], sides: tuple[Side, Side]) -> Table:
    table = _two_columns("field", sides)
    for change in changed:
        table.add_row(plain(change.field), *_marked(change.before, change.after))
    return table


def _two_columns(what: str, sides: tuple[Side, Side]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in (what, *(strip_unprintable(side.label) for side in sides)):
        table.add_column(Text(heading), overflow="fold")
    return table


def _marked(before: str, after: str) -> tuple[Text, Text]:
    """Both texts, with the words that only one of them has in colour."""
    left, right = Text(), Text()
    for run in word_changes(strip_unprintable(before), strip_unprintable(after)):
        left.append(run.before, "red" if run.changed else "")
        right.append(run.after, "green" if run.changed else "")
    return left if left.plain else Text("—"), right if right.plain else Text("—")


def _effect(console: Console, found: Effect, part: str, fitted_on: int) -> None:
    """Each figure before and after, with the difference and its interval."""
    console.print(f"On {part} ({len(found.cells)} tools), both versions calibrated on the same {fitted_on} cases:")
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("", "before", "after", "difference (95% interval)"):
        table.add_column(heading)
    (right, then_right), (brier, then_brier) = found.right(), found.brier()
    largest = found.largest
    table.add_row("p_ship, mean move", "", "", found.moved().plain())
    table.add_row("p_ship, largest move", f"{largest.before:.3f}", f"{largest.after:.3f}", plain(largest.tool))
    told = f"{found.right_moved().plain(2)}, McNemar p = {found.p_value:.2f}"
    table.add_row("right by gold", str(right), str(then_right), told if found.flipped else _none(found))
    table.add_row("Brier score (less is better)", f"{brier:.3f}", f"{then_brier:.3f}", found.brier_moved().plain())
    turned, then_turned, count = found.turned()
    unsteady = found.turned_moved()
    if unsteady is not None:
        steady = all(cell.turned_before == cell.turned_after for cell in found.cells)
        told = _none(found) if steady else unsteady.plain(2)
        table.add_row(f"turned by other words, of {count}", str(turned), str(then_turned), told)
    console.print(table)
    for cell in found.flipped:
        before, after = ("ship" if p >= 0.5 else "skip" for p in (cell.before, cell.after))
        mark = "gained" if cell.right(cell.after) else "lost"
        console.print(
            plain(
                f"  {cell.tool}: {before} {cell.before:.2f} → {after} {cell.after:.2f}, gold says {cell.gold} ({mark})"
            )
        )
    console.print(f"Verdicts flipped: {len(found.flipped)}. {_judgement(found.brier_moved())}")


def _none(found: Effect) -> str:
    """What is known where no tool differs: not that none would."""
    return f"none of {len(found.cells)}; up to {unseen(len(found.cells)):.0%} of tools may (95%)"


def _judgement(brier: Interval) -> str:
    """Progress, harm, or noise."""
    if not brier.excludes_zero:
        return "The interval of the Brier score holds zero: not to be told from noise."
    return "Closer to gold than chance explains." if brier.high < 0 else "Further from gold than chance explains."


def _heads(console: Console, tool: str, before: Review, after: Review) -> None:
    console.print(plain(f"{tool}: {_verdict(before)} → {_verdict(after)}"))
    for side, one in (("before", before), ("after", after)):
        if one.reason is not None:
            console.print(plain(f"  {side}: unscored, {one.reason}"))


def _side_by_side(console: Console, quotes: Quotes, sides: tuple[Side, Side]) -> None:
    """The beats that differ, in two columns; the others are named."""
    _heads(console, quotes.tool, quotes.before, quotes.after)
    beats = quotes.beats()
    table = _two_columns("beat", sides)
    for name, before, after in beats:
        if before != after:
            table.add_row(plain(name), *_marked(before, after))
    if table.row_count:
        console.print(table)
    same = [name for name, before, after in beats if before == after]
    if same:
        console.print(plain(f"  the same: {', '.join(same)}"))


def _inline(console: Console, before: Review, after: Review) -> None:
    """Each beat, with the words that came and went."""
    texts = {beat.name: beat.text for beat in before.beats}
    for beat in after.beats if before.beats else ():
        old = texts.get(beat.name, "")
        said = plain(beat.text) if old == beat.text else words(old, beat.text, colour=console.is_terminal)
        console.print(Text("  = " if old == beat.text else "  ≠ ").append(f"{beat.name}: ", "bold").append(said))


def _verdict(review: Review) -> str:
    return f"{review.decision} {review.p_ship:.2f}" if review.p_ship is not None else "unscored"


def tried(dossiers: Sequence[Dossier], last: Tried | None, now: Tried, changed: Sequence[Change]) -> None:
    """What `personas try` found, against the version before."""
    console = _console()
    for change in changed:
        gone = Text("changed ").append(plain(change.field)).append(": ")
        console.print(gone.append(words(change.before, change.after, colour=console.is_terminal)))
    for dossier in dossiers:
        review = now.reviews[dossier.slug]
        if last is None:
            console.print(plain(f"{dossier.slug}: {_verdict(review)}"))
            if review.reason is not None:
                console.print(plain(f"  unscored: {review.reason}"))
            for beat in review.beats:
                console.print(Text("    ").append(f"{beat.name}: ", "bold").append(plain(beat.text)))
            continue
        before = last.reviews[dossier.slug]
        _heads(console, dossier.slug, before, review)
        _inline(console, before, review)
        texts = {item.id: item.text for item in dossier.evidence}
        for evidence, old, new in moved_pulls(before, review):
            console.print(plain(f"  {evidence} {old:+.2f} → {new:+.2f}  {texts[evidence]}"))
    if now.borrowed:
        note(
            "p_ship rests on the calibration of the version before; this one has none: review-panel personas calibrate"
        )
    elif not now.persona.calibration.fitted:
        note("warning: not calibrated for this model, p_ship may be far off; see: review-panel personas calibrate")
    note(f"{now.seconds:.1f} s, {now.computed} answers computed, {now.kept} kept")


def found(
    result: Found,
    path: Path,
    text: str,
    proposed: str,
    *,
    searched: int,
    tuned: bool,
    test: Effect | None,
    held: bool,
    written: bool,
    as_json: bool,
) -> None:
    """What `personas tune` found: the steps, the evidence, and what became of the file."""
    patch = "".join(
        difflib.unified_diff(
            text.splitlines(keepends=True), proposed.splitlines(keepends=True), str(path), f"{path} (proposed)", n=1
        )
    )
    if as_json:
        data: dict[str, Any] = {
            "schema": "persona-tuning/1", "persona": result.before.slug, "searched_on": searched,
            "tried": result.tried, "brier_at_start": result.start, "steps": [asdict(step) for step in result.steps],
            "dev": result.dev.as_data() if result.dev else None, "found": result.confirmed,
            "test": test.as_data() if test else None, "diff": patch, "written": written,
        }  # fmt: skip
        line(json.dumps(data, indent=2, ensure_ascii=False))
        return
    console = _console()
    console.print(
        f"{result.before.slug}: {result.tried} changes tried on {searched} tools, Brier score {result.start:.4f}"
    )
    for step in result.steps:
        console.print(plain(f"  {step.field}: {step.old} → {step.new}, Brier score {step.brier:.4f}"))
    if tuned and result.before.candidates.examples:
        console.print("Examples were not tried: the model has an adapter, and is shown none.")
    if tuned and result.after.audience != result.before.audience:
        console.print("The adapter has not learned to read for the new audience; train it again (make adapter).")
    if result.dev is None:
        console.print(f"Found nothing: no change helps on the tools that were searched. {path.name} is as it was.")
        return
    _effect(console, result.dev, "dev", searched)
    if not result.confirmed:
        console.print(f"Found nothing: development does not bear it out. {path.name} is as it was.")
        return
    if test is not None:
        _effect(console, test, "test", searched)
        console.print(f"Confirmed on dev, and {'on test' if held else 'not on test'}.")
    else:
        console.print("Confirmed on dev.")
    console.print(plain(patch))
    console.print(f"Written to {path}, with its calibration." if written else "--write puts it into the file.")
