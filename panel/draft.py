"""Writing the beats: which evidence each one cites, what it starts with, and what the model says after that.

Every beat is written several times under the grounding grammar, all of them in one batch, and the candidate that
stands closest to its evidence is kept: reading is cheap, and a small model's first thought is not its best one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from panel.grounding import Grounds, quotation_grammar, sentence_grammar
from panel.records import Beat, BeatSpec, Decision, Dossier, Evidence, Persona
from panel.requests import Completion, Engine, GenerateRequest, Message, Sampling
from panel.validate import Problem, check_beat, support

#: Temperatures of the candidates of one beat, round by round. After the last round a beat quotes its evidence word for
#: word: a second paraphrase by a small model costs as much as the first and is seldom better than the fact itself.
ROUNDS = ((0.0, 0.6),)
MAX_TOKENS = 56
#: Pulls closer to zero than this (nats) argue for nothing.
NEUTRAL = 0.05


class Renders(Protocol):
    def render(self, template: str, **values: object) -> str: ...


@dataclass(frozen=True)
class BeatPlan:
    """What is settled about a beat before a word is written."""

    spec: BeatSpec
    stem: str
    cites: tuple[str, ...]


def plan_beats(
    persona: Persona,
    dossier: Dossier,
    decision: Decision,
    pulls: Mapping[str, float],
    readable: Sequence[str],
    standing: Mapping[str, Beat] = MappingProxyType({}),
) -> list[BeatPlan]:
    """For each beat of `persona` its stem and the evidence it will cite, out of the `readable` ids.

    A beat cites the piece that is of a kind it asks for, pulls the way it speaks, and has been cited least so far.

    Args:
        standing: beats that are written already, by name; they keep what they cite.
    """
    by_id = {item.id: item for item in dossier.evidence}
    pool = [by_id[i] for i in readable]
    used: Counter[str] = Counter(c for beat in standing.values() for c in beat.cites)
    plans = []
    for spec in persona.beats:
        stem = _stem(spec, dossier, decision)
        if spec.name in standing:
            plans.append(BeatPlan(spec, stem, standing[spec.name].cites))
            continue
        sign = {"decision": 1 if decision == "ship" else -1, "strength": 1, "weakness": -1}[spec.about]

        def cost(item: Evidence, spec: BeatSpec = spec, sign: int = sign) -> tuple[float, ...]:
            of_kind = spec.kinds.index(item.kind) if item.kind in spec.kinds else len(spec.kinds) + 2
            along = pulls[item.id] * sign
            against = 2 if along < -NEUTRAL else 0
            return (used[item.id] * 3 + against + of_kind * 0.5 - 2 * min(along, 1.0), int(item.id[1:]))

        chosen = min(pool, key=cost)
        used[chosen.id] += 1
        plans.append(BeatPlan(spec, stem, (chosen.id,)))
    return plans


def _stem(spec: BeatSpec, dossier: Dossier, decision: Decision) -> str:
    """The opening words. Replaced, not formatted: a dossier's name may hold braces."""
    values = {"name": dossier.name, "rivals": _listed(dossier.rivals) or "its rivals", "price": dossier.entry_price}
    stem = spec.stem[decision]
    for key, value in values.items():
        stem = stem.replace("{" + key + "}", value)
    return stem


def _listed(names: Sequence[str]) -> str:
    head = list(names[:3])
    return " and ".join([", ".join(head[:-1]), head[-1]]) if len(head) > 1 else "".join(head)


def draft_beats(
    engine: Engine,
    prompts: Renders,
    persona: Persona,
    dossier: Dossier,
    plans: Sequence[BeatPlan],
    ground: Grounds,
    *,
    seed: int,
    attempt: int = 0,
    others: Sequence[str] = (),
) -> list[tuple[Beat, list[Problem], int]]:
    """Write the planned beats.

    Args:
        attempt: 0 the first time; beyond `ROUNDS` the evidence is quoted.
        others: texts of beats that stand already and may not be repeated.

    Returns:
        For each plan the best candidate, what is wrong with it (nothing, if all is well), and how many tokens the
        model wrote for all of its candidates.
    """
    by_id = {item.id: item for item in dossier.evidence}
    free = sentence_grammar(ground, engine.ordinary_words())
    verbatim = attempt >= len(ROUNDS)
    shots = _shots(prompts)
    temperatures = (0.0,) if verbatim else ROUNDS[attempt]
    requests = []
    for plan in plans:
        facts = [by_id[c].text for c in plan.cites]
        messages = (
            *shots,
            Message("user", prompts.render("draft", name=dossier.name, facts=facts, question=plan.spec.question)),
        )
        requests += [
            GenerateRequest(
                key=f"draft/{persona.slug}/{dossier.slug}/{plan.spec.name}/{attempt}/{k}",
                messages=messages,
                grammar=quotation_grammar(facts[0], ground.names) if verbatim else free,
                sampling=Sampling(temperature, 0.92, MAX_TOKENS if not verbatim else 4 * MAX_TOKENS),
                seed=seed,
                opening=plan.stem,
            )
            for k, temperature in enumerate(temperatures)
        ]
    completions = iter(engine.generate(requests))
    written = list(others)
    results = []
    for plan in plans:
        candidates = [next(completions) for _ in temperatures]
        beat, problems = _best(plan, candidates, by_id, ground, written)
        if verbatim:
            beat = beat.model_copy(update={"verbatim": True})
        written.append(beat.text.removeprefix(plan.stem))
        results.append((beat, problems, sum(c.completion_tokens for c in candidates)))
    return results


# Worked examples: far from software, so that nothing of them fits a tool and is copied into its review. They are the
# same for every beat, and so are computed once for all of them.
_EXAMPLES = (
    (
        {
            "name": "Fjellstua",
            "facts": ("The cabin sleeps up to six guests and is heated by a wood stove.",),
            "question": "What does a guest get?",
        },
        "What stands out is that six guests can sleep in the cabin, which a wood stove keeps warm.",
    ),
    (
        {
            "name": "Hotel Marlo",
            "facts": ("Nobody is at the desk after nine in the evening.",),
            "question": "Where does it fail?",
        },
        "It fails a late guest, since nobody is at the desk after nine in the evening.",
    ),
    (
        {
            "name": "The Petrel",
            "facts": ("The boat was given a new engine that burns a third less fuel.",),
            "question": "What speaks for it?",
        },
        "It is worth its price, because the new engine of the boat burns a third less fuel.",
    ),
)


def _shots(prompts: Renders) -> tuple[Message, ...]:
    turns = [Message("system", prompts.render("draft_system"))]
    for facts, answer in _EXAMPLES:
        turns += [Message("user", prompts.render("draft", **facts)), Message("assistant", answer)]
    return tuple(turns)


def _best(
    plan: BeatPlan,
    candidates: Sequence[Completion],
    evidence: Mapping[str, Evidence],
    ground: Grounds,
    others: Sequence[str],
) -> tuple[Beat, list[Problem]]:
    """The candidate with the fewest problems, then the most support, then the likeliest."""

    def judge(completion: Completion) -> tuple[tuple[float, ...], Beat, list[Problem]]:
        beat = Beat(name=plan.spec.name, text=plan.stem + completion.text.rstrip(), cites=plan.cites)
        problems = check_beat(beat, plan.stem, evidence, ground, others)
        likelihood = completion.logprob / max(1, completion.completion_tokens - completion.forced_tokens)
        backed = support(completion.text, [evidence[c] for c in plan.cites])
        return (float(len(problems)), -round(backed, 1), -likelihood), beat, problems

    _, beat, problems = min((judge(c) for c in candidates), key=lambda judged: judged[0])
    return beat, problems
