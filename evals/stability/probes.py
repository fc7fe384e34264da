"""The probes that need no agent: what each does, what should come of it, and its trials."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evals.bank import Bank
from evals.stability import changes
from evals.stability.changes import Change, Variant, probe_sha256, read_probes
from evals.stability.engines import SwappedLabels
from evals.stability.ground import Answer, Ground, Subjects
from evals.stability.prober import Prober
from evals.stability.record import Edit, Expects, Probe, Trial
from panel.records import Evidence, Persona, PersonaSlug
from panel.requests import Engine

#: What a promise may miss by: pulls are rounded to 3 decimals, and a sum of them may cross a rounding's edge.
ROUNDING = 0.002
_EDITS = 20

Found = tuple[str, PersonaSlug, Trial]


@dataclass(frozen=True)
class Again:
    """The same dossiers once more, on another bank."""

    label: str
    bank: Bank
    personas: Sequence[Persona]
    shuffle: int | None = None


@dataclass(frozen=True)
class Plan:
    """A probe, and how it is done: a change of the dossier, or everything weighed again in another way."""

    probe: Probe
    change: Change | None = None
    again: Callable[[Ground], list[Again]] | None = None

    def needs(self, ground: Ground) -> list[tuple[Bank, list[Evidence]]]:
        """What must be weighed for it, by bank."""
        if self.change is not None:
            variants = (variant for case in ground.cases for variant in self.change(case))
            return [(ground.prober.bank, [item for v in variants for item in (*v.before, *v.after)])]
        plain = [item for case in ground.cases for item in case.dossier.evidence]
        return [(one.bank, _shuffled(plain, one.shuffle)) for one in (self.again or _none)(ground)]

    def trials(self, ground: Ground, subjects: Subjects) -> Iterator[Found]:
        if self.change is not None:
            for persona, case, variant in ground.prober.variants(self.change):
                as_written = variant.before == case.dossier.evidence
                trial = _changed(self.probe, ground.prober, persona, variant, as_written=as_written)
                yield case.dossier.slug, persona.slug, trial
        for one in (self.again or _none)(ground):
            prober = Prober(one.bank, one.personas, ground.cases)
            for case in ground.cases:
                for persona in one.personas:
                    subject = subjects[case.dossier.slug, persona.slug]
                    before = (subject.decision, subject.p_ship)
                    after = prober.judge(persona, case.dossier.evidence)
                    yield case.dossier.slug, persona.slug, compared(self.probe, one.label, before, after)


def _none(_ground: Ground) -> list[Again]:
    return []


def _shuffled(evidence: list[Evidence], seed: int | None) -> list[Evidence]:
    return evidence if seed is None else random.Random(seed).sample(evidence, len(evidence))  # noqa: S311


def compared(probe: Probe, label: str, before: Answer, after: Answer, **more: object) -> Trial:
    """A trial that says what came of a change; `more` are fields of it."""
    held = holds(probe.expects, before, after, ROUNDING if probe.exact else None)
    flip = "unscored" not in (before[0], after[0]) and before[0] != after[0]
    told = {"label": label, "decision": after[0], "p_ship": after[1], "held": held, "flip": flip}
    return Trial.model_validate(told | more)


def holds(expects: Expects, before: Answer, after: Answer, bound: float | None) -> bool:
    """Did it come as it should? With a `bound` p_ship may not move by more."""
    (was, p_before), (now, p_after) = before, after
    if p_before is None or p_after is None:
        return False
    if expects == "same":
        return was == now and (bound is None or abs(p_after - p_before) <= bound)
    return p_after < p_before if expects == "lower" else p_after > p_before


def _changed(probe: Probe, prober: Prober, persona: Persona, variant: Variant, *, as_written: bool) -> Trial:
    before, after = prober.judge(persona, variant.before), prober.judge(persona, variant.after)
    words = _words(variant.after) - _words(variant.before)
    trial = compared(probe, variant.label, before, after, words=words)
    if not as_written:
        trial = trial.model_copy(update={"before": before[0], "p_before": before[1]})
    if trial.held and not trial.flip:
        return trial
    return trial.model_copy(update={"edits": _edits(variant) if probe.family != "order" else ()})


def _words(evidence: Sequence[Evidence]) -> int:
    return sum(len(item.text.split()) for item in evidence)


def _edits(variant: Variant) -> tuple[Edit, ...]:
    """What stands in the place of what; what both have is left out."""
    pairs = list(zip(variant.before, variant.after, strict=False))
    found = [Edit(where=a.id, before=a.text, after=b.text) for a, b in pairs if a.text != b.text]
    found += [Edit(where="added", before="", after=item.text) for item in variant.after[len(pairs) :]]
    return tuple(found[:_EDITS])


# --------------------------------------------------------------------------------------------------- the probes


def plans(engine: Engine, *, seeds: int, draws: int, against: Sequence[tuple[str, Engine]] = ()) -> list[Plan]:
    """Every probe that needs no agent, in the order in which people read them.

    Args:
        against: other engines or models by name, on which the same dossiers are weighed.
    """
    tuned = bool(engine.info.adapter_sha256)
    seen, _ = changes.attacked(held_out=False)
    unseen, _ = changes.attacked(held_out=True)
    found = [
        Plan(_promise("rerun", "weighed again, in batches drawn by another seed"), again=_rerun(seeds)),
        Plan(_probe("order", "order", "evidence in another order", exact=True), changes.permuted(draws)),
        Plan(_probe("labels", "order", _labels_title(tuned), exact=tuned), again=_labels(tuned)),
        Plan(_probe("repetition", "content", "what is said already is said again"), changes.duplicated),
        Plan(_probe("copies", "content", "forty pieces of praise that differ in a number"), changes.copied),
        Plan(_probe("padding", "content", "facts of no bearing are added", "padding"), changes.padded(draws)),
        Plan(_probe("rewording", "content", "every fact in other words", "rewordings"), changes.reworded),
        Plan(_probe("hype", "content", "an adjective of praise in every fact", "hype"), changes.hyped(2)),
        Plan(_probe("renamed", "content", "the tool is called otherwise", "names"), changes.renamed),
        Plan(_probe("audience", "content", "the persona's audience in other words", "audiences"), again=_audiences),
        Plan(_probe("attacks-seen", "attack", "attacks that the rules were written with", "injections"), seen),
        Plan(_probe("attacks-unseen", "attack", "attacks that no rule was written with", "injections"), unseen),
    ]
    for name, other in against:
        title = f"the same dossiers on {other.info.engine} {other.info.model}"
        found.append(Plan(_probe(name, "content", title), again=_elsewhere(name, other)))
    for name, sign, expects in (("severe", "bad", "lower"), ("strong", "good", "higher")):
        probe = _probe(name, "directional", f"a {name} fact is added", "directional")
        found.append(Plan(probe.model_copy(update={"expects": expects}), changes.severe(sign)))
    for name, about in read_probes("directions", "events").items():
        probe = _probe(name, "directional", about["title"], "directions")
        found.append(Plan(probe.model_copy(update={"expects": about["expects"]}), changes.event(about)))
    return found


def unavailable(taken: Sequence[str]) -> list[Probe]:
    """What was asked for and could not be done here, so that nobody takes silence for success."""
    reasons = {
        "engine": ("another engine", "name one: --against transformers:embedded (PyTorch)"),
        "quantisation": ("another quantisation of the model", "name one: --against openvino:FOLDER"),
    }
    return [
        _probe(name, "content", title).model_copy(update={"unavailable": f"nothing to hold it against; {why}"})
        for name, (title, why) in reasons.items()
        if name not in taken
    ]


def _probe(name: str, family: str, title: str, *files: str, exact: bool = False) -> Probe:
    told = {"name": name, "family": family, "expects": "same", "title": title, "exact": exact}
    return Probe.model_validate(told | {"sha256": probe_sha256(*files) if files else ""})


def _promise(name: str, title: str) -> Probe:
    return _probe(name, "rerun", title, exact=True)


def _rerun(seeds: int) -> Callable[[Ground], list[Again]]:
    def again(ground: Ground) -> list[Again]:
        found = []
        for k in range(seeds):
            bank = ground.bank(f"seed {k}", engine=ground.rerun(f"seed {k}"))
            found.append(Again(f"seed {k}", bank, ground.personas, shuffle=k))
        return found

    return again


def _labels_title(tuned: bool) -> str:
    return "the two label words asked for the other way around" + ("" if tuned else ", and the examples too")


def _labels(tuned: bool) -> Callable[[Ground], list[Again]]:
    def again(ground: Ground) -> list[Again]:
        turned = [p.model_copy(update={"examples": p.examples[::-1]}) for p in ground.personas]
        personas = ground.personas if tuned else turned
        bank = ground.bank("labels swapped", engine=SwappedLabels(ground.engine), personas=personas)
        return [Again("swapped", bank, personas)]

    return again


def _audiences(ground: Ground) -> list[Again]:
    said = read_probes("audiences", "audiences")
    found = []
    for k in range(min(len(texts) for texts in said.values())):
        personas = [p.model_copy(update={"audience": said[p.slug][k]}) for p in ground.personas]
        found.append(Again(f"audience {k + 1}", ground.bank(personas=personas), personas))
    return found


def _elsewhere(name: str, other: Engine) -> Callable[[Ground], list[Again]]:
    """On another engine or model, with the calibration that the panel has for it."""
    from panel.run import calibrate_for

    def again(ground: Ground) -> list[Again]:
        personas = calibrate_for(ground.personas, ground.prompts, other)
        return [Again(name, ground.bank(engine=other, personas=personas), personas)]

    return again
