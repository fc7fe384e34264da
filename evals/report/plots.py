"""Where the points of a plot stand. The templates draw them; both axes of every plot run from 0 to 1."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from evals.report.names import FAMILIES, persona_name, plural
from evals.stability import show
from evals.stability.record import Expects, PersonaFigures, Stability

#: The square of the plot in its drawing, in units of the drawing.
LEFT, TOP, SIZE = 46.0, 8.0, 200.0
#: p_ship may move so much under a probe that should not move it at all, and there is still nothing to plot.
STILL = 0.005

Wrong = Literal["corners", "above", "below"]


@dataclass(frozen=True)
class Dot:
    """One step of a calibration curve."""

    x: str
    y: str
    low: str
    high: str
    r: str


@dataclass(frozen=True)
class Curve:
    title: str
    told: str
    dots: tuple[Dot, ...]

    @property
    def line(self) -> str:
        return " ".join(f"{dot.x},{dot.y}" for dot in self.dots)


@dataclass(frozen=True)
class Scatter:
    """`held` and `failed` are points ("x y"); in the parts of the square that `wrong` names none should be."""

    title: str
    told: str
    x_axis: str
    y_axis: str
    wrong: Wrong
    held: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]


def _x(p: float) -> str:
    return f"{LEFT + SIZE * p:.1f}"


def _y(p: float) -> str:
    return f"{TOP + SIZE * (1 - p):.1f}"


def curve(figures: PersonaFigures) -> Curve:
    """Gold's share of ships by p_ship; a dot's area goes with the number of verdicts."""
    steps = [step for step in figures.curve if step.p_ship is not None and step.ships.value is not None]
    most = max((step.n for step in steps), default=1)
    dots, told = [], []
    for step in steps:
        p, ships = step.p_ship or 0.0, step.ships
        value = ships.value or 0.0
        low, high = (value if end is None else end for end in (ships.low, ships.high))
        dots.append(Dot(_x(p), _y(value), _y(low), _y(high), f"{1.5 + 5 * math.sqrt(step.n / most):.1f}"))
        told.append(f"p_ship {step.low:g} to {step.high:g}: {plural(step.n, 'verdict')}, {show.share(ships)} are ships")
    return Curve(persona_name(figures.persona), "; ".join(told) or "no verdicts", tuple(dots))


def scatters(run: Stability, then: Stability | None) -> list[Scatter]:
    """p_ship before and after: since the baseline, and under each family of probes in which it moved."""
    found = []
    if then is not None:
        was = {(s.tool, s.persona): s for s in then.subjects}
        pairs = [
            (was[s.tool, s.persona].p_ship, s.p_ship, s.decision == was[s.tool, s.persona].decision)
            for s in run.subjects
            if (s.tool, s.persona) in was
        ]
        found.append(_scatter("As written, since the baseline", "the baseline’s p_ship", "p_ship now", "same", pairs))
    points: dict[tuple[str, Expects], list[tuple[float | None, float | None, bool]]] = defaultdict(list)
    probes = {probe.name: probe for probe in run.probes}
    subjects = {(s.tool, s.persona): s for s in run.subjects}
    for cell in run.cells:
        probe, subject = probes[cell.probe], subjects[cell.tool, cell.persona]
        for trial in cell.trials:
            before = subject.p_ship if trial.before is None else trial.p_before
            points[probe.family, probe.expects].append((before, trial.p_ship, trial.held))
    titles: Iterator[tuple[str, Expects, str]] = (
        (
            family,
            expects,
            name + {"same": "", "lower": ", p_ship should fall", "higher": ", p_ship should rise"}[expects],
        )
        for family, (name, _) in FAMILIES.items()
        for expects in ("same", "lower", "higher")
    )
    for family, expects, title in titles:
        own = points[family, expects]
        if any(abs(a - b) > STILL for a, b, _ in own if a is not None and b is not None):
            found.append(_scatter(title, "p_ship before", "p_ship after", expects, own))
    return found


def _scatter(
    title: str, x_axis: str, y_axis: str, expects: Expects, points: Iterable[tuple[float | None, float | None, bool]]
) -> Scatter:
    known = [(a, b, held) for a, b, held in points if a is not None and b is not None]
    held = {(_x(a), _y(b)) for a, b, is_so in known if is_so}
    failed = {(_x(a), _y(b)) for a, b, is_so in known if not is_so}
    places: dict[Expects, Wrong] = {"same": "corners", "lower": "above", "higher": "below"}
    wrong = places[expects]
    lost = sum(not is_so for *_, is_so in known)
    what = "are other ones" if wrong == "corners" else "do not move the right way"
    mean = math.fsum(b - a for a, b, _ in known) / len(known) if known else 0.0
    by = f"{mean:+.3f}".replace("-", "−")
    told = f"{plural(len(known), 'verdict')}; p_ship moves by {by} on average; ✗ {lost} {what}"
    return Scatter(title, told, x_axis, y_axis, wrong, tuple(sorted(held)), tuple(sorted(failed)))
