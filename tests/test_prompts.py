"""What a model reads: strict templates, values that stay values, a hash that follows every word."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from panel.assets import asset_folder
from panel.errors import SetupError
from panel.prompts import Prompts
from panel.records import Dossier, Persona


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(asset_folder("prompts"), tmp_path / "prompts"))


def test_a_value_that_is_missing_is_an_error_and_not_a_gap(folder: Path) -> None:
    with pytest.raises(SetupError, match="'facts' is undefined") as caught:
        Prompts(folder).render("draft", name="x", question="y")
    assert caught.value.path == folder / "draft.j2"


def test_values_are_never_templates(prompts: Prompts) -> None:
    text = prompts.render("draft", name="{{ 7*7 }}", facts=["{% raw %}", "{# gone #}"], question="{{ name }}?")
    assert "{{ 7*7 }}" in text
    assert "- {% raw %}\n- {# gone #}" in text
    assert "{{ name }}?" in text
    assert "49" not in text


def test_weighing_ends_where_the_verdict_word_comes(prompts: Prompts, persona: Callable[[str], Persona]) -> None:
    """The candidates are " good" and " bad": a newline or a space before them would change what is scored."""
    builder = persona("builder")
    text = prompts.render("weigh", examples=builder.examples, audience=builder.audience, fact="It rains.")
    assert text.endswith(f"Fact: It rains.\nFor {builder.audience}, this is")
    assert text.count(f"For {builder.audience}, this is") == len(builder.examples) + 1
    assert text.count("\n\n\n") == 0


def test_a_tuned_model_is_asked_in_two_lines(prompts: Prompts) -> None:
    """Letter for letter what its adapter was trained on; see evals/adapter."""
    text = prompts.render("weigh_tuned", audience="a buyer", kind="pricing", fact="It {{ costs }} $5.")
    assert text == "Fact (pricing): It {{ costs }} $5.\nFor a buyer, this is"


def test_whoever_drafts_is_told_its_voice(prompts: Prompts, personas: tuple[Persona, ...]) -> None:
    systems = [prompts.render("draft_system", voice=persona.voice) for persona in personas]
    assert len(set(systems)) == 4
    assert all(persona.voice in system for persona, system in zip(personas, systems, strict=True))


def test_the_task_names_the_evidence_and_tells_none_of_it(prompts: Prompts, dossier: Dossier) -> None:
    """A reviewer must read what it cites, so the task must not hold the texts."""
    text = prompts.render("task", dossier=dossier)
    assert "E1 capability, E2 docs" in text
    assert "E10 support." in text
    assert not any(item.text in text for item in dossier.evidence)


@pytest.mark.parametrize("name", ["system", "task", "weigh", "weigh_tuned", "draft", "draft_system"])
def test_a_template_that_is_missing_or_broken_is_noticed_at_once(folder: Path, name: str) -> None:
    """Before a model is loaded, and not by eight reviewers one after the other."""
    path = folder / f"{name}.j2"
    path.write_text("fine\n{% for x in %}\n")
    with pytest.raises(SetupError, match="cannot be") as caught:
        Prompts(folder)
    assert (caught.value.path, caught.value.line) == (path, 2)
    path.unlink()
    with pytest.raises(SetupError, match=rf"{name}\.j2: "):
        Prompts(folder)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"there is no such folder\. Fix: name a folder of"):
        Prompts(tmp_path / "nowhere")


def test_the_hash_follows_every_template(folder: Path, prompts: Prompts) -> None:
    seen = {Prompts(folder).sha256}
    assert seen == {prompts.sha256}
    (folder / "README.md").write_text("not a template")
    assert Prompts(folder).sha256 in seen
    for path in sorted(folder.glob("*.j2")):
        path.write_text(path.read_text(encoding="utf-8") + "One more word.", encoding="utf-8")
        seen.add(Prompts(folder).sha256)
    assert len(seen) == 1 + len(list(folder.glob("*.j2")))


def test_text_cannot_move_between_templates_unnoticed(tmp_path: Path) -> None:
    from panel.prompts import _hash_folder

    hashes = set()
    for number, (first, second) in enumerate((("ab", "c"), ("a", "bc"), ("abc", ""))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.j2").write_text(first)
        (folder / "b.j2").write_text(second)
        hashes.add(_hash_folder(folder))
    assert len(hashes) == 3
