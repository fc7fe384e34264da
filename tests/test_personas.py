"""The four reviewers: what every persona file must have, what is refused, and that they do not know the answers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from panel.assets import asset_folder
from panel.dossier import load_dossier
from panel.errors import SetupError
from panel.personas import load_persona, load_personas, persona_sha256
from panel.records import BEAT_NAMES, KINDS, PERSONA_SLUGS, Persona

CASES = Path(__file__).parents[1] / "evals" / "cases"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project's personas, to spoil."""
    return Path(shutil.copytree(asset_folder("personas"), tmp_path / "personas"))


@pytest.fixture
def spoil(folder: Path) -> Callable[..., SetupError]:
    """Replaces text in builder.md, and returns the error that loading it gives."""

    def do(old: str, new: str) -> SetupError:
        path = folder / "builder.md"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(SetupError) as caught:
            load_personas(folder)
        assert caught.value.path == path
        assert "\n" not in str(caught.value)
        return caught.value

    return do


# ---------------------------------------------------------------------------------------------- those we ship


def test_there_are_four_in_the_panels_order(personas: tuple[Persona, ...]) -> None:
    assert tuple(p.slug for p in personas) == PERSONA_SLUGS
    assert PERSONA_SLUGS == ("builder", "competitor-analyst", "futurist", "business-buyer")


def test_each_answers_its_questions_for_either_decision(personas: tuple[Persona, ...]) -> None:
    for persona in personas:
        assert tuple(beat.name for beat in persona.beats) == BEAT_NAMES[persona.slug]
        stems = [stem for beat in persona.beats for stem in beat.stem.values()]
        assert len(set(stems)) == len(stems) == 2 * len(persona.beats)
        for stem in stems:
            assert set(re.findall(r"{(.*?)}", stem)) <= {"name", "rivals", "price"}
            # what follows a stem is a clause in lower case, so a stem must not end one
            assert not re.search(r"[.!?]$", stem)


def test_a_stem_claims_nothing_that_a_dossier_may_not_have(personas: tuple[Persona, ...]) -> None:
    """No number and, past its first word, no name: only what a placeholder fills in."""
    for persona in personas:
        for beat in persona.beats:
            for stem in beat.stem.values():
                words = re.sub(r"{.*?}", "", stem).split()
                assert not re.search(r"\d", " ".join(words))
                assert [w for w in words[1:] if w != w.lower()] == []


def test_every_kind_of_evidence_can_be_weighed_and_cited(personas: tuple[Persona, ...]) -> None:
    for persona in personas:
        assert set(persona.lens) == set(KINDS)
        assert all(0 < weight <= 2 for weight in persona.lens.values())
        labels = [example.label for example in persona.examples]
        assert labels.count("good") == labels.count("bad"), "examples that lean one way pull every fact along"


def test_no_example_gives_a_case_away(personas: tuple[Persona, ...]) -> None:
    """A persona that was shown a fact of a case would be graded on what it was told."""
    shown = {example.fact.casefold() for persona in personas for example in persona.examples}
    facts = {item.text.casefold() for case in CASES.iterdir() for item in load_dossier(case).evidence}
    assert len(facts) > 400
    assert shown.isdisjoint(facts)


# -------------------------------------------------------------------------------------------------- the refused


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: primitive", "name: prmitive", "unknown beat 'prmitive'. Fix: builder answers primitive, dx-bet"),
        ("name: primitive", "name: thesis", "unknown beat 'thesis'"),
        ("name: dx-bet", "name: primitive", "beat 'primitive' appears twice"),
        ("capability: 1.3, ", "", "lens lacks capability. Fix: give a weight for every kind"),
        ("{capability: 1.3", "{speed: 1, capability: 1.3", "[lens.speed"),
        ("capability: 1.3", "capability: .nan", "[lens.capability]"),
        ("capability: 1.3", "capability: -1", "[lens.capability]"),
        ("label: good", "label: fine", "'fine' is not known here. Fix: use one of 'good' or 'bad'"),
        ('skip: "The primitive is weak, since"', "", "stem lacks skip"),
        ('stem: {ship: "The primitive', 'stem: {maybe: "x", ship: "The primitive', "[beats.0.stem.maybe"),
        ("kinds: [capability, limitation, roadmap]", "kinds: []", "[beats.0.kinds]: this list is too short"),
        ("tools: []", "tools: [shell]", "'shell' is not known here. Fix: use one of 'price' or 'list_rivals'"),
        ("slug: builder", "slug: futurist", "Fix:"),
        ("slug: builder", "slug: chef", "[slug]: 'chef' is not known here"),
        ("schema: persona/1\n", "", "[schema]: this field is missing"),
        ("audience: a", "audiense: a", "[audience]: this field is missing"),
        ("tools: []", "tools: []\nmood: sour", "[mood]: this field is not known"),
        ("---\n", "", "no front matter. Fix: start the file with '---'"),
    ],
)  # fmt: skip
def test_a_spoilt_persona_is_refused(spoil: Callable[..., SetupError], old: str, new: str, says: str) -> None:
    assert says in str(spoil(old, new))


def test_lines_are_those_of_the_file(spoil: Callable[..., SetupError], folder: Path) -> None:
    lines = (folder / "builder.md").read_text(encoding="utf-8").split("\n")
    expected = next(n for n, line in enumerate(lines, start=1) if line.startswith("tools:"))
    assert spoil("tools: []", "tools: [shell]").line == expected


def test_a_file_without_prose_is_refused(folder: Path) -> None:
    path = folder / "builder.md"
    head = path.read_text(encoding="utf-8").split("\n---\n")[0]
    path.write_text(f"{head}\n---\n\n", encoding="utf-8")
    with pytest.raises(SetupError, match=r"no prose after the front matter\. Fix: describe the voice"):
        load_persona(path)


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "futurist.md").unlink()
    with pytest.raises(SetupError, match=r"futurist\.md: there is no such persona file"):
        load_personas(folder)
    with pytest.raises(SetupError, match="there is no such folder"):
        load_personas(folder / "nowhere")


# ------------------------------------------------------------------------------------------- prose and its hash


@pytest.mark.parametrize(
    "prose",
    [
        "Plain.",
        'Says "no": # often\\, {{ x }} and {% y %}',
        "Two\nlines, and\n\na third: - [x]",
        "Smiles 🙂, é, 日本, 𝔘.",
    ],
)
def test_prose_is_taken_as_it_stands(folder: Path, prose: str) -> None:
    path = folder / "builder.md"
    head = path.read_text(encoding="utf-8").split("\n---\n")[0]
    path.write_text(f"{head}\n---\n{prose}\n", encoding="utf-8")
    assert load_persona(path).voice == prose


def test_prose_with_hidden_characters_is_refused(folder: Path) -> None:
    path = folder / "builder.md"
    path.write_text(path.read_text(encoding="utf-8") + "Ignore\u202e all.\n", encoding="utf-8")
    with pytest.raises(SetupError, match=r"\[voice\]: contains the unprintable character U\+202E"):
        load_persona(path)


def test_windows_line_ends_change_nothing(folder: Path) -> None:
    path = folder / "builder.md"
    before = load_persona(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_persona(path) == before


def test_the_hash_follows_what_is_said(folder: Path, persona: Callable[[str], Persona]) -> None:
    path = folder / "builder.md"
    text = path.read_text(encoding="utf-8")
    before = persona_sha256(persona("builder"))
    path.write_text(text.replace("schema:", "# a remark\nschema:", 1), encoding="utf-8")
    assert persona_sha256(load_persona(path)) == before
    for old, new in (
        ("capability: 1.3", "capability: 1.4"),
        ("Plain, concrete", "Concrete"),
        ("label: good", "label: bad"),
    ):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        assert persona_sha256(load_persona(path)) != before
