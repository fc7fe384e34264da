"""Did this change make the panel's verdicts less stable, less right, or merely different?

A run is held against a blessed one (`Baseline`), cell by cell. Three things can speak against it:

- a *promise* that the panel keeps by its construction is broken: one case is enough, for nothing here is random;
- a *figure* is worse over the tools, by more than its margin, in a sign-flip test after Holm's correction: `regress`;
- a figure is worse by more than its margin, but by so little or on so few tools that chance would do: `inconclusive`.

Whatever else differs is merely different: as many verdicts became right as wrong, or p_ship moved within its margin.
An unchanged tree gives the same answers to the last digit, so it passes however often it is run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from evals.compare import Pair, figure_findings
from evals.promises import Broken, broken
from evals.stability.missing import MissingRun
from evals.stability.record import About, Figure, Stability
from evals.stability.verdict import EXIT_CODES, Baseline, CellChange, Finding, Gate, Outcome
from evals.statistics.paired import smallest_share
from panel.errors import SetupError
from panel.files import write_atomic
from panel.inputs import parse_json

#: A run of all cases and probes takes some 10 MB; what is read is also parsed, so there is a limit.
MAX_BYTES = 64 << 20


def run_sha256(run: Stability) -> str:
    return hashlib.sha256(json.dumps(run.model_dump(mode="json", by_alias=True), sort_keys=True).encode()).hexdigest()


def bless(run: Stability, *, who: str, why: str, when: str = "") -> Baseline:
    """A baseline that `who` answers for.

    Raises:
        SetupError: the run does not keep its promises, so nothing could be told from it.
    """
    problems = unreliable(run)
    if problems:
        raise SetupError(f"this run is no baseline: {problems[0]}", fix="mend that first, and run it again")
    if not (who.strip() and why.strip()):
        raise SetupError("a baseline needs somebody who answers for it", field="--who", fix="say who blesses, and why")
    when = when or datetime.now(UTC).date().isoformat()
    return Baseline(who=who.strip(), why=why.strip(), when=when, sha256=run_sha256(run), run=run)


def load_baseline(path: Path) -> Baseline:
    """Raises `SetupError` where the file is missing or is no baseline."""
    return parse_json(Baseline, path, "baseline", limit=MAX_BYTES)


def load_run(path: Path) -> Stability:
    """Raises `SetupError` where the file is missing or is no run."""
    return parse_json(Stability, path, "stability run", limit=MAX_BYTES)


def save(path: Path, baseline: Baseline, run_json: str) -> None:
    """Written so that a difference of two baselines can be read; `run_json` is the run as it writes itself."""
    head = baseline.model_dump(mode="json", by_alias=True, exclude={"run"})
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    write_atomic(path, "{\n" + ",\n".join([*lines, f'"run": {run_json.rstrip()}']) + "\n}\n")


# ------------------------------------------------------------------------------------------------- the decision


def judge(run: Stability, baseline: Baseline) -> Gate:
    """What the gate says of `run`."""
    then = baseline.run
    if problems := not_comparable(run, then):
        return _stopped("not comparable", f"{problems[0]} {_left_out(run)}", problems[1:])
    problems = unreliable(then)
    if run_sha256(then) != baseline.sha256:
        problems.insert(0, "its file was changed after it was blessed")
    if problems:
        blessed = f"the baseline that {baseline.who} blessed on {baseline.when} cannot be relied on"
        return _stopped("unreliable baseline", f"{blessed}: {problems[0]}.", problems[1:])
    pair = Pair.of(run, then)
    findings = [_of_promise(one) for one in broken(run, then)] + figure_findings(pair)
    changes = tuple(pair.changes())
    worst = next((f for f in findings if f.counts == "regress"), None)
    unsure = next((f for f in findings if f.counts == "inconclusive"), None)
    compared = pair.compared()
    least = smallest_share(len(pair.tools))
    smallest = {} if math.isnan(least) else {"share of tools that a change must spoil": round(least, 4)}
    outcome: Outcome
    if worst is not None:
        more = sum(f.counts == "regress" for f in findings) - 1
        outcome, sentence = "regress", worst.sentence + (f"; {more} more below." if more else "")
    elif unsure is not None:
        outcome, sentence = "inconclusive", unsure.sentence
    elif changes:
        outcome, sentence = "pass", _merely_different(changes, compared)
    else:
        outcome, sentence = "pass", f"All {compared} verdicts are those of the baseline."
    return Gate(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        sentence=f"{outcome.capitalize()}: {sentence}",
        findings=tuple(findings),
        changes=changes,
        compared=compared,
        identical=compared - len(changes),
        smallest=smallest,
        notes=tuple(_notes(run, then)),
    )


def lacking(error: MissingRun, baseline: Baseline) -> Gate:
    """What the gate says where a replay lacks answers."""
    changed = list(_changed(error.about, baseline.run.about)) if error.about is not None else []
    why = f" {changed[0].capitalize()}." if changed else ""
    advice = "Run it live to see what it does (make gate-live); keep and bless its answers (make baseline)."
    # what nobody can look up is told by its rows
    rows = [f"{one.answers} answers of {one.persona} under {one.probe}" for one in error.missing]
    return _stopped(
        "missing answers", f"nothing was compared. {_upper(error.what())}.{why} {advice}", changed[1:] + rows
    )


def _changed(now: About, then: About) -> Iterator[str]:
    """What a replay can no longer stand on, since the baseline."""
    for slug, persona in now.personas.items():
        was = then.personas.get(slug)
        if was is not None and was.prompt != persona.prompt:
            yield f"the prompt that the {slug} weighs with has changed since the baseline"
        elif was is not None and was.text != persona.text:
            yield f"the file of {slug} has changed since the baseline"
    if now.prompts_sha256 != then.prompts_sha256:
        yield "a file of prompts/ has changed since the baseline"
    for tool, sha256 in now.cases.items():
        if then.cases.get(tool) != sha256:
            yield f"the case {tool} is not that of the baseline"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _merely_different(changes: Sequence[CellChange], compared: int) -> str:
    plain = [change for change in changes if change.probe == "gold"]
    gained, lost = sum(c.right == "now" for c in plain), sum(c.right == "then" for c in plain)
    personas = ", ".join(sorted({change.persona for change in changes}))
    return (
        f"merely different. {len(changes)} of {compared} verdicts changed ({personas}); of the tools as written "
        f"{gained} became right and {lost} wrong, and no probe holds less often."
    )


def _stopped(outcome: Outcome, sentence: str, notes: Sequence[str]) -> Gate:
    return Gate(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        sentence=f"{outcome.capitalize()}: {sentence}",
        notes=tuple(notes),
    )


def not_comparable(run: Stability, then: Stability) -> list[str]:
    """Why nothing can be said of `run` beside `then`, one sentence each; nothing where something can."""
    found = []
    for what, now, was in (
        ("the model", (run.about.model, run.about.model_sha256), (then.about.model, then.about.model_sha256)),
        ("the adapter", ("", run.about.adapter_sha256), ("", then.about.adapter_sha256)),
        ("the engine", (run.about.engine, ""), (then.about.engine, "")),
    ):
        if now != was:
            found.append(f"{what} is another one ({_named(now)}, the baseline has {_named(was)}).")
    for tool, sha256 in run.about.cases.items():
        if tool not in then.about.cases:
            found.append(f"the case {tool} is not in the baseline.")
        elif then.about.cases[tool] != sha256:
            found.append(f"the case {tool} is not what it was.")
    known = {probe.name: probe for probe in then.probes}
    for probe in run.probes:
        if probe.name in known and probe.sha256 != known[probe.name].sha256:
            found.append(f"the probe {probe.name} does not do what it did.")
    for name, value in run.about.settings.items():
        if then.about.settings.get(name, value) != value:
            found.append(f"there were {then.about.settings[name]} {name}, and now {value}.")
    return found


def _named(pair: tuple[str, str]) -> str:
    return " ".join(part for part in (pair[0], pair[1][:12]) if part) or "none"


def _left_out(run: Stability) -> str:
    personas = ", ".join(run.about.personas)
    probes = ", ".join(probe.name for probe in run.probes if not probe.unavailable) or "gold"
    return f"Nothing was compared, of no persona ({personas}) and no probe ({probes}): bless a run of the new one."


def unreliable(then: Stability) -> list[str]:
    """Why a run is no measure for another one."""
    found = [one.sentence for one in broken(then)]
    unscored = sum(t.decision == "unscored" for cell in then.cells for t in cell.trials)
    if unscored:
        found.append(f"{unscored} of its trials are unscored")
    if not then.subjects:
        found.append("it has no verdicts")
    return found


def _of_promise(one: Broken) -> Finding:
    return Finding(
        persona=one.persona,
        probe=one.probe,
        what="a promise is broken",
        worse=True,
        exact=True,
        effect=Figure(value=round(-one.count / one.of, 4), n=one.of),
        unit="share of cases",
        lost=one.count,
        counts="regress",
        sentence=one.sentence,
    )


def _notes(run: Stability, then: Stability) -> Iterator[str]:
    if run.about.engine_version != then.about.engine_version:
        yield f"another version of the engine: {run.about.engine_version}, the baseline has {then.about.engine_version}"
    if run.about.prompts_sha256 != then.about.prompts_sha256:
        yield "the prompts are not those of the baseline"
    for slug, persona in run.about.personas.items():
        was = then.about.personas.get(slug)
        if was is not None and was.text != persona.text:
            yield f"the file of {slug} is not that of the baseline"
        if was is not None and was.calibration != persona.calibration:
            yield f"the calibration of {slug} is not that of the baseline"
    left = [tool for tool in then.about.cases if tool not in run.about.cases]
    if left:
        yield f"{len(left)} of the baseline's {len(then.about.cases)} cases were not run"
    names = {probe.name for probe in run.probes}
    if missing := [probe.name for probe in then.probes if probe.name not in names]:
        yield f"probes of the baseline that were not run: {', '.join(missing)}"
