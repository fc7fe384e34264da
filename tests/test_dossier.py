"""A dossier is read whole, or refused with the field; its hash speaks of what it says and not of its layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from panel.dossier import dossier_sha256, load_dossier
from panel.errors import SetupError
from panel.records import Dossier, strip_unprintable
from tests.scripted import DOSSIER

Write = Callable[..., Path]


def test_a_file_and_a_case_folder_are_the_same(dossier_file: Write, tmp_path: Path, dossier: Dossier) -> None:
    path = dossier_file(name="dossier.yaml")
    assert load_dossier(path) == load_dossier(tmp_path) == dossier


def test_windows_line_ends_change_nothing(tmp_path: Path, dossier: Dossier) -> None:
    (tmp_path / "dossier.yaml").write_bytes(DOSSIER.replace("\n", "\r\n").encode())
    assert load_dossier(tmp_path) == dossier


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("name: Lanternfish 1.2\n", "", "name", "this field is missing"),
        ("entry_price: $12 per seat", "entry_price: 12", "entry_price", "this must be text, not int"),
        ("kind: docs", "kind: rumour", "evidence.1.kind", "'rumour' is not known here. Fix: use one of 'capability'"),
        ("id: E2,", "id: E1,", "evidence", "evidence id E1 is used twice. Fix: give each piece"),
        ("id: E2,", "id: E0,", "evidence.1.id", "'E0' does not fit. Fix: use E1, E2, E3 …"),
        ("slug: lanternfish", "slug: Lantern Fish", "slug", "Fix: use lower-case letters, digits and hyphens"),
        ("slug: lanternfish", "slug: ../../etc", "slug", "'../../etc' does not fit"),
        ("slug: lanternfish", "slug: " + "a" * 65, "slug", "does not fit"),
        ("schema: dossier/1", "schema: dossier/2", "schema", "'dossier/2' is not known here. Fix: use one of"),
        ("{ship: 3, total: 8}", "{ship: 9, total: 8}", "community", "ship (9) is more than total (8)"),
        ("{ship: 3, total: 8}", "{ship: -1, total: 8}", "community.ship", "greater than or equal to 0"),
        ("price: 12, currency: USD", "price: -12, currency: USD", "pricing.1.price", "greater than or equal to 0"),
        ("price: 12, currency: USD", "price: .inf, currency: USD", "pricing.1.price", "finite number"),
        ("price: 12, currency: USD", "price: 12, currency: usd", "pricing.1.currency", "three-letter code"),
        ("tagline: A small", "tagline: \"\\e[31mA\\e[0m\" #", "tagline", "unprintable character U+001B"),
        ("tagline: A small", "tagline: \"a\\u202eb\" #", "tagline", "unprintable character U+202E"),
        ("tagline: A small", "tagline: \"a\\nb\" #", "tagline", "does not fit"),
        ("tagline: A small", f"tagline: {'a' * 401} #", "tagline", "at most 400 characters. Fix: shorten it"),
        ("rivals: [Bramble, Quaydb]", "rivals: Bramble", "rivals", "valid tuple"),
        ("rivals: [Bramble, Quaydb]", "rival: [Bramble]", "rival", "did you mean 'rivals'?"),
        ('source: "https://example.com/b"}', "source: ''}", "evidence.1.source", "at least 1 character"),
    ],
)  # fmt: skip
def test_each_mistake_names_its_field(dossier_file: Write, old: str, new: str, field: str, says: str) -> None:
    path = dossier_file((old, new))
    with pytest.raises(SetupError) as caught:
        load_dossier(path)
    assert (caught.value.path, caught.value.field) == (path, field)
    assert says in str(caught.value)
    assert caught.value.line is not None


def test_no_evidence_is_refused_and_so_is_too_much(tmp_path: Path) -> None:
    head, _, _ = DOSSIER.partition("evidence:\n")
    row = "  - {{id: E{0}, kind: docs, text: Fact number {0}., source: x}}\n"
    path = tmp_path / "tool.yaml"
    path.write_text(head + "evidence: []\n")
    with pytest.raises(SetupError, match=r"\[evidence\]: this list is too short. Fix: give at least 1"):
        load_dossier(path)
    path.write_text(head + "evidence:\n" + "".join(row.format(n) for n in range(1, 201)))
    assert len(load_dossier(path).evidence) == 200
    path.write_text(head + "evidence:\n" + "".join(row.format(n) for n in range(1, 202)))
    with pytest.raises(SetupError, match=r"\[evidence\]: "):
        load_dossier(path)


def test_a_dossier_cannot_be_changed(dossier: Dossier) -> None:
    with pytest.raises(ValueError, match="frozen"):
        dossier.name = "x"  # type: ignore[misc]
    assert isinstance(dossier.evidence, tuple)


def test_a_folder_that_may_not_be_entered_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may enter everything, so the system's refusal is played to it; others get the real one."""
    locked = tmp_path / "locked"
    (locked / "case").mkdir(parents=True)
    locked.chmod(0)
    try:
        list(locked.iterdir())
    except PermissionError:
        pass
    else:
        monkeypatch.setattr(Path, "is_dir", _refuse)
    try:
        with pytest.raises(SetupError, match=r"cannot be read \(Permission denied\)\. Fix: check its permissions"):
            load_dossier(locked / "case")
    finally:
        locked.chmod(0o700)


def _refuse(path: Path) -> bool:
    raise PermissionError(13, "Permission denied", str(path))


# -------------------------------------------------------------------------------------------------------- hash


def test_the_layout_does_not_change_the_hash(dossier: Dossier, tmp_path: Path) -> None:
    data = yaml.safe_load(DOSSIER)
    path = tmp_path / "tool.yaml"
    path.write_text("# a remark\n" + yaml.safe_dump(data, sort_keys=True, width=40))
    assert dossier_sha256(load_dossier(path)) == dossier_sha256(dossier)


def test_every_word_changes_the_hash(dossier: Dossier) -> None:
    """Each leaf of the dossier in turn is given another value."""
    data = yaml.safe_load(DOSSIER)
    seen = {dossier_sha256(dossier)}
    places = list(_leaves(data))
    for parent, key in places:
        old = parent[key]
        parent[key] = _other(key, old)
        seen.add(dossier_sha256(Dossier.model_validate(data)))
        parent[key] = old
    # 7 fields of its own (schema apart), 5 of each of 2 plans, 2 rivals, 2 votes, 4 of each of 10 pieces of evidence
    assert len(places) == 7 + 2 * 5 + 2 + 2 + 10 * 4
    assert len(seen) == len(places) + 1


def _leaves(node: Any) -> Any:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        if isinstance(value, dict | list):
            yield from _leaves(value)
        elif key != "schema":
            yield node, key


def _other(key: object, value: Any) -> Any:
    fixed = {"currency": "EUR", "period": "year", "kind": "docs" if value != "docs" else "support", "id": "E99"}
    if key in fixed:
        return fixed[key]
    return value + 1 if isinstance(value, int) else f"{value}x"


# -------------------------------------------------------------------------------------------------- unprintable


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("plain — text, “quoted”\n\tand é 日本 👍", "plain — text, “quoted”\n\tand é 日本 👍"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\x9b31mb\x85c\x7f", "a31mbc"),
        ("a\r\x08\x07\x00b", "ab"),
        ("a\u202eb\u2066c\u200b\u200fd\ufeff", "abcd"),
        ("a\ud800b", "ab"),
    ],
)
def test_control_characters_and_hidden_marks_are_stripped(text: str, stripped: str) -> None:
    assert strip_unprintable(text) == stripped
