"""Twelve ways to hand in something broken: one readable line that names the file, the field and the fix, and exit 2.

No model is loaded for any of them. The last but one is not broken: HTML in a dossier is text, and the page says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from panel.assets import asset_folder
from panel.calibrate import FILE
from tests import scripted as script
from tests.cli.commands import CASES, Command, assert_refused, installed
from tests.html_page import Page

Write = Callable[..., Path]
GOOD = CASES / "mistral-3b"
HTML = '<script>alert(1)</script><img src=x onerror="alert(2)">'


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("category: Databases\n", "", "[category]", "this field is missing. Fix: add 'category: …'"),
        ("kind: docs", "kind: gossip", "[evidence.1.kind]", "'gossip' is not known here. Fix: use one of 'capability'"),
        ("id: E2,", "id: E1,", "[evidence]", "evidence id E1 is used twice"),
        ("price: 12,", "price: twelve,", "[pricing.1.price]", "valid number"),
        ("entry_price: $12 per seat", "entry_price: 12", "[entry_price]", "this must be text, not int"),
        ("tagline: A small", "tagline: \"\\e]0;owned\\a\" #", "[tagline]", "unprintable character U+001B"),
    ],
    ids=["missing field", "unknown kind", "duplicate id", "wrong type", "number for text", "terminal escapes"],
)  # fmt: skip
def test_a_field_that_is_wrong(
    command: Command, dossier_file: Write, out: Path, old: str, new: str, field: str, says: str
) -> None:
    path = dossier_file((old, new))
    assert_refused(command("compare", path, GOOD, "--out", out), f"{path}:", field, says)
    assert_refused(command("compare", GOOD, path, "--out", out), f"{path}:", field, says)
    assert_refused(command("review", path, "--json"), f"{path}:", field, says)
    assert not out.exists()


def test_empty_evidence(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "tool.yaml"
    path.write_text(script.DOSSIER.partition("evidence:\n")[0] + "evidence: []\n")
    assert_refused(command("compare", path, GOOD), f"{path}:", "[evidence]", "Fix: give at least 1")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"schema: dossier/1\nname: a: b\n", ":2: this is not valid YAML"),
        (b"{\n", "this is not valid YAML"),
        (b"\t- x\n", "this is not valid YAML"),
        (b"Dear all,\n", "this is not a mapping of fields"),
        (b"", "this is not a mapping of fields"),
        (b"schema: dossier/1\nname: [x]: y\n", "not valid YAML"),
        (b"# " + b"x" * 10_000_000, "the dossier is larger than 1 MiB. Fix: keep evidence to one sentence each"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)) * 4, "the dossier is not UTF-8 text (byte "),
        (b"name: \x00\x01\x02", "the dossier is binary. Fix: name a YAML text file"),
    ],
    ids=["not YAML", "torn", "tab", "letter", "empty file", "nested", "10 MB of text", "binary", "NUL"],
)
def test_what_is_no_dossier_at_all(command: Command, tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "tool.yaml"
    path.write_bytes(data)
    assert_refused(command("compare", path, GOOD), str(path), says)


def test_an_unknown_slug(command: Command, tmp_path: Path) -> None:
    assert_refused(
        command("compare", CASES / "mistral-3c", GOOD), "mistral-3c: there is no such dossier. Fix: did you mean "
    )
    assert_refused(
        command("review", tmp_path / "nowhere" / "at" / "all"), "there is no such dossier. Fix: check the path"
    )
    assert_refused(
        command("personas", "show", "chef"), "[slug]: there is no persona 'chef'. Fix: see: review-panel personas list"
    )
    # A case folder without a dossier in it.
    assert_refused(command("review", tmp_path), f"{tmp_path}/dossier.yaml: there is no such dossier")


def test_an_unreadable_folder(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's refusal is played to it; others get the real one."""
    locked = tmp_path / "locked"
    shutil.copytree(GOOD, locked / "case")
    locked.chmod(0)
    try:
        if os.access(locked / "case" / "dossier.yaml", os.R_OK):
            real = Path.is_dir

            def is_dir(path: Path) -> bool:
                if path.is_relative_to(locked):
                    raise PermissionError(13, "Permission denied", str(path))
                return real(path)

            monkeypatch.setattr(Path, "is_dir", is_dir)
        ran = command("compare", locked / "case", GOOD)
    finally:
        locked.chmod(0o700)
    assert_refused(ran, f"{locked}/case: cannot be read (Permission denied). Fix: check its permissions")


def test_an_unreadable_file(command: Command, dossier_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dossier_file()
    path.chmod(0)
    if os.access(path, os.R_OK):
        real = Path.open

        def opened(self: Path, *arguments: Any, **named: Any) -> Any:
            if self == path:
                raise PermissionError(13, "Permission denied", str(path))
            return real(self, *arguments, **named)

        monkeypatch.setattr(Path, "open", opened)
    ran = command("compare", path, GOOD)
    path.chmod(0o600)
    assert_refused(ran, f"{path}: the dossier cannot be read (Permission denied)")


def test_an_unknown_persona_beat(command: Command, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(asset_folder("personas"), tmp_path / "personas"))
    path = folder / "futurist.md"
    path.write_text(path.read_text(encoding="utf-8").replace("name: thesis", "name: prophecy"), encoding="utf-8")
    said = (f"{path}:", "[beats]", "unknown beat 'prophecy'. Fix: futurist answers thesis, dependencies")
    assert_refused(command("compare", GOOD, CASES / "smolagents-2", "--personas", folder), *said)
    assert_refused(command("personas", "list", "--personas", folder), *said)


def test_calibrations_that_are_wrong(
    command: Command, with_engine: Callable[..., Any], calibrated: Path, out: Path
) -> None:
    """They are read once it is known for which model."""
    with_engine()
    path = calibrated / FILE
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("strengths: 0.75", "strengths: -1", 1), encoding="utf-8")
    said = (f"{path}:", "[entries.0.calibration.strengths]", "greater than 0")
    assert_refused(command("review", GOOD, "--quiet", "--personas", calibrated, "--out", out), *said)
    assert not out.exists()


def test_a_calibration_in_a_persona(command: Command, tmp_path: Path) -> None:
    """As personas had it once."""
    folder = Path(shutil.copytree(asset_folder("personas"), tmp_path / "personas"))
    path = folder / "futurist.md"
    text = path.read_text(encoding="utf-8").replace("terms: ", "calibration: {intercept: -0.5}\nterms: ", 1)
    path.write_text(text, encoding="utf-8")
    said = (f"{path} [calibration]", "belongs to a model", "Fix: delete it, and run: review-panel personas calibrate")
    assert_refused(command("review", GOOD, "--personas", folder), *said)


def test_a_template_that_is_missing(command: Command, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(asset_folder("prompts"), tmp_path / "prompts"))
    (folder / "system.j2").unlink()
    assert_refused(command("review", GOOD, "--prompts", folder), f"{folder}/system.j2: the template is missing")


def test_one_tool_twice(command: Command, dossier_file: Write) -> None:
    path = dossier_file()
    assert_refused(command("compare", path, path), f"{path} [slug]: the slug 'lanternfish' is also that of {path}")


def test_one_tool_alone(command: Command) -> None:
    assert_refused(
        command("compare", GOOD), "a comparison needs two tools. Fix: name another, or use: review-panel review"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--loop", "wild"], "[--loop]: unknown loop 'wild'. Fix: choose led or free"),
        (["--personas", "nowhere"], "nowhere: there is no such folder"),
        (["--prompts", "nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_an_option_that_is_wrong(command: Command, options: list[str], says: str) -> None:
    assert_refused(command("review", GOOD, *options), says)


@pytest.mark.parametrize("options", [["--engine", "abacus"], ["--model", "/nowhere"], ["--model", "no such name"]])
def test_a_model_or_engine_that_is_not_there(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the real door to the engines, which says what to do."""
    assert_refused(Command(monkeypatch, capsys)("review", GOOD, "--offline", "--quiet", *options))


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--seed", "x"], ["--colour"], []])
def test_words_that_the_command_does_not_know(command: Command, options: list[str]) -> None:
    ran = command("compare", *options)
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "review-panel compare [OPTIONS]" in ran.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "this is not valid JSON"),
        ("{}", "this field is missing"),
        ('{"schema": "comparison/9"}', "'comparison/9' is not known here"),
        ("[" * 100_000, "this is not valid JSON"),
    ],
)
def test_a_record_that_is_none(command: Command, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(text)
    assert_refused(command("render", path), str(path), says)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(
    command: Command, with_engine: Callable[..., Any], calibrated: Path, tmp_path: Path
) -> None:
    with_engine()
    (tmp_path / "file").write_text("")
    ran = command("review", GOOD, "--out", tmp_path / "file", "--quiet", "--personas", calibrated)
    assert_refused(ran, "cannot be written", "Fix: choose a folder that you may write to")


# ----------------------------------------------------------------------------------- HTML is text, and stays text


def with_html(dossier_file: Write) -> Path:
    return dossier_file(
        ("name: Lanternfish 1.2", f"name: '{HTML}'"),
        ("tagline: A small", f"tagline: '{HTML}' #"),
        ("rivals: [Bramble,", f"rivals: ['{HTML}',"),
        ("plan: Team", f"plan: '{HTML}'"),
        ("text: The manual shows each command with a complete example.", f"text: 'The manual shows {HTML} commands.'"),
        ('"https://example.com/b"', "'javascript:alert(3)'"),
    )


def assert_escaped(folder: Path) -> None:
    text = (folder / "comparison.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "alert(1)" in text, "what the dossier says is shown"
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not [
        value for _, a in page.tags for value in a.values() if value and value.strip().startswith("javascript:")
    ]
    assert "<script" not in (folder / "comparison.md").read_text(encoding="utf-8")


def test_html_in_a_dossier_is_shown_as_it_is_written(
    command: Command, with_engine: Callable[..., Any], dossier_file: Write, out: Path
) -> None:
    with_engine()
    ran = command("review", with_html(dossier_file), "--out", out)
    assert ran.code == 0
    assert "\x1b" not in ran.err + ran.out
    assert_escaped(out / "lanternfish")


def test_html_and_escapes_in_a_record_are_shown_without_harm(
    command: Command, with_engine: Callable[..., Any], dossier_file: Write, out: Path
) -> None:
    """A record may come from anywhere: here one that no dossier would have led to."""
    with_engine()
    assert command("review", dossier_file(), "--out", out).code == 0
    path = out / "lanternfish" / "comparison.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["tools"][0]["name"] = f"{HTML}\x1b]0;owned\x07"
    data["tools"][0]["reviews"][0]["quote"] = f"{HTML}\x1b[2J"
    path.write_text(json.dumps(data))
    ran = command("render", path)
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    assert "\x1b" not in path.with_suffix(".html").read_text(encoding="utf-8")
    assert "\x1b" not in path.with_suffix(".md").read_text(encoding="utf-8")
    assert_escaped(path.parent)


@pytest.mark.model
def test_html_in_a_dossier_passes_through_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dossier_file: Write, out: Path
) -> None:
    ran = Command(monkeypatch, capsys)("review", with_html(dossier_file), "--out", out)
    assert ran.code in (0, 1), ran.err
    assert "Traceback" not in ran.err
    assert_escaped(out / "lanternfish")


# ----------------------------------------------------------------------------------------- as people will run it


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["compare", "nowhere.yaml", "nothing.yaml"],
            "error: nowhere.yaml: there is no such dossier. Fix: check the path\n",
        ),
        (
            ["personas", "show", "chef"],
            "error: [slug]: there is no persona 'chef'. Fix: see: review-panel personas list\n",
        ),
    ],
)
def test_the_installed_command_says_the_same(arguments: list[str], says: str, tmp_path: Path) -> None:
    ran = subprocess.run([*installed(), *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", says)
