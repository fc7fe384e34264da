"""What people wrote is read, or refused with the line, the field and the fix; never with anything else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from panel.errors import SetupError
from panel.inputs import MAX_BYTES, parse, parse_json, read_text

FILE = Path("some.yaml")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern="^E[1-9]$")
    share: float = 0.0


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    kind: str | None = None
    parts: list[Part] = Field(default=[], max_length=3)


# ----------------------------------------------------------------------------------------------------- reading


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: caf\xc3\xa9\n")
    assert read_text(path, "dossier") == "name: café\n"


def test_the_limit_is_the_last_size_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * MAX_BYTES)
    assert len(read_text(path, "dossier")) == MAX_BYTES == 1024 * 1024
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SetupError, match=r"the dossier is larger than 1 MiB\. Fix: "):
        read_text(path, "dossier")


def test_what_is_missing_is_looked_for_among_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "dossier.yaml").write_text("")
    with pytest.raises(SetupError) as caught:
        read_text(tmp_path / "dosier.yaml", "dossier")
    assert str(caught.value) == (
        f"{tmp_path}/dosier.yaml: there is no such dossier. Fix: did you mean {tmp_path}/dossier.yaml?"
    )
    with pytest.raises(SetupError, match="Fix: check the path"):
        read_text(tmp_path / "nowhere" / "x.yaml", "dossier")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"name: caf\xe9", "not UTF-8 text (byte 9)"),
        ("name: x".encode("utf-16"), "not UTF-8 text (byte 0)"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text (byte 0)"),
        (b"name: \x00", "the dossier is binary"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    with pytest.raises(SetupError) as caught:
        read_text(path, "dossier")
    assert problem in str(caught.value)
    assert caught.value.path == path


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="this is a folder, not a dossier"):
        read_text(tmp_path, "dossier")


def test_windows_line_ends_are_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"name: x\r\nkind: y\r\n")
    assert read_text(path, "dossier") == "name: x\nkind: y\n"


# ----------------------------------------------------------------------------------------------------- parsing


def broken(text: str, *, first_line: int = 1) -> SetupError:
    with pytest.raises(SetupError) as caught:
        parse(Whole, text, FILE, first_line=first_line)
    assert "\n" not in str(caught.value)
    assert caught.value.path == FILE
    return caught.value


def test_a_good_file_is_read() -> None:
    whole = parse(Whole, "name: 'a: b # c'\nparts:\n- {id: E1, share: 0.5}\n", FILE)
    assert whole == Whole(name="a: b # c", parts=[Part(id="E1", share=0.5)])


@pytest.mark.parametrize(
    ("text", "line", "field", "says"),
    [
        ("kind: x\n", 1, "name", "this field is missing. Fix: add 'name: …'"),
        ("name: x\n\nnmae: y\n", 3, "nmae", "this field is not known. Fix: did you mean 'name'?"),
        ("name: x\nzzz: y\n", 2, "zzz", "Fix: delete it, or use one of name, kind, parts"),
        ("name: no\n", 1, "name", "this must be text, not bool. Fix: put the value in quotes"),
        ("name: 2025-01-01\n", 1, "name", "this must be text, not date. Fix: put the value in quotes"),
        ("kind: x\nname: 2\n", 2, "name", "this must be text, not int"),
        ("name: x\nparts:\n- id: E1\n- id: F1\n", 4, "parts.1.id", "'F1' does not fit. Fix: use E1, E2, E3 …"),
        ("name: x\nparts:\n- id: E1\n  share: many\n", 4, "parts.0.share", "Input should be a valid number"),
        ("name: x\nparts:\n- id: E1\n- {}\n", 4, "parts.1.id", "this field is missing"),
        ("name: x\nparts: E1\n", 2, "parts", "Input should be a valid list"),
    ],
)
def test_each_mistake_is_named_with_its_line(text: str, line: int, field: str, says: str) -> None:
    error = broken(text)
    assert (error.line, error.field) == (line, field)
    assert says in str(error)
    assert str(error).startswith(f"some.yaml:{line} [{field}]: ")
    # The text may be the middle of a longer file.
    assert broken(text, first_line=11).line == line + 10


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "not a mapping of fields"),
        ("# only a remark\n", 1, "not a mapping of fields"),
        ("- a\n- b\n", 1, "not a mapping of fields"),
        ("just words\n", 1, "not a mapping of fields"),
        ("name: x\nkind: y: z\n", 2, "not valid YAML"),
        ("name: x\n\tkind: y\n", 2, "not valid YAML"),
        ("name: [a, b\n", 2, "not valid YAML"),
        ("name: x\n---\nname: y\n", 2, "not valid YAML"),
        ("name: \x07\n", None, "not valid YAML"),
        ("name: x\nkind: a\nname: y\n", 3, "the field 'name' is given twice. Fix: keep one of them"),
        ("name: x\nparts:\n- id: E1\n  share: 1\n  id: E2\n", 5, "the field 'id' is given twice"),
        ("name: &n x\nkind: *n\n", 1, "YAML anchors (&) are not allowed"),
        ("name: x\nkind: *n\n", 2, "found undefined alias"),
        ("name: !!python/object/apply:os.system [true]\n", 1, "YAML tags (!) are not allowed"),
        ("name: !!int ''\n", 1, "YAML tags (!) are not allowed"),  # PyYAML itself raises IndexError here,
        ("name: !!bool x\n", 1, "YAML tags (!) are not allowed"),  # KeyError here,
        ("name: !!timestamp x\n", 1, "YAML tags (!) are not allowed"),  # and AttributeError here
        ("name: x\n? [a, b]\n: x\n", 2, "the name of a field must be plain text"),
        ("name: x\nparts:\n- {a: b}: x\n", 3, "the name of a field must be plain text"),
        ("name: 2025-13-45\n", None, "cannot be read"),
        ("name: " + "9" * 5000 + "\n", None, "cannot be read"),
        ("name: " + "[" * 20_000 + "\n", None, ""),
    ],
)  # fmt: skip
def test_what_is_no_plain_yaml_is_refused(text: str, line: int | None, says: str) -> None:
    error = broken(text)
    assert says in str(error)
    if line is not None:
        assert error.line == line


def test_a_small_file_cannot_grow() -> None:
    """Nine levels of nine aliases each: a billion laughs, in 300 bytes."""
    levels = ["a0: &a0 lol"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "are not allowed" in str(broken("\n".join(levels)))


def test_a_hostile_field_name_stays_on_one_short_line() -> None:
    error = broken('name: x\n"a\\nerror: nothing is wrong": 1\n')
    assert len(str(error)) < 300
    assert len(str(broken(f"name: x\n{'k' * 900}: 1\n"))) < 400
    assert len(str(broken(f"name: x\nkind: [{'k' * 5000}]\n"))) < 400


_YAMLISH = st.text(alphabet="ab:-?!&*{}[]'\"|>#%@,. \n\t0129~<=\u00e9\u2028\ufeff\x85", max_size=40)
_TAGGED = st.builds(
    "name: !!{} {}\n".format,
    st.sampled_from(["int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "merge", "value"]),
    st.sampled_from(["", "''", "x", "-", ".", "0x", "1:", "[a]", "{a: b}", "<<", "12", "2025-99-01"]),
)


@given(st.one_of(_YAMLISH, _YAMLISH.map("name: {}".format), _TAGGED, st.text(max_size=30)))
@example("<<: 3\nname: x")
@example("=: 3")
@example("name: !!set {a}")
@example("parts: [{id: E1, id: E1}]")
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    try:
        parsed: Whole | SetupError = parse(Whole, text, FILE)
    except SetupError as error:
        parsed = error
    assert isinstance(parsed, Whole) or (parsed.fix and "\n" not in str(parsed))


# -------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not valid JSON"),
        ("{'name': 1}", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"name": 3}', "[name]: this must be text, not int"),
        ('{"name": "x", "extra": 1}', "[extra]: this field is not known"),
        ("[]", "valid dictionary"),
    ],
)
def test_json_that_is_no_record_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(SetupError) as caught:
        parse_json(Whole, path, "record")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_may_not_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's refusal is played to it; others get the real one."""
    path = tmp_path / "a.yaml"
    path.write_text("name: x")
    path.chmod(0)
    if _readable(path):
        monkeypatch.setattr(Path, "open", _refuse)
    try:
        with pytest.raises(SetupError, match=r"the dossier cannot be read \(Permission denied\)\. Fix: check the path"):
            read_text(path, "dossier")
    finally:
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except PermissionError:
        return False
    return True


def _refuse(path: Path, *_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied", str(path))
