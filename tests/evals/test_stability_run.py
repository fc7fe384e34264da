"""The run: deterministic, resumable, blind to the order of the cases; and what it finds of judges that are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import panel.engines
from evals import cli
from evals.stability import changes
from evals.stability.identity import code_sha256
from evals.stability.record import ProbeFigures, Stability
from evals.stability.run import to_json
from panel.cli.app import app
from panel.errors import SetupError
from panel.gold import Case
from tests.evals.judges import alike, write_cases
from tests.evals.world import engine, judged, taste, world, write_probes


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return world(12)


@pytest.fixture(scope="module", autouse=True)
def probes(tmp_path_factory: pytest.TempPathFactory, cases: list[Case]) -> Iterator[Path]:
    folder = write_probes(tmp_path_factory.mktemp("probes"), cases)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "PROBES", folder)
        yield folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cases: list[Case]) -> Stability:
    return judged(tmp_path_factory.mktemp("run"), cases)


def found(run: Stability, probe: str, persona: str = "all") -> ProbeFigures:
    return next(f for f in run.figures.probes if (f.probe, f.persona) == (probe, persona))


def test_a_judge_of_single_facts_keeps_every_promise(run: Stability) -> None:
    for probe in run.probes:
        if probe.exact:
            assert found(run, probe.name).held.value == 1.0, probe.name
            assert found(run, probe.name).largest == 0.0
    assert found(run, "order").consistency is not None
    assert found(run, "severe").held.value == 1.0
    assert {probe.name for probe in run.probes if probe.unavailable} == {"engine", "quantisation"}


def test_directional_probes_ask_those_whom_they_concern(run: Stability) -> None:
    assert {cell.persona for cell in run.cells if cell.probe == "price-doubled"} == {"business-buyer"}
    assert len(next(cell for cell in run.cells if cell.probe == "price-doubled").trials) == 2


def test_a_constant_judge_never_flips_and_fails_every_directional_probe(tmp_path: Path, cases: list[Case]) -> None:
    run = judged(tmp_path, cases, by=engine(lambda fact, slug: 0.0))
    for probe in run.probes:
        if not probe.unavailable:
            figures = found(run, probe.name)
            assert figures.flips.value == 0.0
            assert figures.held.value == (0.0 if probe.family == "directional" else 1.0)
    assert run.figures.agreement.between.value is None
    assert "one category" in run.figures.agreement.between.undefined
    assert all(p.decoration for p in run.figures.personas if p.persona != "all")


def test_a_judge_that_goes_by_the_words_flips_when_they_change(tmp_path: Path, cases: list[Case]) -> None:
    """It takes "Surely" for a fault; its verdicts as written are as before. What flipped says what stood there."""

    def literal(fact: str, slug: str) -> float:
        return -1.5 if fact.startswith("Surely") else 2 * taste(fact, slug)

    run = judged(tmp_path, cases, by=engine(literal), only=["rewording", "order"])
    figures = found(run, "rewording")
    assert figures.flips.value is not None
    assert 0.2 < figures.flips.value <= 0.5
    flipped = [trial for cell in run.cells if cell.probe == "rewording" for trial in cell.trials if trial.flip]
    assert {trial.label for trial in flipped} == {"wording 1"}
    assert flipped[0].edits[0].after == f"Surely, {flipped[0].edits[0].before}"
    assert found(run, "order").flips.value == 0.0


def test_a_persona_that_repeats_another_is_decoration(tmp_path: Path, cases: list[Case]) -> None:
    """The futurist thinks what the builder thinks, to the last digit."""
    run = judged(
        tmp_path,
        cases,
        by=engine(lambda fact, slug: taste(fact, "builder" if slug == "futurist" else slug)),
        only=["rewording"],
    )
    marks = {p.persona: p.decoration for p in run.figures.personas}
    assert marks["futurist"]
    assert marks["builder"]
    assert not marks["business-buyer"]


def test_the_same_answers_give_the_same_bytes_in_any_order(tmp_path: Path, cases: list[Case], run: Stability) -> None:
    again = judged(tmp_path, cases[::-1])
    assert to_json(again) == to_json(run)
    assert Stability.model_validate(json.loads(to_json(run))) == run


def test_a_second_run_asks_nothing_again(tmp_path: Path, cases: list[Case]) -> None:
    by = engine()
    first = judged(tmp_path, cases[:2], by=by)
    asked = len(by.scored)
    assert asked > 0
    assert judged(tmp_path, cases[:2], by=by) == first
    assert len(by.scored) == asked


def test_a_stopped_run_goes_on_from_there(tmp_path: Path, cases: list[Case]) -> None:
    class Stopped(Exception):
        pass

    calls = 0

    def tired(fact: str, slug: str) -> float:
        nonlocal calls
        calls += 1
        if calls >= 150:
            raise Stopped
        return taste(fact, slug)

    with pytest.raises(Stopped):
        judged(tmp_path, cases[:4], by=engine(tired))
    by, plain = engine(), engine()
    assert judged(tmp_path, cases[:4], by=by) == judged(tmp_path / "plain", cases[:4], by=plain)
    assert len(by.scored) < len(plain.scored)


def test_answers_are_kept_for_the_code_that_made_them(tmp_path: Path) -> None:
    """A comment, a docstring and an empty line are not code."""
    texts = ("def f():\n    return 1\n", '# A\ndef f():\n\n    """B."""\n    return 1\n', "def f():\n    return 2\n")
    hashes = []
    for n, text in enumerate(texts):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "a.py").write_text(text, encoding="utf-8")
        hashes.append(code_sha256(folder))
    assert hashes[2] != hashes[0]
    (tmp_path / "0" / "a.py").write_text('def f():\n    """C."""\n    return 1  # D\n', encoding="utf-8")
    code_sha256.cache_clear()
    assert code_sha256(tmp_path / "0") == hashes[1]


def test_a_probe_that_is_not_there_is_named(tmp_path: Path, cases: list[Case]) -> None:
    with pytest.raises(SetupError, match="choose from rerun, order"):
        judged(tmp_path, cases[:1], only=["ordre"])
    with pytest.raises(SetupError, match="there are no cases"):
        judged(tmp_path, [])


# ------------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: list[Case]) -> Callable[..., object]:
    """`review-panel eval …` on the world's cases, and its judge for an engine."""
    monkeypatch.setattr(panel.engines, "open_engine", lambda name, model: engine())
    monkeypatch.setattr("panel.run.calibrate_for", lambda personas, prompts, by: list(alike()))
    monkeypatch.setattr(cli, "CASES", write_cases(tmp_path, train=[], dev=cases[:4], test=[]))
    monkeypatch.setattr(cli.chosen_cases, "__defaults__", (cli.CASES,))

    def run(*arguments: str) -> object:
        return CliRunner().invoke(app, ["eval", *arguments])

    return run


def test_the_commands_from_run_to_gate(command: Callable[..., object], tmp_path: Path) -> None:
    out, blessed = str(tmp_path / "out"), str(tmp_path / "blessed.json")
    settings = ("--repeats", "2", "--draws", "2", "--only", "order", "--only", "severe", "--out", out)
    done = command("stability", *settings)
    assert done.exit_code == 0, done.output
    assert "order" in done.stdout
    result = str(tmp_path / "out" / "stability.json")
    done = command("bless", result, "--who", "A. Editor", "--why", "a test", "--out", blessed)
    assert done.exit_code == 0, done.output
    done = command("stability", *settings, "--baseline", blessed, "--json", "--quiet")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["outcome"] == "pass"
    done = command("gate", result, "--baseline", blessed)
    assert done.exit_code == 0
    assert done.stdout.startswith("Pass: All ")
    done = command("stability", "--repeats", "3", *settings[2:], "--baseline", blessed, "--quiet")
    assert done.exit_code == 5
    assert "there were 2 seeds, and now 3" in done.stdout


def test_mistakes_of_the_command_line_are_set_up_errors(command: Callable[..., object]) -> None:
    for arguments, says in (
        (("--part", "all of them"), "unknown part"),
        (("--cases", "nobody"), "there is no case 'nobody'"),
        (("--against", "transformers"), "no engine with a model"),
        (("--baseline", "nowhere.json"), "nowhere.json"),
    ):
        done = command("stability", *arguments)
        assert isinstance(done.exception, SetupError), done.output
        assert says in str(done.exception)


@pytest.mark.model
def test_the_embedded_model_on_one_case(tmp_path: Path) -> None:
    """The real thing: the tool as written, again in other batches, and in other orders."""
    arguments = ["eval", "stability", "--cases", "thimblecode", "--repeats", "2", "--draws", "2", "--quiet", "--json"]
    done = CliRunner().invoke(
        app, [*arguments, "--only", "rerun", "--only", "order", "--only", "labels", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    run = Stability.model_validate_json(done.stdout)
    assert {cell.strip for cell in run.cells} == {"✓✓", "✓"}
