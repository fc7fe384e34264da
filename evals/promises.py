"""What the panel promises of every run: no statistics, one case that breaks a promise is enough."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evals.stability.probes import ROUNDING
from evals.stability.record import Cell, Stability, Subject, Trial, Who

#: A persona's prose may get shorter, but not by more than this and still be called the same persona.
PROSE = 0.25
_EXAMPLES = 3


@dataclass(frozen=True)
class Broken:
    """A promise that is not kept: by whom, under which probe, in how many cases of how many."""

    persona: Who
    probe: str
    count: int
    of: int
    sentence: str


def broken(run: Stability, then: Stability | None = None) -> list[Broken]:
    """The promises that `run` breaks: of itself, and beside an earlier run `then`."""
    found = [*_exact(run), *_threshold(run), *_copies(run), *_calibrations(run), *_priors(run)]
    return (
        found
        if then is None
        else [*found, *_seeds(run, then), *_prose(run, then), *_examples(run, then), *_foreign(run, then)]
    )


def _exact(run: Stability) -> Iterator[Broken]:
    """A probe that the panel is blind to by its construction: order, other seeds, the same seed twice."""
    cells: dict[tuple[Who, str], list[Cell]] = defaultdict(list)
    for cell in run.cells:
        cells[cell.persona, cell.probe].append(cell)
    for probe in (probe for probe in run.probes if probe.exact):
        for persona in run.about.personas:
            own = cells[persona, probe.name]
            failed = [(cell, trial) for cell in own for trial in cell.trials if not trial.held]
            if failed:
                total = sum(len(cell.trials) for cell in own)
                said = "; ".join(_told(run, cell, trial) for cell, trial in failed[:_EXAMPLES])
                yield Broken(
                    persona,
                    probe.name,
                    len(failed),
                    total,
                    f"the {persona} does not keep what {probe.name} promises ({probe.title}): {len(failed)} of {total} "
                    f"trials differ: {said}",
                )


def _told(run: Stability, cell: Cell, trial: Trial) -> str:
    if trial.reason:
        return f"{cell.tool}, {trial.label}: {trial.reason}"
    subject = next(s for s in run.subjects if (s.tool, s.persona) == (cell.tool, cell.persona))
    was = trial.before or subject.decision, trial.p_before if trial.before else subject.p_ship
    return f"{cell.tool}, {trial.label}: {trial.decision} {trial.p_ship}, not {was[0]} {was[1]}"


def _threshold(run: Stability) -> Iterator[Broken]:
    """One half is a ship, and less is a skip."""

    def wrong(answer: Subject | Trial) -> bool:
        return answer.p_ship is not None and (answer.decision == "ship") != (answer.p_ship >= 0.5)

    for persona in run.about.personas:
        own = [s for s in run.subjects if s.persona == persona]
        failed = [s for s in own if wrong(s)]
        trials = [(c, t) for c in run.cells if c.persona == persona for t in c.trials]
        count = len(failed) + sum(wrong(t) for _, t in trials)
        if count:
            seen = [f"{s.tool}: {s.decision} at p_ship {s.p_ship}" for s in failed]
            seen += [f"{c.tool}, {c.probe}: {t.decision} at p_ship {t.p_ship}" for c, t in trials if wrong(t)]
            yield Broken(
                persona,
                "threshold",
                count,
                len(own) + len(trials),
                f"the {persona} does not decide at one half (threshold): {'; '.join(seen[:_EXAMPLES])}",
            )


def _copies(run: Stability) -> Iterator[Broken]:
    """No persona is another one: their pulls differ somewhere, by more than what their calibrations take off."""
    neutral = {slug: about.calibration.neutral for slug, about in run.about.personas.items()}
    pulls = {
        # a piece that was not read pulls nowhere, whoever was to read it
        (s.persona, s.tool): {id: pull + neutral[s.persona] if pull else 0.0 for id, pull in s.pulls.items()}
        for s in run.subjects
    }
    tools = sorted({s.tool for s in run.subjects})
    for one, other in itertools.combinations(run.about.personas, 2):
        rows = [(pulls.get((one, tool), {}), pulls.get((other, tool), {})) for tool in tools]
        said = [value for row, _ in rows for value in row.values()]
        # where nothing pulls, or everything pulls alike, two personas may well say the same
        if len(set(said)) > 2 and all(_alike(a, b) for a, b in rows):
            yield Broken(
                other,
                "copy",
                len(tools),
                len(tools),
                f"the {other} is a copy of the {one} (copy): every pull is the same on all {len(tools)} tools, so one "
                f"of the two adds nothing",
            )


def _alike(pulls: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Pulls are rounded to 3 decimals before and after; one of exactly nothing was taken off by the rounding."""
    both = [(pulls[id], others[id]) for id in pulls if id in others and pulls[id] and others[id]]
    return pulls.keys() == others.keys() and all(abs(a - b) < 0.0015 for a, b in both)


def _calibrations(run: Stability) -> Iterator[Broken]:
    """Each persona is judged with a calibration for this model on this engine."""
    for persona, about in run.about.personas.items():
        if not about.calibration.fitted:
            yield Broken(
                persona,
                "calibration",
                1,
                1,
                f"the {persona} has no calibration for {run.about.model} on {run.about.engine} (calibration), so its "
                f"p_ship says little; run: review-panel personas calibrate",
            )


def _foreign(run: Stability, then: Stability) -> Iterator[Broken]:
    """Nor with a calibration that is kept for another model, or for none, where the baseline had its own."""
    for persona, about in run.about.personas.items():
        was = then.about.personas.get(persona)
        if was is not None and was.own and about.calibration.fitted and not about.own:
            yield Broken(
                persona,
                "calibration",
                1,
                1,
                f"the {persona} is judged with the calibration of another model (calibration): it is not the one that "
                f"is kept for {run.about.model} on {run.about.engine}",
            )


def _priors(run: Stability) -> Iterator[Broken]:
    """What says nothing pulls nowhere: the prior is taken off."""
    for persona, mean in run.nothing.items():
        if abs(mean) > ROUNDING:
            yield Broken(
                persona,
                "prior",
                1,
                1,
                f"the {persona} is pulled by {mean:+.2f} nats by facts that say nothing (prior): they are the measure "
                f"of zero, and what they pull is not taken off",
            )


def _seeds(run: Stability, then: Stability) -> Iterator[Broken]:
    """Another seed writes another text, where it did so before."""
    for persona in run.about.personas:
        now, was = _texts(run, persona), _texts(then, persona)
        both = [tool for tool in now if len(now[tool]) > 1 and len(set(was.get(tool, []))) > 1]
        if both and all(len(set(now[tool])) == 1 for tool in both):
            yield Broken(
                persona,
                "live",
                len(both),
                len(both),
                f"the {persona} ignores its seed (live): it wrote the same text with {len(now[both[0]])} seeds on "
                f"{len(both)} tools, where the baseline has {len(set(was[both[0]]))} texts",
            )


def _texts(run: Stability, persona: str) -> dict[str, list[str]]:
    return {
        cell.tool: [trial.written for trial in cell.trials if trial.written]
        for cell in run.cells
        if cell.probe == "live" and cell.persona == persona
    }


def _prose(run: Stability, then: Stability) -> Iterator[Broken]:
    """A persona has prose to write with."""
    for persona, about in run.about.personas.items():
        was = then.about.personas.get(persona)
        if was is not None and about.voice < PROSE * was.voice:
            yield Broken(
                persona,
                "prose",
                was.voice - about.voice,
                was.voice,
                f"the {persona} has lost its prose (prose): {about.voice} words, where the baseline has {was.voice}",
            )


def _examples(run: Stability, then: Stability) -> Iterator[Broken]:
    """No example's label is turned against what the model makes of its fact: the baseline's label agreed with it.

    A model with an adapter is not shown the examples, so that no verdict would tell.
    """
    known = {(one.persona, one.fact): one for one in then.examples}
    for persona in run.about.personas:
        own = [one for one in run.examples if one.persona == persona]
        turned = [
            (one, was)
            for one in own
            if (was := known.get((persona, one.fact))) is not None
            and one.label != was.label
            and (was.log_odds > 0) == (was.label == "good")
        ]
        if turned:
            told = "; ".join(
                f"“{one.fact}” is called {one.label}, and weighed {was.log_odds:+.1f} nats" for one, was in turned
            )
            yield Broken(
                persona,
                "examples",
                len(turned),
                len(own),
                f"an example of the {persona} is labelled wrong (examples): {told}; the baseline has it the other way",
            )
