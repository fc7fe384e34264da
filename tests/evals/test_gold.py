"""The figures against gold, of judges whose every figure is known beforehand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals import gold
from evals.bank import Bank
from evals.baselines import always_ship
from evals.gold import Verdict, correlation, judge_baseline, judge_panel, sign_aucs, summary
from evals.intervals import Estimate, wilson
from panel.decide import decide
from panel.errors import SetupError
from panel.gold import Case
from panel.prompts import Prompts
from panel.records import PERSONA_SLUGS, Pull
from tests.evals.judges import (
    FINE,
    GOOD,
    POOR,
    SPLIT,
    TOOLS,
    Opinion,
    alike,
    coin,
    constant,
    contrary,
    judge,
    perfect,
    tool,
    write_cases,
)

EXACTLY_HALF = Estimate(0.5, 0.5, 0.5)


@pytest.fixture
def verdicts(prompts: Prompts, tmp_path: Path) -> Callable[..., list[Verdict]]:
    """What the four personas, alike but for their taste, say on an engine of this opinion."""

    number = itertools.count()  # a bank keeps what a judge of this name has said

    def of(opinion: Opinion, cases: tuple[Case, ...] = TOOLS, *, intercept: float = 0.0) -> list[Verdict]:
        personas = alike(intercept=intercept)
        bank = Bank(judge(opinion, name=f"judge {next(number)}"), prompts, personas, tmp_path)
        return judge_panel(bank, personas, cases)

    return of


@pytest.fixture
def aucs(prompts: Prompts, tmp_path: Path) -> Callable[..., dict[str, Estimate]]:
    number = itertools.count()

    def of(opinion: Opinion, cases: tuple[Case, ...] = TOOLS) -> dict[str, Estimate]:
        bank = Bank(judge(opinion, name=f"judge {next(number)}"), prompts, alike(), tmp_path)
        bank.load(item for case in cases for item in case.dossier.evidence)
        return sign_aucs(bank, alike(), cases)

    return of


# ------------------------------------------------------------------------------------------------------- judges


def test_a_perfect_judge(verdicts: Callable[..., list[Verdict]], aucs: Callable[..., dict[str, Estimate]]) -> None:
    found = verdicts(perfect)
    assert [v.right for v in found] == [True] * 16
    pulls = [Pull(evidence=f"E{n}", log_odds=value) for n, value in enumerate((2.0, 2.0, 2.0, -2.0), 1)]
    expected = decide(alike()[0], FINE.dossier.evidence, pulls)[1]
    assert {(v.persona, v.p_ship) for v in found if v.tool == "fine"} == {(slug, expected) for slug in PERSONA_SLUGS}
    assert [v.persona for v in found if v.tool == "split" and v.p_ship >= 0.5] == ["builder"]
    figures = summary(found)
    assert (figures["right"], figures["clear"], figures["split"]) == (wilson(16, 16), wilson(12, 12), wilson(4, 4))
    assert aucs(perfect) == {slug: Estimate(1.0, 1.0, 1.0) for slug in PERSONA_SLUGS}


def test_a_contrary_judge(verdicts: Callable[..., list[Verdict]], aucs: Callable[..., dict[str, Estimate]]) -> None:
    assert summary(verdicts(contrary))["right"] == wilson(0, 16)
    assert aucs(contrary) == {slug: Estimate(0.0, 0.0, 0.0) for slug in PERSONA_SLUGS}


def test_a_constant_judge(verdicts: Callable[..., list[Verdict]], aucs: Callable[..., dict[str, Estimate]]) -> None:
    """It says 0.5 of everything, which counts as ship: right on the 9 ships of 16, and (±½)² everywhere."""
    figures = summary(verdicts(constant))
    assert (figures["right"], figures["clear"], figures["split"]) == (wilson(9, 16), wilson(8, 12), wilson(1, 4))
    assert figures["brier"] == Estimate(0.25, 0.25, 0.25)
    assert aucs(constant) == dict.fromkeys(PERSONA_SLUGS, EXACTLY_HALF)


@pytest.mark.parametrize(("intercept", "right", "p"), [(2.0, 9, 0.8808), (-2.0, 7, 0.1192)])
def test_a_judge_that_says_one_thing_of_all(
    intercept: float, right: int, p: float, verdicts: Callable[..., list[Verdict]]
) -> None:
    """With an intercept of ±2 it always ships or always skips; the Brier score is the mean of two squares."""
    found = verdicts(constant, intercept=intercept)
    assert {v.p_ship for v in found} == {p}
    assert summary(found)["right"] == wilson(right, 16)
    assert summary(found)["brier"].value == pytest.approx((9 * (1 - p) ** 2 + 7 * p**2) / 16)


def test_a_coin(verdicts: Callable[..., list[Verdict]], aucs: Callable[..., dict[str, Estimate]]) -> None:
    """Of 60 tools of 8 facts, half of them good: half right, and no fact told from another."""
    words = {True: "of kind {} works well", False: "of kind {} often fails"}
    cases = tuple(tool(f"t{n}", *(words[n % 2 == 0].format(f"{n}-{k}") for k in range(8))) for n in range(60))
    right = summary(verdicts(coin, cases))["right"]
    assert right.low < 0.5 < right.high
    assert right.high - right.low < 0.13  # 240 verdicts: 2 · 1.96 · √(0.25 / 240) = 0.126
    found = aucs(coin, cases)
    assert all(estimate.low < 0.5 < estimate.high for estimate in found.values())
    assert len({estimate.value for estimate in found.values()}) == 4


def test_a_judge_without_taste_misses_the_split_tools(verdicts: Callable[..., list[Verdict]]) -> None:
    """It likes what the builder likes, whoever asks: right for one of four where they differ, else for all."""
    figures = summary(verdicts(lambda fact, slug: perfect(fact, "builder")))
    assert (figures["clear"], figures["split"]) == (wilson(12, 12), wilson(1, 4))


def test_signs_are_counted_per_persona_and_over_tools(aucs: Callable[..., dict[str, Estimate]]) -> None:
    """On the split tool alone the builder has good facts only and the others bad ones only: nothing to tell apart.
    With the poor tool there are 4 good facts to 3 bad ones for the builder, 1 to 6 for the others. What gold gives no
    sign is no good one and no bad one, whatever the judge thinks of it."""
    assert all(str(estimate.value) == "nan" for estimate in aucs(perfect, (SPLIT,)).values())

    def blind_to_pleasing(fact: str, slug: str) -> float:
        return 0.0 if "pleases" in fact else perfect(fact, slug)

    found = aucs(blind_to_pleasing, (POOR, SPLIT))
    # builder: good are 0, 0, 0, 2 and bad −2, −2, −2: all 12 pairs in order
    assert found["builder"].value == 1.0
    # the others: good is 2, bad 0, 0, 0, −2, −2, −2: all 6
    assert found["futurist"].value == 1.0

    def fond_of_pleasing(fact: str, slug: str) -> float:
        return 3.0 if "pleases" in fact else perfect(fact, slug)

    # the others: 2 against 3, 3, 3, −2, −2, −2: 3 of 6
    assert aucs(fond_of_pleasing, (POOR, SPLIT))["futurist"].value == pytest.approx(0.5)

    def fond_of_blue(fact: str, slug: str) -> float:
        return 5.0 if "blue" in fact else -5.0 if "red" in fact else perfect(fact, slug)

    painted = tool("painted", "of one works well", "of two often fails", "of three is blue", "of four is red")
    assert {estimate.value for estimate in aucs(fond_of_blue, (painted,)).values()} == {1.0}


# ------------------------------------------------------------------------------------------------------ figures


def test_a_summary_by_hand() -> None:
    """Right: 0.9 ship, 0.5 ship, 0.2 skip; wrong: 0.4 ship. Squares: 0.01, 0.25, 0.04, 0.36; mean 0.165. A tool is
    drawn
    whole: a holds 0.01 and 0.25 (mean 0.13), b 0.04 and 0.36 (0.2), so it is 0.13 to 0.2."""
    found = [
        Verdict("a", "builder", True, 0.9, True),
        Verdict("b", "builder", False, 0.2, False),
        Verdict("a", "futurist", True, 0.5, True),
        Verdict("b", "futurist", False, 0.4, True),
    ]
    figures = summary(found)
    assert (figures["right"], figures["clear"], figures["split"]) == (wilson(3, 4), wilson(2, 2), wilson(1, 2))
    brier = figures["brier"]
    assert (brier.value, brier.low, brier.high) == pytest.approx((0.165, 0.13, 0.2))
    assert summary(found[::-1]) == figures


def test_correlation_by_hand() -> None:
    """Two go up where two go down: of six pairs two correlate at 1 and four at −1, which is −1/3 in the mean."""
    up, down = (0.1, 0.5, 0.6), (0.9, 0.5, 0.4)
    taste = dict(zip(PERSONA_SLUGS, (up, down, up, down), strict=True))
    found = [Verdict(t, slug, True, p, True) for slug in PERSONA_SLUGS for t, p in zip("abc", taste[slug], strict=True)]
    assert correlation(found) == pytest.approx(-1 / 3)
    one = [Verdict(v.tool, v.persona, True, dict(zip("abc", up, strict=True))[v.tool], True) for v in found]
    assert correlation(one) == pytest.approx(1.0)


# ---------------------------------------------------------------------------------------------------- baselines


def test_a_baseline_is_fitted_on_train_and_judged_elsewhere() -> None:
    """It has a number for each tool: 1 where the first fact is good. On train that is the verdict, and so on dev."""

    def first(persona: Any, cases: Any) -> list[float]:
        return [float("works" in case.dossier.evidence[0].text) for case in cases]

    train = [GOOD, POOR, tool("more", "works well"), tool("less", "often fails")]
    found = judge_baseline(first, alike(), train, [FINE, tool("last", "often fails")])
    assert [(v.tool, v.right) for v in found if v.persona == "futurist"] == [("fine", True), ("last", True)]
    # where train teaches the opposite, the same judge is turned round
    inverted = [Case(a.dossier, b.gold) for a, b in zip(train, [POOR, GOOD, POOR, GOOD], strict=True)]
    assert not any(v.right for v in judge_baseline(first, alike(), inverted, [FINE]))


def test_a_constant_says_what_most_of_train_is() -> None:
    """2 of 3 shipped: p is 2/3 of every tool, and (1/3)² where it ships, (2/3)² where it does not. With the split tool
    it is 3 of 4 for the builder, and 2 of 4 for the others; where fewer shipped it is still ½."""
    found = judge_baseline(always_ship, alike(), [GOOD, FINE, POOR], [GOOD, POOR])
    assert {v.p_ship for v in found} == {2 / 3}
    assert summary(found)["right"] == wilson(4, 8)
    assert summary(found)["brier"].value == pytest.approx((4 * 1 / 9 + 4 * 4 / 9) / 8)
    found = judge_baseline(always_ship, alike(), TOOLS, [GOOD])
    assert [v.p_ship for v in found] == [0.75, 0.5, 0.5, 0.5]
    assert {v.p_ship for v in judge_baseline(always_ship, alike(), [GOOD, POOR, POOR], [POOR])} == {0.5}


# ------------------------------------------------------------------------------------------------- the command


def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opinion: Opinion, *arguments: str) -> Any:
    """`python -m evals.gold` on hand-written cases and a judge for an engine."""
    monkeypatch.setattr(gold, "open_cached", lambda engine, model: judge(opinion, name=opinion.__name__))
    more = [tool("more", "of one works well"), tool("less", "of two often fails")]
    monkeypatch.setattr(
        gold,
        "CASES",
        write_cases(
            tmp_path,
            train=more,
            dev=TOOLS,
            test=[tool("nice", "of three works well"), tool("nasty", "of four often fails")],
        ),
    )
    return CliRunner().invoke(gold.app, ["--out", str(tmp_path / "bank"), *arguments])


def test_the_command_on_a_perfect_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command(tmp_path, monkeypatch, perfect, "--json", "--baselines")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["part"], found["tools"], found["wrong"]) == ("dev", 4, [])
    assert all(estimate == vars(Estimate(1.0, 1.0, 1.0)) for estimate in found["signs"].values())
    # The panel; a constant, which says ½ of all; words of praise, which do not know whom the split tool pleases; and a
    # judge that is asked for " ship", knows " good" alone, and so says ½ as well.
    assert [entry["right"] for entry in found["judges"].values()] == [
        vars(wilson(right, 16)) for right in (16, 9, 13, 9)
    ]
    # two that all ship, one that none does, and one for the builder alone
    assert found["confusion"]["builder"] == {"ship_ship": 3, "ship_skip": 0, "skip_ship": 0, "skip_skip": 1}
    assert found["confusion"]["futurist"] == {"ship_ship": 2, "ship_skip": 0, "skip_ship": 0, "skip_skip": 2}
    assert sum(step["n"] for step in found["curve"]) == 16
    assert [step["ships"]["value"] for step in found["curve"]] == [float(s["low"] >= 0.5) for s in found["curve"]]


def test_the_table_names_what_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command(tmp_path, monkeypatch, contrary, "--part", "test")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == list(PERSONA_SLUGS)
    assert all("0.000 (0.000–0.000)" in line for line in lines[1:5])
    named = [part.split()[0] for part in lines[-1].removeprefix("wrong: ").split(", ")]
    assert named == [f"{tool}/{slug}" for slug in PERSONA_SLUGS for tool in ("nice", "nasty")]


def test_an_unknown_part_is_refused() -> None:
    done = CliRunner().invoke(gold.app, ["--part", "all"])
    assert isinstance(done.exception, SetupError)
    assert done.exception.field == "--part"
