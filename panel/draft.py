"""Writing the beats: which evidence each one cites, what it starts with, and what the model says after that.

Every beat is written under the grounding grammar, all beats of all reviewers in one batch; one that has something wrong
with it is written again, several times, and the candidate that stands closest to its evidence is kept.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from panel.decide import is_telling
from panel.grounding import Grounds, grounds, quotation_grammar, sentence_grammar
from panel.records import Beat, BeatSpec, Decision, Dossier, Evidence, Persona
from panel.requests import Completion, Engine, GenerateRequest, Message, Sampling, ScoreRequest
from panel.validate import Problem, check_beat, support

#: Temperatures of the candidates of one beat, round by round: the likeliest words first, and others only for the few
#: beats that have something wrong with them. After the last round a beat quotes its evidence word for word.
ROUNDS = ((0.0,), (0.5, 0.7, 0.9, 1.1))
#: Temperatures for a beat that another reviewer of the tool has written in the same words.
APART = (0.7, 0.9, 1.1, 1.3)
#: Of a sentence: 99 in 100 end before the 34th (LOG), and what is longer runs in circles.
MAX_TOKENS = 44
#: How much likelier its evidence must make a sentence, in nats per token, by the model's own account. Of the beats of
#: evals/adapter/beats.csv all lie above, of the same beats with another fact of their tool none (one-off, see LOG).
MIN_GAIN = 1.1
#: Sentences that share this much of their words with their evidence need no second opinion.
PLAIN_SUPPORT = 0.9


class Renders(Protocol):
    def render(self, template: str, **values: object) -> str: ...


@dataclass(frozen=True)
class BeatPlan:
    """What is settled about a beat before a word is written. One that cites nothing is `silent`, and is its stem."""

    spec: BeatSpec
    stem: str
    cites: tuple[str, ...]

    @property
    def silent(self) -> bool:
        return not self.cites


def plan_beats(
    persona: Persona,
    dossier: Dossier,
    decision: Decision,
    pulls: Mapping[str, float],
    readable: Sequence[str],
    standing: Mapping[str, Beat] = MappingProxyType({}),
) -> list[BeatPlan]:
    """For each beat of `persona` its stem and the evidence it will cite, out of the `readable` ids.

    A beat cites a piece that pulls the way it speaks, far enough to be telling (`panel.decide`), and that no other beat
    cites, of a kind it asks for if there is one. Beats with little choice choose first. Where there is no such piece, a
    beat says that the dossier does not tell.

    Args:
        standing: beats that are written already, by name; they keep what they cite.
    """
    by_id = {item.id: item for item in dossier.evidence}
    signs = {"decision": 1 if decision == "ship" else -1, "strength": 1, "weakness": -1}
    telling = [i for i in readable if is_telling(pulls[i], persona.calibration.deadband)]
    fits = {spec.name: [by_id[i] for i in telling if pulls[i] * signs[spec.about] > 0] for spec in persona.beats}
    used = {cite for beat in standing.values() for cite in beat.cites}
    chosen: dict[str, tuple[str, ...]] = {name: beat.cites for name, beat in standing.items()}

    def choice(spec: BeatSpec) -> float:
        return sum(item.kind in spec.kinds for item in fits[spec.name]) or math.inf  # nothing of its own: last

    for spec in sorted(persona.beats, key=choice):  # a stable sort: the panel's order among equals
        if spec.name in chosen:
            continue

        def cost(item: Evidence, spec: BeatSpec = spec) -> tuple[float, ...]:
            of_kind = spec.kinds.index(item.kind) if item.kind in spec.kinds else len(spec.kinds)
            return (item.kind not in spec.kinds, of_kind * 0.5 - 2 * min(abs(pulls[item.id]), 1.5), int(item.id[1:]))

        free = [item for item in fits[spec.name] if item.id not in used]
        chosen[spec.name] = (min(free, key=cost).id,) if free else ()
        used.update(chosen[spec.name])
    return [_plan(spec, dossier, decision, chosen[spec.name], told=bool(fits[spec.name])) for spec in persona.beats]


def _plan(spec: BeatSpec, dossier: Dossier, decision: Decision, cites: tuple[str, ...], *, told: bool) -> BeatPlan:
    if cites:
        return BeatPlan(spec, _stem(spec, dossier, decision), cites)
    silent = _filled(spec.silent, dossier)
    # what there was is said in other beats
    return BeatPlan(spec, silent.removesuffix(".") + " beyond what is said here." if told else silent, ())


def _stem(spec: BeatSpec, dossier: Dossier, decision: Decision) -> str:
    """The opening words: one of those that the persona has, the same for a tool each time."""
    stems = spec.stem[decision]
    chance = hashlib.sha256(f"{dossier.slug}/{spec.name}".encode()).digest()[0]
    return _filled(stems[chance % len(stems)], dossier)


def stems_of(spec: BeatSpec, dossier: Dossier) -> dict[Decision, tuple[str, ...]]:
    """Everything that a reviewer may open this beat about `dossier` with, by the decision that it argues for."""
    return {decision: tuple(_filled(stem, dossier) for stem in stems) for decision, stems in spec.stem.items()}


def _filled(text: str, dossier: Dossier) -> str:
    """`text` with its placeholders replaced at once: what a dossier says may hold braces, and is no sentence."""
    values = {
        "name": _brief(dossier.name) or "the tool",
        "rivals": _listed([rival for rival in dossier.rivals if _brief(rival)]) or "its rivals",
        "price": _brief(dossier.entry_price) or "what the card says",
    }
    return re.sub(r"\{(name|rivals|price)\}", lambda found: values[found.group(1)], text)


def _brief(value: str) -> str:
    """`value` if it is short enough for a name or a price: no dossier puts a sentence into a reviewer's mouth."""
    return value if len(value) <= 40 and len(value.split()) <= 5 and not re.search(r"[,;:!?]|\. ", value) else ""


def _listed(names: Sequence[str]) -> str:
    head = list(names[:3])
    return " and ".join([", ".join(head[:-1]), head[-1]]) if len(head) > 1 else "".join(head)


def draft_beats(
    engine: Engine,
    prompts: Renders,
    persona: Persona,
    dossier: Dossier,
    plans: Sequence[BeatPlan],
    *,
    seed: int,
    attempt: int = 0,
    others: Sequence[str] = (),
    taken: Collection[str] | None = None,
) -> list[tuple[Beat, list[Problem], int]]:
    """Write the planned beats.

    Args:
        attempt: 0 the first time; beyond `ROUNDS` the evidence is quoted.
        others: texts of beats that stand already and may not be repeated.
        taken: what other reviewers say after their stems, as `said` gives it. None of it may be said again, and
            candidates are drawn further afield (`APART`); others with each attempt.

    Returns:
        For each plan the best candidate, what is wrong with it (nothing, if all is well), and how many tokens the
        model wrote for all of its candidates.
    """
    by_id = {item.id: item for item in dossier.evidence}
    ordinary = engine.ordinary_words()
    ground = {plan.spec.name: grounds(dossier, persona, ordinary, plan.cites) for plan in plans}
    verbatim = attempt >= len(ROUNDS) and taken is None
    tuned = bool(engine.info.adapter_sha256)
    temperatures = APART if taken is not None else (0.0,) if verbatim else ROUNDS[attempt]
    turn = f"{attempt}" if taken is None else f"apart{attempt}"
    requests = []
    for plan in (plan for plan in plans if not plan.silent):
        facts = [by_id[c].text for c in plan.cites]
        own = ground[plan.spec.name]
        messages = draft_messages(prompts, persona, dossier.name, facts, plan.spec.question, tuned=tuned)
        requests += [
            GenerateRequest(
                key=f"draft/{persona.slug}/{dossier.slug}/{plan.spec.name}/{turn}/{k}",
                messages=messages,
                grammar=quotation_grammar(facts[0], own.names, plan.stem)
                if verbatim
                else sentence_grammar(own, ordinary),
                sampling=Sampling(temperature, 0.92, MAX_TOKENS if not verbatim else 4 * MAX_TOKENS),
                seed=seed,
                opening=plan.stem,
            )
            for k, temperature in enumerate(temperatures)
        ]
    completions = iter(engine.generate(requests) if requests else [])
    written = list(others)
    results: list[tuple[Beat, list[Problem], int]] = []
    for plan in plans:
        if plan.silent:
            results.append((Beat(name=plan.spec.name, text=plan.stem, cites=(), silent=True), [], 0))
            continue
        candidates = [next(completions) for _ in temperatures]
        beat, problems = _best(plan, candidates, by_id, ground[plan.spec.name], written, taken or (), verbatim=verbatim)
        written.append(beat.text.removeprefix(plan.stem))
        results.append((beat, problems, sum(c.completion_tokens for c in candidates)))
    return _second_opinion(engine, prompts, plans, results, by_id, f"{persona.slug}/{dossier.slug}")


def planned(persona: Persona, dossier: Dossier, decision: Decision, beat: Beat) -> BeatPlan:
    """The plan that a beat of a review was written by."""
    spec = next(spec for spec in persona.beats if spec.name == beat.name)
    stem = beat.text if beat.silent else _stem(spec, dossier, decision)
    return BeatPlan(spec, stem, beat.cites)


def said(beat: Beat, plan: BeatPlan) -> str:
    """What a beat says after its stem, whatever its case and spacing."""
    return " ".join(beat.text.removeprefix(plan.stem).casefold().split())


def _second_opinion(
    engine: Engine,
    prompts: Renders,
    plans: Sequence[BeatPlan],
    results: list[tuple[Beat, list[Problem], int]],
    evidence: Mapping[str, Evidence],
    family: str,
) -> list[tuple[Beat, list[Problem], int]]:
    """`results` with a problem for each beat that the model does not find in its evidence."""
    asked: dict[str, tuple[str, str]] = {}
    for plan, (beat, problems, _) in zip(plans, results, strict=True):
        rest = beat.text.removeprefix(plan.stem).strip()
        cited = [evidence[c] for c in beat.cites]
        if not (problems or beat.verbatim or beat.silent) and support(rest, cited) < PLAIN_SUPPORT:
            asked[beat.name] = (cited[0].text, rest)
    gains = dict(zip(asked, model_support(engine, prompts, list(asked.values()), family) if asked else [], strict=True))
    checked = []
    for beat, problems, tokens in results:
        if gains.get(beat.name, MIN_GAIN) < MIN_GAIN:
            doubt = Problem(beat.name, f"is not what the model reads in {', '.join(beat.cites)}", doubt=True)
            checked.append((beat, [*problems, doubt], tokens))
        else:
            checked.append((beat, problems, tokens))
    return checked


def model_support(engine: Engine, prompts: Renders, pairs: Sequence[tuple[str, str]], family: str) -> list[float]:
    """For each (fact, sentence): how much likelier the fact makes the sentence, in nats per token.

    The pointwise mutual information of the two under the model, by the sentence's length: near 0 where the fact says
    nothing of what the sentence says. `family` (persona/tool) names the requests. Raises `EngineError`.
    """
    requests = [
        ScoreRequest(
            key=f"support/{family}/{index:03d}/{given}",
            prompt=prompts.render("support", fact=fact if given else ""),
            candidates=(f" {sentence.strip()}",),
        )
        for index, (fact, sentence) in enumerate(pairs)
        for given in (1, 0)
    ]
    scores = [score.logprobs[0] for score in engine.score(requests)]
    lengths = [max(1, engine.count_tokens(f" {sentence.strip()}")) for _, sentence in pairs]
    return [(scores[2 * i] - scores[2 * i + 1]) / lengths[i] for i in range(len(pairs))]


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


def draft_messages(
    prompts: Renders, persona: Persona, name: str, facts: Sequence[str], question: str, *, tuned: bool
) -> tuple[Message, ...]:
    """What the model reads before it goes on from a beat's stem; a `tuned` one needs no worked examples."""
    turns = [Message("system", prompts.render("draft_system", voice=persona.voice))]
    for values, answer in () if tuned else _EXAMPLES:
        turns += [Message("user", prompts.render("draft", **values)), Message("assistant", answer)]
    turns.append(Message("user", prompts.render("draft", name=name, facts=facts, question=question)))
    return tuple(turns)


def _best(
    plan: BeatPlan,
    candidates: Sequence[Completion],
    evidence: Mapping[str, Evidence],
    ground: Grounds,
    others: Sequence[str],
    taken: Collection[str],
    *,
    verbatim: bool,
) -> tuple[Beat, list[Problem]]:
    """The candidate with the fewest problems, then the most support, then the likeliest."""

    def judge(completion: Completion) -> tuple[tuple[float, ...], Beat, list[Problem]]:
        text = plan.stem + completion.text.rstrip()
        beat = Beat(name=plan.spec.name, text=text, cites=plan.cites, verbatim=verbatim)
        problems = check_beat(beat, plan.stem, evidence, ground, others)
        if said(beat, plan) in taken:
            problems.append(Problem(beat.name, "is in the words of another reviewer"))
        likelihood = completion.logprob / max(1, completion.completion_tokens - completion.forced_tokens)
        backed = support(completion.text, [evidence[c] for c in plan.cites])
        return (float(len(problems)), -round(backed, 1), -likelihood), beat, problems

    _, beat, problems = min((judge(c) for c in candidates), key=lambda judged: judged[0])
    return beat, problems
