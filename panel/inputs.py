"""Reading what people wrote: size limits, encodings, YAML, and errors that name the line.

Untrusted files come through here. Aliases are refused (they can make a small file enormous), duplicate keys are
refused (the first would be lost without a word), and nothing is constructed but plain data.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from panel.errors import SetupError

MAX_BYTES = 1 << 20

Model = TypeVar("Model", bound=BaseModel)

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# An alias can make a small file enormous; a tag can ask for a value that cannot be made.
_REFUSED = {yaml.AnchorToken: "anchors (&)", yaml.AliasToken: "aliases (*)", yaml.TagToken: "tags (!)"}


def read_text(path: Path, what: str, *, limit: int = MAX_BYTES) -> str:
    """The text of an input file of at most `limit` bytes.

    Raises:
        SetupError: it is missing, unreadable, too large, or not UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise SetupError(f"there is no such {what}", path=path, fix=_similar(path)) from error
    except IsADirectoryError as error:
        raise SetupError(f"this is a folder, not a {what}", path=path, fix="name the file in it") from error
    except OSError as error:
        raise SetupError(
            f"the {what} cannot be read ({error.strerror})", path=path, fix="check the path and its permissions"
        ) from error
    return decode(data, path, what, limit)


def decode(data: bytes, path: Path, what: str, limit: int = MAX_BYTES) -> str:
    """The text of an input file's `data`; `path` is what messages call it. Raises `SetupError` as `read_text`."""
    if len(data) > limit:
        raise SetupError(
            f"the {what} is larger than {limit >> 20} MiB", path=path, fix="keep evidence to one sentence each"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SetupError(
            f"the {what} is not UTF-8 text (byte {error.start})", path=path, fix="save it as UTF-8 text"
        ) from error
    if "\x00" in text:
        raise SetupError(f"the {what} is binary", path=path, fix="name a YAML text file")
    return text.replace("\r\n", "\n")  # as an editor on Windows, or git there, saves it


def parse(model: type[Model], text: str, path: Path, *, first_line: int = 1) -> Model:
    """Validate the YAML `text` of `path` against `model`.

    Args:
        first_line: the line of the file on which `text` starts, for messages.

    Raises:
        SetupError: not YAML, or not what `model` wants; names the line, the field and the fix.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _refuse_surprises(node, text, path, first_line)
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SetupError(
            f"this is not valid YAML ({problem})",
            path=path,
            line=mark.line + first_line if mark is not None else None,
            fix='quote text that holds ": " or " #", and indent with spaces',
        ) from error
    except (ValueError, RecursionError) as error:  # a date or number that YAML reads and Python does not; deep nesting
        raise SetupError(f"a value cannot be read ({error})", path=path, fix="put it in quotes") from error
    if not isinstance(data, dict):
        raise SetupError(
            "this is not a mapping of fields", path=path, line=first_line, fix="start with 'schema: …' and 'slug: …'"
        )
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _readable(error, model, node, path, first_line) from error


def _refuse_surprises(node: Any, text: str, path: Path, first_line: int) -> None:
    for token in yaml.scan(text, Loader=_Loader):
        refused = _REFUSED.get(type(token))
        if refused:
            raise SetupError(
                f"YAML {refused} are not allowed",
                path=path,
                line=token.start_mark.line + first_line,
                fix="write the value out, in quotes",
            )
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in current.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise SetupError(
                        "the name of a field must be plain text",
                        path=path,
                        line=key.start_mark.line + first_line,
                        fix="put text that holds brackets in quotes",
                    )
                if key.value in seen:
                    raise SetupError(
                        f"the field {str(key.value)[:60]!r} is given twice",
                        path=path,
                        line=key.start_mark.line + first_line,
                        fix="keep one of them",
                    )
                seen.add(key.value)
                stack.append(value)
        elif isinstance(current, yaml.SequenceNode):
            stack.extend(current.value)


def _readable(error: ValidationError, model: type[BaseModel], node: Any, path: Path, first_line: int) -> SetupError:
    """The first problem of a validation error, with its line and what to do about it."""
    problem = error.errors(include_url=False)[0]
    line = _line_of(node, tuple(problem["loc"]))
    field, message, fix = explain(problem, model)
    return SetupError(
        message, path=path, line=line + first_line if line is not None else None, field=field or None, fix=fix
    )


def explain(problem: ErrorDetails, model: type[BaseModel]) -> tuple[str, str, str]:
    """A problem that pydantic found, for a person: the field ("" for the whole), what is wrong, and what to do."""
    location = tuple(problem["loc"])
    # a field that is not known is named as the file names it: cut, and on one line
    field = " ".join(".".join(str(part)[:60] for part in location).split())
    message = str(problem["msg"]).removeprefix("Value error, ")
    fix = f"see the example of {model.__name__.lower()} files in README.md"
    kind = problem["type"]
    if kind == "value_error" and "; " in message:
        message, fix = message.rsplit("; ", 1)
    elif kind == "missing":
        message, fix = "this field is missing", f"add '{location[-1]}: …'"
    elif kind == "extra_forbidden":
        known = [f.alias or name for name, f in model.model_fields.items()]
        close = difflib.get_close_matches(str(location[-1]), known, 1)
        message = "this field is not known"
        fix = f"did you mean '{close[0]}'?" if close else f"delete it, or use one of {', '.join(known)}"
    elif kind == "string_type":
        message, fix = f"this must be text, not {type(problem['input']).__name__}", "put the value in quotes"
    elif kind == "literal_error":
        message, fix = (
            f"{str(problem['input'])[:60]!r} is not known here",
            f"use one of {problem.get('ctx', {}).get('expected')}",
        )
    elif kind == "too_short":
        message, fix = "this list is too short", f"give at least {problem.get('ctx', {}).get('min_length')}"
    elif kind == "string_too_long":
        message, fix = message, "shorten it"
    elif kind == "string_pattern_mismatch":
        message = f"{str(problem['input'])[:60]!r} does not fit"
        fix = _PATTERN_FIX.get(str(location[-1]), f"it must match {problem.get('ctx', {}).get('pattern')}")
    return field, message, fix


_PATTERN_FIX = {
    "slug": "use lower-case letters, digits and hyphens, at most 64",
    "id": "use E1, E2, E3 …",
    "currency": "use a three-letter code such as USD",
}


def _line_of(node: Any, location: tuple[Any, ...]) -> int | None:
    """Zero-based line of the YAML node at `location`, or of its closest ancestor."""
    line = node.start_mark.line if node is not None else None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line


def _similar(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir()]
    except OSError:
        names = []
    close = difflib.get_close_matches(path.name, names, 1)
    return f"did you mean {path.parent / close[0]}?" if close else "check the path"


def parse_json(model: type[Model], path: Path, what: str, *, limit: int = MAX_BYTES) -> Model:
    """Read and validate a JSON file that this project wrote.

    Raises:
        SetupError: missing, not JSON, or not what `model` wants.
    """
    import json

    text = read_text(path, what, limit=limit)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SetupError(f"this is not valid JSON ({error})", path=path, fix="make the record again") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _readable(error, model, None, path, 1) from error
