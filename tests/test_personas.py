"""The four reviewers: what every persona file must have, what is refused, and that they do not know the answers."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from panel.assets import asset_folder
from panel.dossier import load_dossier
from panel.errors import SetupError
from panel.personas import load_persona, load_personas, persona_sha256
from panel.records import BEAT_NAMES, KINDS, PERSONA_SLUGS, BeatSpec, Calibration, Persona

CASES = Path(__file__).parents[1] / "evals" / "cases"
#: Of builder.md, as they stand there: the stems of the first beat for a skip, and what it says of nothing.
PRIMITIVE = (
    '["The primitive is weak, since", "What a developer gets is thin, since", '
    '"As a building block it disappoints, because"]'
)
SILENT = '"Which building block a developer gets from {name}, the dossier does not tell."'


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


def stems_of(beat: BeatSpec) -> list[str]:
    """What it may start with, for either decision."""
    return [stem for stems in beat.stem.values() for stem in stems]


# ---------------------------------------------------------------------------------------------- those we ship


def test_there_are_four_in_the_panels_order(personas: tuple[Persona, ...]) -> None:
    assert tuple(p.slug for p in personas) == PERSONA_SLUGS
    assert PERSONA_SLUGS == ("builder", "competitor-analyst", "futurist", "business-buyer")


def test_each_answers_its_questions_for_either_decision(personas: tuple[Persona, ...]) -> None:
    for persona in personas:
        assert tuple(beat.name for beat in persona.beats) == BEAT_NAMES[persona.slug]
        stems = [stem for beat in persona.beats for stem in stems_of(beat)]
        assert len(set(stems)) == len(stems)
        for beat in persona.beats:
            assert {decision: len(stems) > 1 for decision, stems in beat.stem.items()} == {"ship": True, "skip": True}
        for stem in stems:
            assert set(re.findall(r"{(.*?)}", stem)) <= {"name", "rivals", "price"}
            # each persona goes on in its own way, so that two of them do not say the same fact in the same words: a
            # clause (the builder and the buyer), a noun phrase (the analyst), a noun phrase and what it does (futurist)
            frame = {
                "competitor-analyst": r"(?:to|show|through|by|over|given|is)$",
                "futurist": r", with$",
            }
            assert re.search(frame.get(persona.slug, r"(?:because|since|that|:)$"), stem)


def test_no_stem_starts_another_one(personas: tuple[Persona, ...]) -> None:
    """A beat is known to argue for its decision by the words that it starts with."""
    for persona in personas:
        stems = [stem for beat in persona.beats for stem in stems_of(beat)]
        assert [(one, other) for one, other in itertools.permutations(stems, 2) if other.startswith(one)] == []


def test_silence_is_a_sentence_of_its_own(personas: tuple[Persona, ...]) -> None:
    """It is the whole beat: it says of which tool and of what nothing is known, and takes neither side."""
    sentences = [beat.silent for persona in personas for beat in persona.beats]
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert re.fullmatch(r"[A-Z][^.!?]*\.", sentence)
        assert "{name}" in sentence
        assert set(re.findall(r"{(.*?)}", sentence)) <= {"name", "rivals"}
        assert "the dossier does not tell" in sentence


def test_nothing_is_claimed_that_a_dossier_may_not_have(personas: tuple[Persona, ...]) -> None:
    """In stems and in silence: no number and, past the first word, no name, only what a placeholder fills in."""
    for persona in personas:
        for beat in persona.beats:
            for text in (*stems_of(beat), beat.silent):
                words = re.sub(r"{.*?}", "", text).split()
                assert not re.search(r"\d", " ".join(words))
                assert [w for w in words[1:] if w != w.lower() and w != "I"] == []


def test_a_persona_belongs_to_no_model(personas: tuple[Persona, ...]) -> None:
    """Its calibrations stand beside it, one for each model (tests/test_calibrate.py)."""
    assert {persona.calibration for persona in personas} == {Calibration()}


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
        (f"      skip: {PRIMITIVE}\n", "", "stem lacks skip. Fix: give a stem for ship and one for skip"),
        (f"skip: {PRIMITIVE}", "skip: []", "stem lacks skip. Fix: give a stem for ship and one for skip"),
        (f"skip: {PRIMITIVE}", f"maybe: {PRIMITIVE}", "[beats.0.stem.maybe"),
        (f"skip: {PRIMITIVE}", 'skip: "The primitive is weak, since"', "[beats.0.stem.skip]"),
        (f"skip: {PRIMITIVE}", 'skip: [""]', "[beats.0.stem.skip.0]"),
        (f"skip: {PRIMITIVE}", 'skip: ["The primitive is weak, since", 7]', "[beats.0.stem.skip.1]: this must be text"),
        ("    silent: ", "    silence: ", "[beats.0.silent]: this field is missing"),
        (SILENT, '""', "[beats.0.silent]"),
        (SILENT, f'"{"x" * 401}"', "[beats.0.silent]"),
        ("kinds: [capability, limitation, roadmap]", "kinds: []", "[beats.0.kinds]: this list is too short"),
        ("tools: []", "tools: [shell]", "'shell' is not known here. Fix: use one of 'price' or 'list_rivals'"),
        ("slug: builder", "slug: futurist", "Fix:"),
        ("slug: builder", "slug: chef", "[slug]: 'chef' is not known here"),
        ("schema: persona/1\n", "", "[schema]: this field is missing"),
        ("audience: a", "audiense: a", "[audience]: this field is missing"),
        ("tools: []", "tools: []\nmood: sour", "[mood]: this field is not known"),
        ("---\n", "", "no front matter. Fix: start the file with '---'"),
        ("tools: []", "tools: []\ncalibration: {slope: 8.4}", "[calibration.slope]: this field is not known"),
    ],
)  # fmt: skip
def test_a_spoilt_persona_is_refused(spoil: Callable[..., SetupError], old: str, new: str, says: str) -> None:
    assert says in str(spoil(old, new))


@pytest.mark.parametrize("calibration", ["{intercept: -0.4}", "{fitted: true}", "{strengths: 2, weaknesses: 0.5}"])
def test_a_calibration_in_a_persona_is_refused(spoil: Callable[..., SetupError], calibration: str) -> None:
    """It would be used on every model, and is right on one."""
    error = spoil("tools: []", f"tools: []\ncalibration: {calibration}")
    assert error.field == "calibration"
    assert "belongs to a model, not to a persona. Fix: delete it, and run: review-panel personas calibrate" in str(
        error
    )


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
