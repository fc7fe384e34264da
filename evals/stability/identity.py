"""What a run was made with: the hashes by which two runs know whether they can be compared."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import yaml

import panel
from evals.stability.record import About, PersonaAbout
from panel.gold import Case
from panel.personas import persona_sha256
from panel.prompts import Prompts
from panel.records import Persona
from panel.requests import Engine
from panel.run import calibrate_for
from panel.weigh import WEIGHING, weigh_prompt


def about(
    engine: Engine,
    prompts: Prompts,
    personas: Sequence[Persona],
    cases: Sequence[Case],
    settings: Mapping[str, str],
) -> About:
    info = engine.info
    known = {persona.slug: persona.calibration for persona in calibrate_for(personas, prompts, engine)}
    tuned = bool(info.adapter_sha256)
    return About(
        model=info.model,
        model_sha256=info.model_sha256,
        adapter_sha256=info.adapter_sha256,
        engine=info.engine,
        engine_version=info.engine_version,
        weighing=WEIGHING,
        prompts_sha256=prompts.sha256,
        personas={
            persona.slug: PersonaAbout(
                sha256=persona_sha256(persona),
                voice=len(persona.voice.split()),
                calibration=persona.calibration,
                own=persona.calibration.fitted and persona.calibration == known[persona.slug],
                prompt=weigh_prompt(prompts, persona, "capability", "?", tuned=tuned),
                text=persona_text(persona),
            )
            for persona in personas
        },
        cases={case.dossier.slug: case_sha256(case) for case in sorted(cases, key=lambda case: case.dossier.slug)},
        settings=dict(settings),
    )


def persona_text(persona: Persona) -> str:
    """What a persona's file says, in one layout, so that two of them can be told apart line by line."""
    front = persona.model_dump(mode="json", by_alias=True, exclude={"voice", "calibration"})
    return f"{yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)}---\n{persona.voice}\n"


def case_sha256(case: Case) -> str:
    """Hash of what a case's dossier and gold say, whatever their layout and the folder they lie in."""
    said = [case.dossier.model_dump(mode="json"), case.gold.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@cache
def code_sha256(folder: Path = Path(panel.__file__).parent) -> str:
    """Hash over what the modules of the package do: comments, docstrings and layout do not count.

    Answers that an earlier run kept are good for the code that made them, and for no other.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                value = body[0].value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    body[0] = ast.Pass()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()
