"""The command line: what goes to standard output and what does not, exit codes, help with examples."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import panel.engines.embedded
import panel.engines.memory
import panel.run
from panel.assets import asset_folder
from panel.calibrate import FILE, load_calibrations
from panel.engines.embedded import ModelFile
from panel.engines.memory import Check
from panel.engines.scripted import ScriptedEngine
from panel.records import BEAT_NAMES, KINDS, PERSONA_SLUGS, Comparison
from panel.weigh import CONTENT_FREE
from tests import scripted as script
from tests.cli.commands import CASES, Command, assert_refused, installed

TWO = (CASES / "smolagents-2", CASES / "mistral-3b")
Use = Callable[..., ScriptedEngine]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


# -------------------------------------------------------------------------------------------------------- --json

#: comparison/1 as the design fixes it: fields may be added, none may be renamed or dropped.
CONTRACT: dict[str, Any] = {
    "type": "object",
    "required": ["schema", "created", "pick", "tools", "reviewer_split", "pricing_read"],
    "properties": {
        "schema": {"const": "comparison/1"},
        "pick": {"required": ["slug", "why"], "properties": {"slug": {"type": ["string", "null"]}}},
        "pricing_read": {"type": "string"},
        "reviewer_split": {
            "minItems": 4,
            "items": {
                "required": ["persona", "decisions"],
                "properties": {
                    "persona": {"enum": list(PERSONA_SLUGS)},
                    "decisions": {"additionalProperties": {"enum": ["ship", "skip", "unscored"]}},
                },
            },
        },
        "tools": {
            "items": {
                "required": [
                    "slug", "name", "category", "tagline", "summary", "entry_price", "panel", "community", "reviews",
                ],
                "properties": {
                    "panel": {"required": ["ship", "skip", "unscored", "percent", "effective_votes"]},
                    "community": {"required": ["ship", "total", "percent"]},
                    "reviews": {
                        "minItems": 4,
                        "maxItems": 4,
                        "items": {
                            "required": [
                                "persona", "status", "decision", "p_ship", "quote", "beats", "pulls", "provenance",
                            ],
                            "properties": {
                                "status": {"enum": ["scored", "unscored"]},
                                "decision": {"enum": ["ship", "skip", None]},
                                "p_ship": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                                "beats": {
                                    "maxItems": 5,
                                    "items": {
                                        "required": ["name", "text", "cites"],
                                        "properties": {"cites": {"items": {"pattern": "^E[0-9]+$"}}},
                                        # a beat cites its evidence, or says that there is none
                                        "if": {"properties": {"silent": {"const": False}}},
                                        "then": {"properties": {"cites": {"minItems": 1}}},
                                        "else": {"properties": {"cites": {"maxItems": 0}}},
                                    },
                                },
                                "pulls": {"items": {"required": ["evidence", "log_odds"]}},
                                "provenance": {
                                    "required": [
                                        "model", "model_sha256", "engine", "engine_version", "persona_sha256",
                                        "prompt_sha256", "dossier_sha256", "seed", "prompt_tokens", "completion_tokens",
                                        "seconds", "steps",
                                    ]
                                },
                            },
                        },
                    },
                },
            }
        },
    },
}  # fmt: skip


def test_json_is_the_record_and_nothing_else(command: Command, with_engine: Use, out: Path) -> None:
    with_engine()
    ran = command("compare", *TWO, "--json", "--out", out)
    assert ran.code == 0
    data = json.loads(ran.out)
    jsonschema.validate(data, CONTRACT, jsonschema.Draft202012Validator)
    schema = Comparison.model_json_schema(by_alias=True, mode="serialization")
    jsonschema.validate(data, schema, jsonschema.Draft202012Validator)
    assert ran.out == (out / "smolagents-2-vs-mistral-3b" / "comparison.json").read_text(encoding="utf-8")
    for tool in data["tools"]:
        ids = {item["id"] for item in tool["evidence"]}
        for review in tool["reviews"]:
            assert review["status"] == "scored"
            assert [beat["name"] for beat in review["beats"]] == list(BEAT_NAMES[review["persona"]])
            assert {cite for beat in review["beats"] for cite in beat["cites"]} <= ids
            assert {pull["evidence"] for pull in review["pulls"]} == ids


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("pick"),
        lambda d: d["tools"][0]["reviews"][0].pop("p_ship"),
        lambda d: d["tools"][0]["reviews"][0]["beats"][0].update(silent=False, cites=[]),
        lambda d: d["tools"][0]["reviews"][0]["beats"][0].update(silent=True, cites=["E1"]),
        lambda d: d["tools"][0]["reviews"].pop(),
        lambda d: d.update(schema="comparison/2"),
    ],
)
def test_the_contract_would_notice(command: Command, with_engine: Use, out: Path, spoil: Callable[[Any], Any]) -> None:
    with_engine()
    data = json.loads(command("compare", *TWO, "--json", "--quiet", "--out", out).out)
    spoil(data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, CONTRACT, jsonschema.Draft202012Validator)


def test_quiet_json_says_nothing_beside(command: Command, with_engine: Use, calibrated: Path, out: Path) -> None:
    with_engine()
    ran = command("review", TWO[0], "--json", "--quiet", "--personas", calibrated, "--out", out)
    assert (ran.code, ran.err) == (0, "")
    assert [tool["slug"] for tool in json.loads(ran.out)["tools"]] == ["smolagents-2"]


# ------------------------------------------------------------------------------------------------ progress, summary


def test_without_json_all_of_it_is_for_people(command: Command, with_engine: Use, out: Path) -> None:
    """Progress and summary go to standard error; a pipe gets nothing that it did not ask for."""
    with_engine(skips=["business-buyer"])
    ran = command("compare", *TWO, "--out", out)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.count("✓ done") == 8
    assert "SmolAgents 2.0 · Builder: ✓ done" in ran.err
    assert re.search(r"Builder +✓ ship \d\.\d\d +✓ ship", ran.err)
    assert re.search(r"Business buyer +✗ skip \d\.\d\d +✗ skip", ran.err)
    assert re.search(r"Panel +75% ship +75% ship", ran.err)
    assert f"Page: {out}/smolagents-2-vs-mistral-3b/comparison.html" in ran.err
    assert "\x1b" not in ran.err, "no colours where there is no terminal"


def test_a_second_run_says_that_it_reused(command: Command, with_engine: Use, out: Path) -> None:
    with_engine()
    command("compare", *TWO, "--out", out)
    engine = with_engine()
    ran = command("compare", *TWO, "--out", out)
    assert ran.err.count("✓ from an earlier run") == 8
    assert engine.generated == []
    command("compare", *TWO, "--out", out, "--no-cache")
    assert engine.generated != []


def test_quiet_says_nothing(command: Command, with_engine: Use, calibrated: Path, out: Path) -> None:
    with_engine()
    ran = command("compare", *TWO, "--out", out, "--quiet", "--personas", calibrated)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert (out / "smolagents-2-vs-mistral-3b" / "comparison.html").exists()


def test_options_reach_the_run(command: Command, with_engine: Use, out: Path) -> None:
    with_engine()
    ran = command("review", TWO[0] / "dossier.yaml", "--json", "--quiet", "--seed", "7", "--loop", "free", "--out", out)
    provenances = [review["provenance"] for review in json.loads(ran.out)["tools"][0]["reviews"]]
    assert {(p["seed"], p["loop"]) for p in provenances} == {(7, "free")}


# ------------------------------------------------------------------------------------------------------- exit codes


def test_unscored_reviews_are_exit_code_1_with_the_reason(command: Command, with_engine: Use, out: Path) -> None:
    def write(request: Any) -> str:
        return " zzz." if request.key.startswith("draft/futurist/mistral-3b") else script.write(request)

    with_engine(script.scripted_engine(write=write))
    ran = command("compare", *TWO, "--json", "--out", out)
    assert ran.code == 1
    data = json.loads(ran.out)
    assert [tool["panel"]["unscored"] for tool in data["tools"]] == [0, 1]
    assert "Mistral 3B · Futurist: ✗ unscored" in ran.err

    ran = command("compare", *TWO, "--out", out)
    assert ran.code == 1
    assert "Mistral 3B · Futurist is unscored: no valid answer in 3 tries: " in ran.err
    assert re.search(r"Futurist +✓ ship \d\.\d\d +– unscored", ran.err)


def test_an_engine_that_fails_altogether_is_exit_code_2(
    command: Command, with_engine: Use, calibrated: Path, out: Path
) -> None:
    def write(request: Any) -> str:
        raise RuntimeError("no device")

    with_engine(ScriptedEngine(write))
    ran = command("compare", *TWO, "--quiet", "--personas", calibrated, "--out", out)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: every review failed: no device\n"


def test_ctrl_c_is_exit_code_130_and_says_how_to_go_on(
    command: Command, with_engine: Use, calibrated: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with_engine()
    monkeypatch.setattr(panel.run, "compare", stop)
    ran = command("compare", *TWO, "--quiet", "--personas", calibrated, "--out", out)
    assert ran.code == 130
    assert ran.err == "stopped; finished reviews are kept, the same command goes on from there\n"


# ----------------------------------------------------------------------------------------------------------- render


def test_render_makes_the_same_pages_again(command: Command, with_engine: Use, out: Path, tmp_path: Path) -> None:
    engine = with_engine()
    command("compare", *TWO, "--quiet", "--out", out)
    folder = out / "smolagents-2-vs-mistral-3b"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"comparison.json", "comparison.html", "comparison.md"}
    asked = len(engine.generated)
    for path in ("comparison.html", "comparison.md"):
        (folder / path).unlink()
    ran = command("render", folder / "comparison.json")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(ran.out.split()) == sorted(str(folder / name) for name in before)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    ran = command("render", folder / "comparison.json", "--out", tmp_path / "pages", "--quiet")
    assert (ran.code, ran.out) == (0, "")
    assert {path.name: path.read_bytes() for path in (tmp_path / "pages").iterdir()} == before
    assert len(engine.generated) == asked


# --------------------------------------------------------------------------------------------------------- personas


def test_personas_are_listed(command: Command) -> None:
    ran = command("personas", "list")
    assert (ran.code, ran.err) == (0, "")
    for slug in PERSONA_SLUGS:
        assert re.search(rf"^ ?{slug} ", ran.out, re.MULTILINE)
        assert BEAT_NAMES[slug][0] in ran.out


@pytest.mark.parametrize("slug", PERSONA_SLUGS)
def test_a_persona_is_shown_whole(command: Command, personas: Any, slug: str) -> None:
    ran = command("personas", "show", slug)
    assert (ran.code, ran.err) == (0, "")
    persona = next(p for p in personas if p.slug == slug)
    flat = " ".join(ran.out.split())
    assert " ".join(persona.voice.split()) in flat
    for beat in persona.beats:
        assert beat.question in flat
    for example in persona.examples:
        assert example.fact in flat
    assert all(f"{kind} {persona.lens[kind]:g}" in flat for kind in KINDS)


# ----------------------------------------------------------------------------------------------------- calibration


def test_an_uncalibrated_model_is_warned_of(command: Command, with_engine: Use, out: Path) -> None:
    """And the record says so; it is made all the same."""
    with_engine()
    ran = command("review", TWO[0], "--json", "--out", out)
    assert ran.code == 0
    warnings = [line for line in ran.err.splitlines() if "calibrated" in line]
    assert warnings == [
        "warning: builder, competitor-analyst, futurist, business-buyer not calibrated for scripted on scripted; "
        "p(ship) rests on a default and may be far off. "
        "Fix: review-panel personas calibrate --engine scripted --model scripted"
    ]
    made = [review["provenance"]["calibrated"] for review in json.loads(ran.out)["tools"][0]["reviews"]]
    assert made == [False] * 4


def test_only_those_that_are_not_calibrated_are_named(
    command: Command, with_engine: Use, calibrated: Path, out: Path
) -> None:
    """Here one whose audience was changed after the calibration."""
    with_engine()
    path = calibrated / "futurist.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^audience: .*$", "audience: somebody else", text), encoding="utf-8")
    ran = command("review", TWO[0], "--json", "--personas", calibrated, "--out", out)
    assert ran.err.count("warning: ") == 1
    assert "warning: futurist not calibrated for scripted on scripted; " in ran.err
    made = {r["persona"]: r["provenance"]["calibrated"] for r in json.loads(ran.out)["tools"][0]["reviews"]}
    assert made == {slug: slug != "futurist" for slug in PERSONA_SLUGS}


def test_of_a_calibrated_model_nothing_is_said(command: Command, with_engine: Use, calibrated: Path, out: Path) -> None:
    with_engine()
    ran = command("review", TWO[0], "--json", "--personas", calibrated, "--out", out)
    assert ran.code == 0
    assert "calibrated" not in ran.err
    assert all(r["provenance"]["calibrated"] for r in json.loads(ran.out)["tools"][0]["reviews"])


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Four cases to fit on: the tests' dossier with the first half of its facts ships, with the others it does not."""
    folder = tmp_path / "fitting" / "cases"
    facts = yaml.safe_load(script.DOSSIER)["evidence"]
    for number, verdict in enumerate(("ship", "skip", "ship", "skip")):
        case = folder / f"tool-{number}"
        case.mkdir(parents=True)
        half = facts[:5] if verdict == "ship" else facts[5:]
        data = yaml.safe_load(script.DOSSIER) | {"slug": case.name, "evidence": half}
        (case / "dossier.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
        gold = {"schema": "gold/1", "verdicts": dict.fromkeys(PERSONA_SLUGS, verdict)}
        (case / "gold.yaml").write_text(yaml.safe_dump(gold), encoding="utf-8")
    split = {"train": sorted(case.name for case in folder.iterdir()), "dev": [], "test": []}
    (folder.parent / "split.yaml").write_text(yaml.safe_dump(split), encoding="utf-8")
    return folder


def opinionated() -> ScriptedEngine:
    """Likes the first half of the facts of the tests' dossier by 2 nats, and dislikes the others as much."""
    liked = [item["text"] for item in yaml.safe_load(script.DOSSIER)["evidence"][:5]]

    def rate(prompt: str, candidate: str) -> float:
        fact = script.last_fact(prompt)
        return 0.0 if candidate != " good" or fact in CONTENT_FREE else 2.0 if fact in liked else -2.0

    return ScriptedEngine(script.write, rate)


@pytest.fixture
def uncalibrated(tmp_path: Path) -> Path:
    """Our personas, without calibrations."""
    folder = Path(shutil.copytree(asset_folder("personas"), tmp_path / "uncalibrated"))
    (folder / FILE).unlink(missing_ok=True)
    return folder


def test_a_model_is_calibrated_and_the_warning_is_gone(
    command: Command, with_engine: Use, cases: Path, uncalibrated: Path, out: Path
) -> None:
    with_engine(opinionated())
    ran = command("personas", "calibrate", "--cases", cases, "--personas", uncalibrated)
    assert ran.code == 0
    for slug in PERSONA_SLUGS:
        assert re.search(
            rf"{slug} +scripted +scripted +4 +\+0\.000 +[+-]\d\.\d{{3}} +\+\d\.\d{{3}} +\+\d\.\d{{3}}", ran.out
        )
    assert str(uncalibrated / FILE) in ran.out
    entries = load_calibrations(uncalibrated).entries
    assert {one.persona for one in entries} == set(PERSONA_SLUGS)
    assert all(one.calibration.fitted and one.cases == 4 for one in entries)
    for name, decision in (("tool-0", "ship"), ("tool-1", "skip")):
        ran = command("review", cases / name, "--json", "--personas", uncalibrated, "--out", out)
        assert "warning" not in ran.err
        assert {review["decision"] for review in json.loads(ran.out)["tools"][0]["reviews"]} == {decision}


def test_calibrating_quietly_writes_and_says_nothing(
    command: Command, with_engine: Use, cases: Path, uncalibrated: Path
) -> None:
    with_engine(opinionated())
    ran = command("personas", "calibrate", "--cases", cases, "--personas", uncalibrated, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert len(load_calibrations(uncalibrated).entries) == 4


def test_cases_that_cannot_be_fitted_on_are_refused_before_a_model_is_loaded(
    command: Command, cases: Path, uncalibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*said: str) -> None:
        ran = command("personas", "calibrate", "--cases", cases, "--personas", uncalibrated)
        assert_refused(ran, *said)
        assert not (uncalibrated / FILE).exists()

    gold = cases / "tool-2" / "gold.yaml"
    text = gold.read_text(encoding="utf-8")
    gold.write_text(text.replace("futurist: ship", "futurist: maybe"), encoding="utf-8")
    refused(f"{gold}:", "[verdicts.futurist]", "'maybe' is not known here")
    gold.unlink()
    refused(f"{gold}: there is no such gold file")
    (cases.parent / "split.yaml").unlink()
    refused(f"{cases.parent / 'split.yaml'}: there is no such split")
    # by default the cases are those of a checkout
    monkeypatch.chdir(tmp_path)
    assert_refused(command("personas", "calibrate"), "evals/split.yaml: there is no such split")


def test_cases_of_one_verdict_are_refused(command: Command, with_engine: Use, cases: Path, uncalibrated: Path) -> None:
    with_engine(opinionated())
    (cases.parent / "split.yaml").write_text("train: [tool-0, tool-2]\ndev: []\ntest: []\n", encoding="utf-8")
    ran = command("personas", "calibrate", "--cases", cases, "--personas", uncalibrated, "--quiet")
    assert_refused(ran, "builder has the same verdict in all 2 cases", "--cases")
    assert not (uncalibrated / FILE).exists()


# ----------------------------------------------------------------------------------------------------------- models


def test_models_are_listed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        ModelFile(
            "embedded", Path("here"), bytes=98_362_432, license="Apache-2.0", sha256="b179" + "0" * 60, state="present"
        ),
        ModelFile("org/[bold]other", Path("there"), bytes=0, license="\x1b[31mMIT", sha256="", state="absent"),
    ]
    monkeypatch.setattr(panel.engines.embedded, "list_models", lambda: files)
    ran = command("models", "list")
    assert ran.code == 0
    assert re.search(r"embedded +present +98 MB +Apache-2\.0 +b17900000000", ran.out)
    assert "org/[bold]other" in ran.out, "a name is not markup"
    assert "\x1b" not in ran.out
    data = json.loads(command("models", "list", "--json").out)
    assert [model["name"] for model in data] == ["embedded", "org/[bold]other"]
    assert data[0]["sha256"] == "b179" + "0" * 60


@pytest.mark.parametrize("fits", [True, False])
def test_the_doctor_says_what_is_missing(command: Command, monkeypatch: pytest.MonkeyPatch, fits: bool) -> None:
    checks = [Check("python", True, "3.11"), Check("memory", fits, "needs 2 GB", "choose a smaller model")]
    monkeypatch.setattr(panel.engines.memory, "doctor", lambda *_: checks)
    ran = command("models", "doctor")
    assert ran.code == (0 if fits else 2)
    assert "✓ python: 3.11\n" in ran.out
    assert ("✓ memory: needs 2 GB\n" if fits else "✗ memory: needs 2 GB. Fix: choose a smaller model\n") in ran.out
    ran = command("models", "doctor", "--json")
    assert ran.code == (0 if fits else 2)
    assert [check["ok"] for check in json.loads(ran.out)] == [True, fits]


def test_pulling_what_is_there_does_nothing(command: Command) -> None:
    """`make test` pulls the embedded model before the tests start."""
    ran = command("models", "pull", "embedded")
    assert ran.code == 0
    assert re.fullmatch(r"embedded is ready in .+\n", ran.out)
    assert command("models", "pull", "embedded", "--quiet").out == ""


# ------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize(
    "words",
    [
        "compare", "review", "render", "personas list", "personas show", "personas calibrate", "models list",
        "models pull", "models doctor",
    ],
)  # fmt: skip
def test_every_command_has_an_example_that_it_understands(command: Command, words: str) -> None:
    ran = command(*words.split(), "--help")
    assert ran.code == 0
    flat = " ".join(ran.out.split())
    example = re.search(rf"Example: review-panel ({words} ?[^│╭╰]*)$", flat)
    assert example, flat
    arguments = example[1].split()
    assert arguments[: len(words.split())] == words.split()
    for option in (word for word in arguments if word.startswith("--")):
        assert option in flat.partition("Example:")[0], f"{option} is not an option of {words}"


def test_help_names_every_command(command: Command) -> None:
    ran = command("--help")
    assert ran.code == 0
    for name in ("compare", "review", "render", "personas", "models"):
        assert re.search(rf"│ {name} +\w", ran.out)


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    """No model library is imported to say what the commands are."""
    heavy = ["openvino", "torch", "transformers", "smolagents", "gguf", "huggingface_hub", "jinja2", "numpy"]
    code = (
        "import sys; sys.argv = ['review-panel', '--help']\n"
        "from panel.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    python = Path(installed()[0]).with_name("python")
    ran = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert ran.stderr.strip() == "[]"


@pytest.mark.model
def test_the_reference_tools_on_the_embedded_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: Path
) -> None:
    """The main job: eight scored reviews, with citations that there are."""
    ran = Command(monkeypatch, capsys)("compare", *TWO, "--json", "--out", out)
    assert ran.code == 0, ran.err
    data = json.loads(ran.out)
    jsonschema.validate(data, CONTRACT, jsonschema.Draft202012Validator)
    assert [tool["panel"]["unscored"] for tool in data["tools"]] == [0, 0]
