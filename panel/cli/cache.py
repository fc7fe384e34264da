"""`review-panel cache`: the file of model answers, and how it is kept in bounds."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Annotated

import typer

from panel.errors import SetupError

cache_app = typer.Typer(help="The model answers that runs keep, so that none is computed twice.", no_args_is_help=True)

AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        help="File of answers; default: answers.sqlite in the cache folder, or what REVIEW_PANEL_ANSWERS names.",
        show_default=False,
    ),
]
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@cache_app.command("info", epilog="Example: review-panel cache info")
def cache_info(
    answers: AnswersOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Where the answers are, how many of which model, how old, and their size."""
    from panel.cli import show
    from panel.engines.answers import AnswerStore, default_path

    path = answers or default_path()
    if not path.exists():  # of the default file that is no mistake
        _refuse_missing(answers)
        show.kept(path, 0, [], as_json=as_json)
        return
    with contextlib.closing(AnswerStore(path, read_only=True)) as store:
        show.kept(path, path.stat().st_size, store.kept(), as_json=as_json)


@cache_app.command("prune", epilog="Example: review-panel cache prune --keep-days 30 --max-size 500MB")
def cache_prune(
    keep_days: Annotated[
        float | None, typer.Option(min=0, help="Drop what was not used for so many days.", show_default=False)
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(help="Then drop what was not used for longest, down to 500MB, 2GB, …", show_default=False),
    ] = None,
    answers: AnswersOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary.")] = False,
) -> None:
    """Drop old answers and make the file smaller. A run that ends with more than 1 GB does so by itself."""
    if keep_days is None and max_size is None:
        raise SetupError("nothing says what to drop", field="--keep-days", fix="give --keep-days, --max-size, or both")
    limit = None if max_size is None else _bytes(max_size)
    from panel.cli import show
    from panel.engines.answers import AnswerStore, default_path

    path = answers or default_path()
    if not path.exists():
        _refuse_missing(answers)
        return
    with contextlib.closing(AnswerStore(path)) as store:
        seconds = None if keep_days is None else keep_days * 86_400
        dropped = store.prune(keep_seconds=seconds, max_bytes=limit)
    if not quiet:
        show.line(f"dropped {dropped} answers; {path} has {path.stat().st_size / 1e6:.1f} MB")


def _refuse_missing(answers: Path | None) -> None:
    if answers is not None:
        raise SetupError("there is no such file of answers", path=answers, fix="see: review-panel cache info")


def _bytes(size: str) -> int:
    """`500MB` as a number. Raises `SetupError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", size.strip(), re.I)
    if found is None:
        raise SetupError(f"{size!r} is no size", field="--max-size", fix="write it as 500MB or 2GB")
    return int(float(found[1]) * _UNITS[found[2].upper()])
