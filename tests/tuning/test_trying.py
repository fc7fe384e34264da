"""A file that is watched while editors do to it what they do, and a persona that is tried again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from panel.engines.answers import AnswerStore
from panel.engines.cached import CachedEngine
from panel.engines.identity import Identity
from panel.engines.scripted import ScriptedEngine
from panel.errors import EngineError, SetupError
from panel.prompts import Prompts
from panel.records import Calibration, Dossier, Persona
from panel.tuning.trying import Bench, moved_pulls, saves
from tests.scripted import scripted_engine

Named = Callable[[str], Persona]


# --------------------------------------------------------------------------------------------------------- the file


class Desk:
    """What happens to the file between two looks at it, one deed for each look; when none is left, the day is over."""

    class OverError(Exception):
        pass

    def __init__(self, path: Path, *deeds: Callable[[Path], object]) -> None:
        self._path, self._deeds = path, iter(deeds)

    def sleep(self, _seconds: float) -> None:
        deed = next(self._deeds, None)
        if deed is None:
            raise self.OverError
        deed(self._path)

    def told(self, last: str) -> Iterator[str]:
        with contextlib.suppress(self.OverError):
            for saved in saves(self._path, last, sleep=self.sleep):
                yield f"{saved}"


def wait(_: Path) -> None:
    """Nothing happens."""


def writes(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding="utf-8")


def replaces(text: str) -> Callable[[Path], object]:
    """As editors do that write another file and rename it."""

    def deed(path: Path) -> None:
        other = path.with_suffix(".swp")
        other.write_text(text, encoding="utf-8")
        other.replace(path)

    return deed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "builder.md"
    found.write_text("one", encoding="utf-8")
    return found


def test_each_save_is_told_once(path: Path) -> None:
    desk = Desk(path, wait, wait, writes("two"), wait, wait, wait, replaces("three"), wait, wait)
    assert list(desk.told("one")) == ["two", "three"]


def test_a_save_that_changes_nothing_is_none(path: Path) -> None:
    assert list(Desk(path, writes("one"), wait, replaces("one"), wait).told("one")) == []


def test_half_a_save_is_not_read(path: Path) -> None:
    """A file that still grows between two looks is left alone until it rests."""
    desk = Desk(path, wait, writes("tw"), writes("two, and mo"), writes("two, and more"), wait)
    assert list(desk.told("one")) == ["two, and more"]


def test_a_file_that_is_gone_for_a_moment_is_waited_for(path: Path) -> None:
    desk = Desk(path, wait, wait, Path.unlink, wait, wait, writes("again"), wait)
    assert list(desk.told("one")) == ["again"]


def test_what_cannot_be_read_is_told_and_the_next_save_goes_on(path: Path) -> None:
    desk = Desk(path, lambda p: p.write_bytes(b"\xff\xfe\x00"), wait, writes("mended"), wait)
    first, second = desk.told("one")
    assert "builder.md" in first
    assert second == "mended"


# -------------------------------------------------------------------------------------------------------- the bench


@pytest.fixture
def bench(dossier: Dossier, prompts: Prompts, personas: tuple[Persona, ...], tmp_path: Path) -> Callable[..., Bench]:
    def make(engine: ScriptedEngine | None = None, **failing: EngineError) -> Bench:
        inner = engine or scripted_engine(personas)

        def load() -> ScriptedEngine:
            if failing:
                raise failing["error"]
            return inner

        cached = CachedEngine(Identity(inner.info, {}), load, AnswerStore(tmp_path / "answers.sqlite"))
        return Bench(cached, prompts, [dossier], tmp_path, tmp_path / "out")

    return make


def calibrated(persona: Persona) -> Persona:
    return persona.model_copy(update={"calibration": Calibration(fitted=True, strengths=0.7, weaknesses=0.7)})


def test_only_what_an_edit_changes_is_computed(bench: Callable[..., Bench], persona: Named) -> None:
    """A lens asks for nothing new; an audience for the 3 + 10 facts that it hears, and for what is written of them."""
    one = persona("builder")
    table = bench()
    first = table.try_out(one)
    assert first.computed > 20
    again = table.try_out(one)
    assert (again.computed, again.kept) == (0, 0), "finished reviews ask for nothing"
    assert again.reviews == first.reviews
    lens = table.try_out(one.model_copy(update={"lens": {**one.lens, "docs": 2.0}}), first)
    assert lens.computed == 0
    assert lens.kept > 20
    heard = table.try_out(one.model_copy(update={"audience": "a programmer"}), first)
    assert 13 <= heard.computed < first.computed


def test_a_version_without_a_calibration_borrows(bench: Callable[..., Bench], persona: Named) -> None:
    one = persona("builder")
    table = bench()
    first = table.try_out(one)
    assert not first.borrowed
    fitted = type(first)(calibrated(one), first.reviews, False, 0, 0, 0.0)
    later = table.try_out(one.model_copy(update={"audience": "a programmer"}), fitted)
    assert later.borrowed
    assert later.persona.calibration == calibrated(one).calibration


def test_pulls_that_moved_come_first_where_they_moved_most(bench: Callable[..., Bench], persona: Named) -> None:
    (review,) = bench().try_out(persona("builder")).reviews.values()
    moves = {"E2": 0.04, "E5": -1.5, "E9": 0.3}
    after = review.model_copy(
        update={"pulls": tuple(p.model_copy(update={"log_odds": p.log_odds + moves.get(p.evidence, 0.0)})
                               for p in review.pulls)}
    )  # fmt: skip
    assert [evidence for evidence, _, _ in moved_pulls(review, after)] == ["E5", "E9"]


def test_the_model_is_loaded_while_nobody_waits(bench: Callable[..., Bench], persona: Named) -> None:
    table = bench()
    table.load_ahead().join()
    assert table._engine.opened


def test_a_model_that_cannot_be_loaded_is_told_of_when_it_is_needed(
    bench: Callable[..., Bench], persona: Named
) -> None:
    table = bench(error=EngineError("the cable is out"))
    table.load_ahead().join()
    with pytest.raises((EngineError, SetupError), match="the cable is out"):
        table.try_out(persona("builder"))
