"""A change is put into a persona's file without another byte of it changing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from panel.assets import asset_folder
from panel.errors import SetupError
from panel.personas import parse_persona
from panel.records import PERSONA_SLUGS, Example, Persona
from panel.tuning.rewriting import rewritten

PATH = Path("builder.md")


@pytest.fixture
def text() -> str:
    return (asset_folder("personas") / "builder.md").read_text(encoding="utf-8")


def changed_lines(before: str, after: str) -> list[str]:
    return [new for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]


def test_nothing_to_change_changes_nothing() -> None:
    for slug in PERSONA_SLUGS:
        text = (asset_folder("personas") / f"{slug}.md").read_text(encoding="utf-8")
        assert rewritten(text, parse_persona(text, PATH), PATH) == text


def test_only_the_value_changes(text: str, persona: Callable[[str], Persona]) -> None:
    builder = persona("builder")
    text = text.replace("lens: {", "# what counts, é\nlens: {  ", 1)
    new = Example(fact='It says "yes": always, 100%.', label="good")
    after = builder.model_copy(
        update={
            "lens": {**builder.lens, "docs": 0.45, "roadmap": 0.0},
            "audience": "a developer: one who ships",
            "examples": (new, *builder.examples[1:]),
        }
    )
    result = rewritten(text, after, PATH)
    assert parse_persona(result, PATH) == after
    assert changed_lines(text, result) == [
        'audience: "a developer: one who ships"',
        "lens: {  capability: 1.3, limitation: 1.2, docs: 0.45, license: 0.9, pricing: 0.5, adoption: 0.4, "
        "benchmark: 0.8, security: 0.8, support: 0.5, roadmap: 0}",
        r'  - {fact: "It says \"yes\": always, 100%.", label: good}',
    ]


def test_other_layouts_are_kept(text: str, persona: Callable[[str], Persona]) -> None:
    """A lens with one line for each kind, and comments behind."""
    builder = persona("builder")
    lens = "\n".join(f"  {kind}: {weight}  # {kind}!" for kind, weight in builder.lens.items())
    start, end = text.index("lens: {"), text.index("tools:")
    text = f"{text[:start]}lens:\n{lens}\n{text[end:]}"
    after = builder.model_copy(update={"lens": {**builder.lens, "docs": 2.4}})
    assert changed_lines(text, rewritten(text, after, PATH)) == ["  docs: 2.4  # docs!"]


def test_candidates_of_the_file_stay(text: str, persona: Callable[[str], Persona]) -> None:
    text = text.replace("terms:", "candidates: {audience: [anyone], lens: {docs: [0.1]}}\nterms:", 1)
    builder = persona("builder")
    result = rewritten(text, builder.model_copy(update={"audience": "anyone"}), PATH)
    assert changed_lines(text, result) == ['audience: "anyone"']
    assert parse_persona(result, PATH).candidates.audience == ("anyone",)


def test_what_is_spread_over_lines_is_refused_or_read_back(text: str, persona: Callable[[str], Persona]) -> None:
    """A folded value is replaced whole."""
    builder = persona("builder")
    text = text.replace(
        f"audience: {builder.audience}", "audience: >-\n  a software developer who would\n  build on this tool"
    )
    assert parse_persona(text, PATH).audience == builder.audience
    after = builder.model_copy(update={"audience": "anyone"})
    result = rewritten(text, after, PATH)
    assert parse_persona(result, PATH) == after


def test_a_broken_file_is_refused(persona: Callable[[str], Persona]) -> None:
    with pytest.raises(SetupError, match="no front matter"):
        rewritten("slug: builder", persona("builder"), PATH)
