"""Does a batch stay as quick and as small as it starts, and does it lose anything when it is killed?

    python -m evals.many --tools 250          half an hour: a batch of 10 tools, then one of 250, killed in its middle

The tools are copies of ten cases, each under a name of its own and with facts of its own wording, so that no answer of
one serves another, and both batches hold the same mixture. Peak memory is the highest resident set of the processes
(`wait4`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from evals.killed import Result, Watch
from evals.shared import case_folders, note, panel_command, report, run
from panel.errors import SetupError
from panel.records import PERSONA_SLUGS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

#: Tools of the small batch, and cases that both are copied from.
FEW = 10
#: How much dearer a review may be in the large batch, and the bound on its memory.
DEARER, MOST = 0.10, 2 << 30


@dataclass(frozen=True)
class Batch:
    """One batch, in as many processes as it took: seconds and bytes."""

    seconds: float
    peak: int


def copies(cases: Sequence[Path], count: int, folder: Path) -> list[str]:
    """Write `count` dossiers into `folder`, the cases in turn; their slugs."""
    folder.mkdir(parents=True)
    slugs = []
    for number in range(count):
        dossier = yaml.safe_load((cases[number % len(cases)] / "dossier.yaml").read_text(encoding="utf-8"))
        slug = f"{dossier['slug']}-{number:04d}"
        facts = [{**e, "text": f"{e['text'].rstrip('.')}, says entry {number}."} for e in dossier["evidence"]]
        made = {**dossier, "slug": slug, "name": f"{dossier['name']} {number}", "evidence": facts}
        (folder / f"{slug}.yaml").write_text(yaml.safe_dump(made, allow_unicode=True), encoding="utf-8")
        slugs.append(slug)
    return slugs


def started(command: Sequence[str], out: Path, answers: Path, stop: float | None = None) -> tuple[int | None, Batch]:
    """Run `command`, and kill it after `stop` seconds; its exit code, None where it was killed."""
    environment = {**os.environ, "REVIEW_PANEL_ANSWERS": str(answers)}
    begun = time.monotonic()
    with out.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--out", str(out)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        while True:
            found, status, usage = os.wait4(process.pid, os.WNOHANG)
            if found:
                break
            if stop is not None and time.monotonic() - begun > stop:
                process.kill()  # SIGKILL: nothing in the process can notice
                stop = None
            time.sleep(0.05)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code  # it has been waited for
    return (None if code < 0 else code), Batch(time.monotonic() - begun, usage.ru_maxrss * 1024)


@app.command(epilog="Example: python -m evals.many --tools 50")
def main(
    tools: Annotated[int, typer.Option(min=FEW, help="Tools of the large batch.")] = 250,
    out: Annotated[Path, typer.Option(help="Folder for the batches.")] = Path("outputs/evals/many"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Exit code 1 if a review of the large batch is dearer by more than a tenth, memory is above 2 GiB, or anything is
    lost or done twice."""
    shutil.rmtree(out, ignore_errors=True)
    cases = case_folders(FEW)
    few, _, _ = _batch(cases, FEW, out / "few", kill_after=None)
    note(f"{FEW} tools: {_cost(few, FEW):.2f} s a review")
    many, standing, result = _batch(cases, tools, out / "many", kill_after=few.seconds * tools / FEW / 2)
    ratio = _cost(many, tools) / _cost(few, FEW)
    found: dict[str, Any] = {
        "tools": tools,
        "seconds a review": {"few": round(_cost(few, FEW), 3), "many": round(_cost(many, tools), 3)},
        "ratio": round(ratio, 3),
        "peak bytes": {"few": few.peak, "many": many.peak},
        "standing when killed": standing,
        "finished": result.finished,
        "unscored": result.unscored,
        "faults": result.faults,
    }
    rows = [
        ["", f"{FEW} tools", f"{tools} tools", "bound"],
        [
            "seconds a review",
            f"{_cost(few, FEW):.2f}",
            f"{_cost(many, tools):.2f} ({ratio - 1:+.1%})",
            f"+{DEARER:.0%}",
        ],
        ["peak memory", f"{few.peak >> 20} MiB", f"{many.peak >> 20} MiB", f"{MOST >> 20} MiB"],
        ["reviews when killed", "", str(standing), ""],
        ["reviews at the end (unscored)", "", f"{result.finished} ({result.unscored})", ""],
        ["lost, changed, computed twice, half-written", "", str(len(result.faults)), "0"],
    ]
    report(found, rows, result.faults, as_json=as_json)
    if result.faults or ratio > 1 + DEARER or many.peak > MOST:
        raise typer.Exit(1)


def _cost(batch: Batch, tools: int) -> float:
    return batch.seconds / (tools * len(PERSONA_SLUGS))


def _batch(cases: Sequence[Path], count: int, place: Path, kill_after: float | None) -> tuple[Batch, int, Result]:
    """Run a batch of `count` tools, killed once where asked for, to its end.

    Returns:
        What it took, the reviews that stood when it was killed, and what was found in its folder.

    Raises:
        SetupError: the command fails by itself.
    """
    slugs = copies(cases, count, place / "dossiers")
    records = place / "records"
    command = [*panel_command(), "batch", str(place / "dossiers")]
    watch, answers = Watch(records, slugs, records=count), place / "answers.sqlite"
    code, spent = started(command, records, answers, kill_after)
    standing = watch.look() if code is None else 0
    if code is None:
        note(f"killed after {spent.seconds:.0f} s with {standing} reviews standing")
        code, rest = started(command, records, answers)
        spent = Batch(spent.seconds + rest.seconds, max(spent.peak, rest.peak))
    if code not in (0, 1):
        log = records.with_suffix(".log")
        raise SetupError(f"the batch ended with exit code {code}", path=log, fix="see what it says there")
    result = Result()
    watch.finish(result, None)
    return spent, standing, result


if __name__ == "__main__":
    run(app)
