"""Running one review: the agent, what it is told, and what becomes of its answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from smolagents import LogLevel, Tool, ToolCallingAgent
from smolagents.memory import ActionStep

from panel.dossier import dossier_sha256
from panel.errors import DraftError, EngineError, PanelError, SetupError
from panel.personas import persona_sha256
from panel.prompts import Prompts
from panel.records import Dossier, Persona, Provenance, Review
from panel.requests import Engine
from panel.reviewer.desk import MAX_STEPS, TRIES, Desk, Loop
from panel.reviewer.model import ReviewerModel
from panel.reviewer.tools import FinalAnswer, FindEvidence, ListRivals, Price, ReadEvidence, WeighEvidence
from panel.screen import readable
from panel.weigh import weigh


@dataclass(frozen=True)
class Reviewed:
    """A review, and the trace of how it came about (prompts, raw outputs, tool calls, observations)."""

    review: Review
    trace: dict[str, Any]


def provenance_of(
    engine: Engine, prompts: Prompts, dossier: Dossier, persona: Persona, seed: int, loop: Loop
) -> Provenance:
    """What a review will be made with, known before it is made."""
    info = engine.info
    return Provenance(
        model=info.model,
        model_sha256=info.model_sha256,
        adapter_sha256=info.adapter_sha256,
        engine=info.engine,
        engine_version=info.engine_version,
        persona_sha256=persona_sha256(persona),
        prompt_sha256=prompts.sha256,
        dossier_sha256=dossier_sha256(dossier),
        seed=seed,
        loop=loop,
        calibrated=persona.calibration.fitted,
    )


def run_review(
    persona: Persona,
    dossier: Dossier,
    engine: Engine,
    prompts: Prompts,
    *,
    seed: int = 0,
    loop: Loop = "led",
    on_step: Callable[[str, tuple[str, ...]], None] = lambda _name, _about: None,
) -> Reviewed:
    """Let `persona` review the tool of `dossier`.

    Never raises for what a model does: a review that fails is `unscored`, with the reason.

    Args:
        loop: `led` leaves little choice to the model, `free` much.
        on_step: told the name of each tool as it has been called, and what it was called with (`_about`).
    """
    started = time.monotonic()
    desk = Desk(persona, readable(dossier), loop)
    answer = FinalAnswer(desk, engine)
    tools: list[Tool] = [
        WeighEvidence(desk, engine, prompts, dossier.evidence),
        FindEvidence(desk),
        ReadEvidence(desk),
        Price(desk),
        ListRivals(desk),
        answer,
    ]
    model = ReviewerModel(engine, desk, prompts, answer, {tool.name: tool for tool in tools}, seed=seed)

    broken: list[PanelError] = []  # what no further step can mend

    def after_step(step: Any) -> None:
        if step.tool_calls:
            on_step(step.tool_calls[0].name, _about(step.tool_calls[0], desk))
        cause = _cause(step.error) if step.error is not None else None
        if isinstance(cause, EngineError | SetupError):
            broken.append(cause)
        if broken or (cause is not None and desk.tries >= TRIES):
            agent.interrupt()

    # smolagents renders this one itself, and would wrap a mistake in it beyond recognition
    prompts.render(
        "system", tools={tool.name: tool for tool in tools}, managed_agents={}, custom_instructions=persona.voice
    )
    agent = ToolCallingAgent(
        tools=tools,
        model=model,
        # The template is ours; persona prose goes in `instructions`, the dossier (untrusted) in the task alone.
        prompt_templates=_templates(prompts),
        instructions=persona.voice,
        max_steps=MAX_STEPS,
        verbosity_level=LogLevel.OFF,
        step_callbacks={ActionStep: after_step},
        return_full_result=True,
    )
    reason = ""
    try:
        if not desk.dossier.evidence:
            pulls = weigh(engine, prompts, persona, dossier.evidence, tool=dossier.slug)
            desk.pulls = {pull.evidence: pull for pull in pulls}
            raise DraftError(["none of the evidence is about the tool, so there is nothing to weigh"])
        agent.run(prompts.render("task", dossier=desk.dossier))
        # smolagents skips its checks at the step limit, so what counts is what the answer tool accepted.
        if not desk.beats:
            reason = f"no valid answer in {MAX_STEPS} steps{_last_problems(desk)}"
    except Exception as error:  # smolagents wraps whatever went wrong in a step; the run of the others goes on
        cause = broken[0] if broken else _cause(error)
        if isinstance(cause, SetupError):
            raise cause from error
        answered = desk.tries >= TRIES and not isinstance(cause, EngineError)
        reason = f"no valid answer in {TRIES} tries{_last_problems(desk)}" if answered else _message(cause)
    provenance = provenance_of(engine, prompts, dossier, persona, seed, loop).model_copy(
        update={
            "prompt_tokens": sum(call.prompt_tokens for call in model.calls),
            "completion_tokens": sum(call.completion_tokens for call in model.calls),
            "seconds": round(time.monotonic() - started, 2),
            "steps": len(model.calls),
            "tries": desk.tries,
        }
    )
    weighed = tuple(desk.pulls.values())
    if reason:
        review = Review(persona=persona.slug, status="unscored", pulls=weighed, reason=reason, provenance=provenance)
    else:
        review = Review(
            persona=persona.slug,
            status="scored",
            decision=desk.decision,
            p_ship=desk.p_ship,
            quote=" ".join(beat.text for beat in desk.beats),
            beats=desk.beats,
            pulls=weighed,
            provenance=provenance,
        )
    return Reviewed(review, _trace(agent, model))


def _templates(prompts: Prompts) -> Any:
    """smolagents' prompt templates: the system prompt is ours, the rest (planning, managed agents) is never used."""
    from smolagents.agents import EMPTY_PROMPT_TEMPLATES

    source = (prompts.folder / "system.j2").read_text(encoding="utf-8")
    # smolagents renders it with other settings than `Prompts`: the line that a comment stood on would stay
    source = re.sub(r"\{#.*?#\}\n?", "", source, flags=re.DOTALL)
    return {**EMPTY_PROMPT_TEMPLATES, "system_prompt": source}


def _last_problems(desk: Desk) -> str:
    found = [f"{beat} {message}" for beat, messages in desk.problems.items() for message in messages]
    return f": {'; '.join(found)}" if found else ""


def _cause(error: BaseException) -> BaseException:
    """The innermost error that is ours, or else the innermost one: smolagents wraps it in its own."""
    while error.__cause__ is not None and not isinstance(error, PanelError):
        error = error.__cause__
    return error


def _message(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _about(call: Any, desk: Desk) -> tuple[str, ...]:
    """What a call is about, for people: the ids that it reads, the words that it looks up, the plan that it prices; of
    the weighing every pull, the strongest first (`E8 -1.4`, held together by a space that does not break)."""
    if call.name == WeighEvidence.name:
        strongest = sorted(desk.pulls.values(), key=lambda pull: -abs(pull.log_odds))
        return tuple(f"{pull.evidence}\u00a0{pull.log_odds:+.1f}" for pull in strongest)
    given = call.arguments if isinstance(call.arguments, dict) else {}
    ids = given.get("ids")
    found = ids if isinstance(ids, list) else [given[name] for name in ("query", "plan") if name in given]
    return tuple(str(value) for value in found)


def _trace(agent: ToolCallingAgent, model: ReviewerModel) -> dict[str, Any]:
    steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    outcomes = [
        {
            "tool": call.name if call is not None else None,
            "arguments": call.arguments if call is not None else None,
            "observation": step.observations,
            "error": str(step.error) if step.error is not None else None,
        }
        for step, call in ((step, _called(step)) for step in steps)
    ]
    calls = [asdict(call) for call in model.calls]
    merged = [{**call, **outcome} for call, outcome in zip(calls, outcomes, strict=False)]
    return {"schema": "trace/1", "steps": merged + calls[len(merged) :]}


def _called(step: ActionStep) -> Any:
    """The call of a step, also where its tool refused it: smolagents leaves `tool_calls` empty then."""
    if step.tool_calls:
        return step.tool_calls[0]
    message = step.model_output_message
    return message.tool_calls[0].function if message is not None and message.tool_calls else None
