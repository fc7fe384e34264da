"""The figures as a picture: reviews per minute, seconds to the first review, memory, one bar per contender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.bench.figures import Figures
from panel.errors import SetupError
from panel.records import strip_unprintable

OURS, THEIRS, PALE = "#1b6b4a", "#4a5a78", 0.45


@dataclass(frozen=True)
class Bar:
    """One contender; `figures` is None where it has not run, and `why` says so."""

    label: str
    figures: Figures | None
    why: str = ""
    is_ours: bool = False


def check_plotting() -> None:
    """Raises `SetupError` where matplotlib is missing: better now than after ten minutes."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise SetupError(
            "the plot needs matplotlib, which is not installed here",
            field="--plot", fix="pip install 'review-panel[bench]', or add --no-plot",
        ) from error  # fmt: skip


def draw(bars: Sequence[Bar], ceiling_per_minute: float | None, title: str, path: Path) -> None:
    """Write the picture to `path` (PNG), the first of `bars` on top.

    Args:
        ceiling_per_minute: reviews that the engine's ceiling would allow; a dashed line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 1.9 + 0.62 * len(bars)), layout="constrained")
    FigureCanvasAgg(figure)
    rates, firsts, memory = figure.subplots(1, 3, sharey=True, width_ratios=(2.2, 1.3, 1))
    figure.suptitle(_plain(title), fontsize=11, x=0.01, ha="left")
    places = list(range(len(bars)))
    rates.set_yticks(places, [_plain(bar.label) for bar in bars])
    rates.invert_yaxis()
    for place, bar in zip(places, bars, strict=True):
        colour = OURS if bar.is_ours else THEIRS
        if bar.figures is None:
            for axis in (rates, firsts, memory):
                _say(axis, place, bar.why if axis is rates else "—")
            continue
        _rate(rates, place, bar.figures, colour)
        _value(firsts, place, bar.figures.first_review_s, colour, "{:.3g} s")
        peak = bar.figures.peak_bytes
        _value(memory, place, peak / 1e9 if peak else None, colour, "{:.2g} GB")
    if ceiling_per_minute:
        rates.axvline(ceiling_per_minute, color=OURS, linestyle="--", linewidth=1)
        rates.annotate(
            f"the engine's ceiling, {ceiling_per_minute:.3g}", (ceiling_per_minute, 1), xytext=(-4, 3),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="right", fontsize=8, color=OURS,
        )  # fmt: skip
    labels = (
        (rates, "well-formed reviews per minute (pale), also grounded (dark)"),
        (firsts, "seconds to the first review, loading included"),
        (memory, "peak memory, GB"),
    )
    for axis, label in labels:
        axis.set_xlim(0, axis.get_xlim()[1] * 1.35)  # room for the numbers
        axis.set_xlabel(label, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", alpha=0.25, linewidth=0.6)
    figure.savefig(path, dpi=130, metadata={"Software": ""})


def _rate(axis: Any, place: int, figures: Figures, colour: str) -> None:
    formed, grounded = figures.well_formed, figures.grounded
    if formed.upper is not None:
        axis.barh(place, formed.upper, color="none", edgecolor=colour, linestyle=":", height=0.6)
        _label(axis, place, formed.upper, f"0 of {formed.tries}: under {formed.upper:.2g}")
    elif formed.tries:
        axis.barh(place, formed.per_minute, color=colour, alpha=PALE, height=0.6)
        if grounded.valid:
            axis.barh(place, grounded.per_minute, color=colour, height=0.3)
        _label(axis, place, formed.per_minute, f"{formed.per_minute:.3g}, grounded {grounded.per_minute:.2g}")
    else:
        _say(axis, place, "no review was finished")


def _value(axis: Any, place: int, value: float | None, colour: str, form: str) -> None:
    if value is None:
        _say(axis, place, "—")
        return
    axis.barh(place, value, color=colour, alpha=PALE, height=0.6)
    _label(axis, place, value, form.format(value))


def _label(axis: Any, place: int, value: float, text: str) -> None:
    axis.annotate(
        text, (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _say(axis: Any, place: int, text: str) -> None:
    """Words in the place of a bar."""
    axis.annotate(
        _plain(text)[:60], (0.02, place), xycoords=("axes fraction", "data"), va="center",
        fontsize=8, color="#777777",
    )  # fmt: skip


def _plain(text: str) -> str:
    """Printable, and no formula to matplotlib."""
    return strip_unprintable(text).replace("$", r"\$")
