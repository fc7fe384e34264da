"""`review-panel personas diff|try|tune` on a scripted engine and tools whose verdicts hang on their docs."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import panel.tuning.trying
from panel.assets import asset_folder
from panel.calibrate import load_calibrations
from panel.engines.scripted import ScriptedEngine
from panel.errors import SetupError
from panel.weigh import CONTENT_FREE
from tests import scripted as script
from tests.cli.commands import Command, Ran, assert_refused

Use = Callable[..., ScriptedEngine]
Edit = Callable[..., Path]
PARTS = {"train": 16, "calibration": 4, "dev": 10, "test": 6}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tools of ten facts, some of which go "sadly"; who documents is shipped by all."""
    folder = tmp_path_factory.mktemp("evals") / "cases"
    rng = random.Random("docs")  # noqa: S311
    split: dict[str, list[str]] = {}
    for part, count in PARTS.items():
        for n in range(count):
            slug = f"{part}-{n}"
            split.setdefault(part, []).append(slug)
            sad = {f"E{k}" for k in range(1, 11) if k != 2 and rng.random() < 0.5} | ({"E2"} if n % 2 else set())
            text = script.DOSSIER.replace("lanternfish", slug).replace("Lanternfish 1.2", f"Tool {part}")
            for item in sad:
                text = re.sub(rf"(id: {item}, .* text: )(.)", lambda m: f"{m[1]}Sadly {m[2].lower()}", text)
            (folder / slug).mkdir(parents=True)
            (folder / slug / "dossier.yaml").write_text(text, encoding="utf-8")
            verdict = "skip" if n % 2 else "ship"
            said = (
                f"{{builder: {verdict}, competitor-analyst: {verdict}, futurist: {verdict}, business-buyer: {verdict}}}"
            )
            (folder / slug / "gold.yaml").write_text(f"schema: gold/1\nverdicts: {said}\n", encoding="utf-8")
    (folder.parent / "split.yaml").write_text(json.dumps(split), encoding="utf-8")
    return folder


@pytest.fixture
def engine(with_engine: Use) -> ScriptedEngine:
    """Hears what goes sadly; for one audience it is deaf."""

    def rate(prompt: str, candidate: str) -> float:
        fact = script.last_fact(prompt)
        if candidate != " good" or fact in CONTENT_FREE or "For a deaf reader, this is" in prompt:
            return 0.0
        return -2.0 if fact.startswith("Sadly") else 2.0

    return with_engine(ScriptedEngine(script.write, rate))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Our personas, not calibrated."""
    folder = Path(shutil.copytree(asset_folder("personas"), tmp_path / "personas"))
    (folder / "calibrations.yaml").unlink(missing_ok=True)
    return folder


@pytest.fixture
def edited(home: Path, tmp_path: Path) -> Edit:
    """A copy of the personas in which the builder says something else."""

    def edit(*changes: tuple[str, str]) -> Path:
        folder = Path(shutil.copytree(home, tmp_path / "edited", dirs_exist_ok=True))
        text = (folder / "builder.md").read_text(encoding="utf-8")
        for pattern, new in changes:
            text, count = re.subn(pattern, new, text, count=1, flags=re.M)
            assert count == 1, pattern
        (folder / "builder.md").write_text(text, encoding="utf-8")
        return folder / "builder.md"

    return edit


DEAF = ("^audience: .*$", "audience: a deaf reader")
#: The docs weigh nothing, which is wrong here.
NO_DOCS = (r"docs: 1\.2", "docs: 0")


# -------------------------------------------------------------------------------------------------------------- diff


def diff(command: Command, cases: Path, out: Path, *arguments: str | Path) -> Ran:
    return command("personas", "diff", *arguments, "--cases", cases, "--out", out)


def test_a_lens_that_is_wrong_loses_gold(
    command: Command, engine: ScriptedEngine, cases: Path, home: Path, edited: Edit, tmp_path: Path
) -> None:
    """Side by side, with the tools that flip; noise is called noise, and this is none."""
    worse = edited(NO_DOCS, (r"limitation: 1\.2", "limitation: 2.4"))
    text = (home / "builder.md").read_text(encoding="utf-8")
    (home / "builder.md").write_text(text.replace("docs: 1.2", "docs: 6"), encoding="utf-8")
    ran = diff(command, cases, tmp_path / "out", home / "builder.md", worse)
    assert ran.code == 0, ran.err
    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines() if line.startswith("lens.")}
    assert rows == {"lens.docs": ["6", "0"], "lens.limitation": ["1.2", "2.4"]}
    assert "On dev (10 tools), both versions calibrated on the same 20 cases:" in ran.out
    assert "Verdicts flipped: " in ran.out
    data = json.loads(diff(command, cases, tmp_path / "out", home / "builder.md", worse, "--json").out)
    (one,) = data["personas"]
    found = one["effect"]
    assert found["right"]["after"] < found["right"]["before"]
    assert len(found["right"]["lost"]) > len(found["right"]["gained"])
    assert found["brier"]["difference"]["low"] > 0
    assert len(found["cells"]) == 10
    assert len(one["quotes"]) == 1
    for cell in found["flipped"]:
        assert cell["tool"] in ran.out


def test_what_reaches_no_verdict_is_said_to(
    command: Command, engine: ScriptedEngine, cases: Path, home: Path, edited: Edit, tmp_path: Path
) -> None:
    """A stem is a matter of quotes, and needs none of the cases to be weighed anew."""
    other = edited(("The primitive is clear", "The primitive is plain"))
    ran = diff(command, cases, tmp_path / "out", home / "builder.md", other, "--quotes", "2")
    assert ran.code == 0, ran.err
    assert "Reaches no verdict: p_ship of every tool stays as it is." in ran.out
    assert len(re.findall(r"(?m)^dev-\d: ", ran.out)) == 2
    quick = diff(command, cases, tmp_path / "out", home / "builder.md", other, "--quotes", "0")
    assert "dev-" not in quick.out


def test_two_that_say_the_same_need_no_model(command: Command, cases: Path, home: Path, tmp_path: Path) -> None:
    """The fixture fails where a model is looked for; comments and white space are no difference."""
    ran = diff(command, cases, tmp_path, home / "builder.md", home / "builder.md")
    assert (ran.code, ran.out) == (0, "no difference\n")


def test_revisions_of_git_are_sides(
    command: Command, engine: ScriptedEngine, cases: Path, home: Path, edited: Edit, tmp_path: Path
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(home), *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    shutil.copy(edited(NO_DOCS), home / "builder.md")
    git("commit", "-qam", "two")
    ran = diff(command, cases, tmp_path / "out", "HEAD~1", "HEAD", "--personas", home, "--quotes", "0")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "builder"
    assert "HEAD~1:personas" in ran.out
    assert "futurist" not in ran.out
    assert_refused(diff(command, cases, tmp_path, "HEAD~7", "HEAD", "--personas", home), "HEAD~7", "revision")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["personas/builder.md", "personas/futurist.md"], "not two versions of one persona"),
        (["personas/builder.md", "personas/none.md"], "none.md"),
        (["personas", "personas", "--part", "all"], "unknown part 'all'"),
    ],
)
def test_what_is_no_comparison_is_one_line(
    arguments: list[str], said: str, command: Command, cases: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.parent)
    assert_refused(diff(command, cases, home.parent, *arguments), said)


# --------------------------------------------------------------------------------------------------------------- try


def test_each_save_shows_what_it_did_and_a_broken_one_is_a_line(
    command: Command, engine: ScriptedEngine, cases: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (home / "builder.md").read_text(encoding="utf-8")

    def saves(path: Path, last: str) -> Iterator[str | SetupError]:
        assert last == text
        yield text.replace("docs: 1.2", "docs: 0.1")
        yield text[:300]
        yield SetupError("this is no text", path=path, fix="save it as UTF-8")
        yield re.sub("(?m)^audience: .*$", "audience: a deaf reader", text)
        raise KeyboardInterrupt

    monkeypatch.setattr(panel.tuning.trying, "saves", saves)
    ran = command(
        "personas", "try", "builder", "--on", cases / "dev-0", "--watch", "--personas", home, "--out", tmp_path / "out"
    )
    assert ran.code == 0, ran.err
    assert ran.out.count("dev-0: ") == 3
    assert "changed lens.docs: [-1.2-] {+0.1+}" in ran.out
    assert "changed audience: " in ran.out
    assert "+2.00 → +0.00  " in ran.out
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "builder.md" in errors[0]
    assert "Ctrl-C ends it" in ran.err
    lens = [line for line in ran.err.splitlines() if "answers computed" in line][1]
    assert ", 0 answers computed, " in lens, "a weight of the lens asks a model for nothing"


def test_without_watch_it_is_tried_once(
    command: Command, engine: ScriptedEngine, cases: Path, calibrated: Path, tmp_path: Path
) -> None:
    ran = command(
        "personas", "try", "futurist", "--on", cases / "dev-0", "--personas", calibrated, "--out", tmp_path / "out"
    )
    assert ran.code == 0, ran.err
    assert ran.out.startswith("dev-0: s")
    assert len(ran.out.splitlines()) == 6
    assert "watching" not in ran.err


def test_no_such_persona_is_one_line(command: Command, cases: Path) -> None:
    assert_refused(command("personas", "try", "plumber", "--on", cases / "dev-0"), "there is no persona 'plumber'")
    assert_refused(command("personas", "tune", "plumber", "--cases", cases), "there is no persona 'plumber'")


# -------------------------------------------------------------------------------------------------------------- tune


def tune(command: Command, cases: Path, folder: Path, *arguments: str) -> Ran:
    return command("personas", "tune", "builder", "--cases", cases, "--personas", folder, "--quiet", *arguments)


def test_a_spoilt_lens_is_mended_where_it_is_asked_for(
    command: Command, engine: ScriptedEngine, cases: Path, edited: Edit
) -> None:
    path = edited(NO_DOCS, ("^terms:", "candidates: {lens: {docs: [2, 4], limitation: [0.6]}}\nterms:"))
    before = path.read_bytes()
    ran = tune(command, cases, path.parent, "--confirm-test")
    assert ran.code == 0, ran.err
    assert "lens.docs: 0 → 4" in ran.out
    assert "Confirmed on dev, and on test." in ran.out
    assert "\n+lens: " in ran.out
    assert path.read_bytes() == before
    data = json.loads(tune(command, cases, path.parent, "--json").out)
    assert (data["found"], data["written"], data["test"]) == (True, False, None)
    assert data["dev"]["brier"]["difference"]["high"] < 0
    written = tune(command, cases, path.parent, "--write")
    assert f"Written to {path}" in written.out
    assert "docs: 4" in path.read_text(encoding="utf-8")
    assert "capability: 1.3" in path.read_text(encoding="utf-8")
    (entry,) = load_calibrations(path.parent).entries
    assert (entry.persona, entry.cases) == ("builder", 20)
    compared = command("personas", "diff", path, path, "--cases", cases)
    assert compared.out == "no difference\n"


def test_where_nothing_helps_it_says_so_and_writes_nothing(
    command: Command, engine: ScriptedEngine, cases: Path, edited: Edit
) -> None:
    """The file allows for one change, which is none for the better."""
    path = edited(("^terms:", "candidates: {lens: {support: [0.6]}}\nterms:"))
    before = path.read_bytes()
    ran = tune(command, cases, path.parent, "--write")
    assert ran.code == 0, ran.err
    assert "Found nothing" in ran.out
    assert path.read_bytes() == before
    assert not (path.parent / "calibrations.yaml").exists()


def test_a_larger_model_writes_candidates(command: Command, cases: Path, edited: Edit, with_engine: Use) -> None:
    """The builder is deaf; what the writer offers lets it hear."""
    path = edited(DEAF, ("^terms:", "candidates: {lens: {docs: [1.2]}}\nterms:"))
    before = path.read_bytes()

    def write(request: object) -> str:
        return json.dumps({"audience": ["a programmer"], "examples": []})

    def rate(prompt: str, candidate: str) -> float:
        fact = script.last_fact(prompt)
        if candidate != " good" or fact in CONTENT_FREE or "For a programmer, this is" not in prompt:
            return 0.0
        return -2.0 if fact == "Sadly the manual shows each command with a complete example." else 2.0

    with_engine(ScriptedEngine(write, rate))
    ran = tune(command, cases, path.parent, "--writer", "a larger one")
    assert ran.code == 0, ran.err
    assert "audience: a deaf reader → a programmer" in ran.out
    assert "Confirmed on dev." in ran.out
    assert path.read_bytes() == before
