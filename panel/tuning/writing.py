"""Candidates for a persona that a larger model writes under a grammar; `review-panel personas tune` chooses.

The model reads what the persona is and what it weighs with now, and nothing of the cases or of what gold says of them.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from panel.errors import EngineError
from panel.prompts import Prompts
from panel.records import Candidates, Example, Persona, ShortLine, strip_unprintable
from panel.requests import Engine, GenerateRequest, Grammar, Message, Sampling

AUDIENCES = 4
EXAMPLES = 8
MAX_TOKENS = 1500


def write_candidates(engine: Engine, prompts: Prompts, persona: Persona, *, seed: int = 0) -> Candidates:
    """Other wordings of the audience, and other facts to show; without those that are no use as they are written.

    Raises:
        EngineError: the engine did not keep to the grammar, or nothing of what it wrote is of use.
        SetupError: the prompt's template is missing.
    """
    asked = prompts.render("tuning/candidates", persona=persona, audiences=AUDIENCES, examples=EXAMPLES)
    request = GenerateRequest(
        key=f"candidates/{persona.slug}",
        messages=(Message("user", asked),),
        grammar=Grammar("json_schema", json.dumps(_schema())),
        sampling=Sampling(temperature=0.8, top_p=0.95, max_tokens=MAX_TOKENS),
        seed=seed,
    )
    (completion,) = engine.generate([request])
    try:
        data = json.loads(completion.text)
        audiences, examples = data["audience"], data["examples"]
    except (ValueError, LookupError, TypeError) as error:
        raise EngineError(
            "the writer's answer is not what the grammar asks for", hint="it may have been cut: try a larger model"
        ) from error
    line = TypeAdapter(ShortLine)
    wordings = [kept for text in audiences if (kept := _kept(line, text)) and kept != persona.audience]
    known = {example.fact for example in persona.examples}
    facts = [kept for item in examples if (kept := _kept(TypeAdapter(Example), item)) and kept.fact not in known]
    if not wordings and not facts:
        raise EngineError("the writer wrote nothing of use", hint="try another seed, or a larger model")
    return Candidates(audience=tuple(dict.fromkeys(wordings)), examples=tuple({e.fact: e for e in facts}.values()))


def with_candidates(persona: Persona, more: Candidates) -> Persona:
    """The persona with `more` candidates beside those of its file, as many as a persona may have."""
    own = persona.candidates
    audience = tuple(dict.fromkeys((*own.audience, *more.audience)))[:16]
    examples = tuple({e.fact: e for e in (*own.examples, *more.examples)}.values())[:32]
    lens = {**more.lens, **own.lens}
    return persona.model_copy(update={"candidates": Candidates(audience=audience, examples=examples, lens=lens)})


def _kept(kind: TypeAdapter[Any], value: Any) -> Any:
    """`value` as what it should be, or None where a persona may not have it (too long, several lines)."""
    try:
        return kind.validate_json(strip_unprintable(json.dumps(value, ensure_ascii=False)))
    except ValidationError:
        return None


def _schema() -> dict[str, Any]:
    line = {"type": "string", "minLength": 8, "maxLength": 120}
    example = {
        "type": "object",
        "properties": {"fact": line, "label": {"enum": ["good", "bad"]}},
        "required": ["fact", "label"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "audience": {"type": "array", "items": line, "minItems": AUDIENCES, "maxItems": AUDIENCES},
            "examples": {"type": "array", "items": example, "minItems": EXAMPLES, "maxItems": EXAMPLES},
        },
        "required": ["audience", "examples"],
        "additionalProperties": False,
    }
