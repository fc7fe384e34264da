"""Candidates that a larger model writes: what is of use is kept, what a persona may not have is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError
from panel.prompts import Prompts
from panel.records import Candidates, Example, Persona
from panel.tuning.writing import with_candidates, write_candidates

Named = Callable[[str], Persona]


def writer(answer: Any) -> ScriptedEngine:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return ScriptedEngine(lambda _: text)


def test_what_is_of_use_is_kept(prompts: Prompts, persona: Named) -> None:
    builder = persona("builder")
    known = builder.examples[0]
    engine = writer(
        {
            "audience": ["a programmer", "a programmer", builder.audience, "two\nlines", "", "\x1b[31ma maker"],
            "examples": [
                {"fact": "It starts in a second.", "label": "good"},
                {"fact": known.fact, "label": known.label},
                {"fact": "It is " + "very " * 200 + "slow.", "label": "bad"},
                {"fact": "It is slow.", "label": "awful"},
            ],
        }
    )
    found = write_candidates(engine, prompts, builder)
    assert found.audience[0] == "a programmer"
    assert builder.audience not in found.audience
    assert len(found.audience) == len(set(found.audience))
    assert not any("\x1b" in text or "\n" in text for text in found.audience)
    assert found.examples == (Example(fact="It starts in a second.", label="good"),)
    (request,) = engine.generated
    assert request.grammar.kind == "json_schema"
    assert builder.audience in request.messages[0].content


@pytest.mark.parametrize("answer", ["", "{", "[]", '{"audience": []}', {"audience": [], "examples": []}])
def test_what_is_of_no_use_is_an_error(answer: Any, prompts: Prompts, persona: Named) -> None:
    with pytest.raises(EngineError, match="writer"):
        write_candidates(writer(answer), prompts, persona("builder"))


def test_the_files_own_candidates_come_first(persona: Named) -> None:
    own = Candidates(audience=("a",), lens={"docs": (1.0,)})
    one = persona("builder").model_copy(update={"candidates": own})
    more = Candidates(audience=("b", "a"), lens={"docs": (2.0,), "license": (3.0,)})
    found = with_candidates(one, more).candidates
    assert found.audience == ("a", "b")
    assert found.lens == {"docs": (1.0,), "license": (3.0,)}
