"""What every peer is asked: the evidence, the reviewer and the questions of the panel, as one request per review.

    python -m evals.peers.tasks evals/cases/smolagents-2 evals/cases/mistral-3b --warm-up evals/cases/aider > tasks.json

The dossier comes first and the reviewer after it, so that a peer which keeps the prefix of its last prompt need not
read the evidence again for the next reviewer of the same tool.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.peers.protocol import Task
from evals.shared import run
from panel.draft import MAX_TOKENS
from panel.records import Dossier, Persona

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

#: Characters of one beat's text: about the panel's own cap of `MAX_TOKENS`, and it closes the string where a model
#: would run on.
MAX_TEXT = 240
#: Tokens that JSON itself takes, per beat (name, ids, marks) and for the rest.
JSON_TOKENS = 32

SYSTEM = (
    "You review software tools for one kind of reader. You say only what the evidence says: no other names and no "
    "other numbers. You answer with one JSON object and nothing else."
)


def task_of(dossier: Dossier, persona: Persona) -> Task:
    evidence = "\n".join(f"{item.id} ({item.kind}): {item.text}" for item in dossier.evidence)
    questions = "\n".join(f"- {beat.name}: {beat.question}" for beat in persona.beats)
    # the shape is told in words: a small model copies an example of it, placeholders and all
    user = (
        f"Tool: {dossier.name}. {dossier.tagline}\n\nEvidence:\n{evidence}\n\n"
        f"You are this reviewer, writing for {persona.audience}:\n{persona.voice}\n\n"
        f"Decide whether it is a ship or a skip, and answer each question in one sentence that rests on the evidence "
        f"whose id you cite:\n{questions}\n\n"
        'Answer with a JSON object: "decision" is "ship" or "skip"; "beats" is an object that has, under the name of '
        'each question, an object with the sentence as "text" and the list of ids as "cites".'
    )
    return Task(
        tool=dossier.slug,
        persona=persona.slug,
        messages=({"role": "system", "content": SYSTEM}, {"role": "user", "content": user}),
        schema=schema_of(dossier, persona),
        max_tokens=len(persona.beats) * (MAX_TOKENS + JSON_TOKENS) + JSON_TOKENS,
    )


def schema_of(dossier: Dossier, persona: Persona) -> dict[str, Any]:
    """The JSON schema of a review: `{"decision": …, "beats": {name: {"text": …, "cites": […]}}}`."""
    ids = [item.id for item in dossier.evidence]
    beat = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
            "cites": {"type": "array", "items": {"enum": ids}, "minItems": 1, "maxItems": 2},
        },
        "required": ["text", "cites"],
        "additionalProperties": False,
    }
    names = [spec.name for spec in persona.beats]
    return {
        "type": "object",
        "properties": {
            "decision": {"enum": ["ship", "skip"]},
            "beats": {
                "type": "object",
                "properties": dict.fromkeys(names, beat),
                "required": names,
                "additionalProperties": False,
            },
        },
        "required": ["decision", "beats"],
        "additionalProperties": False,
    }


def tasks_json(dossiers: Sequence[Dossier], personas: Sequence[Persona], warm_up: Dossier) -> str:
    """The file of tasks: every persona on each of `dossiers`, and one task on another tool to warm up with."""
    tasks = [asdict(task_of(dossier, persona)) for dossier in dossiers for persona in personas]
    return json.dumps({"warm_up": asdict(task_of(warm_up, personas[0])), "tasks": tasks}, ensure_ascii=False, indent=1)


@app.command()
def main(
    dossiers: Annotated[list[Path], typer.Argument(help="Dossier files or case folders.", show_default=False)],
    warm_up: Annotated[Path, typer.Option(help="Another one, for the request that is not counted.")],
) -> None:
    """Print the file of tasks."""
    from panel.dossier import load_dossier
    from panel.personas import load_personas

    print(tasks_json([load_dossier(path) for path in dossiers], load_personas(), load_dossier(warm_up)))


if __name__ == "__main__":
    run(app)
