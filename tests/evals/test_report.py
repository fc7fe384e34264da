"""The report in every form: what it counts, what it escapes, and that the same run gives the same bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from evals.gate import bless, judge, save
from evals.report.annotations import LIMIT, to_annotations
from evals.report.checks import checks
from evals.report.differences import Line, persona_changes, unified
from evals.report.html import to_html
from evals.report.junit import to_junit
from evals.report.markdown import to_markdown
from evals.report.names import moved
from evals.report.plots import curve, scatters
from evals.report.strips import rows
from evals.stability.record import Stability, Trial
from evals.stability.run import to_json
from evals.stability.verdict import Baseline, Finding, Gate
from panel.cli.app import app
from panel.errors import SetupError
from tests.evals import world
from tests.evals.stability_example import example, example_gate, figure
from tests.html_page import Page

EVIL = (
    "<script>alert(1)</script></style><img src=x onerror=alert(1)> {{ 7*7 }} {% raw %} \x1b[31m\u202e `tick` | pipe "
    "](javascript:alert(1)) [x](https://evil.example) ::error::x ##[error]x ]]> &amp; \"'"
)


def baseline(run: Stability | None = None, **about: str) -> Baseline:
    told = {"who": "A. Editor", "why": "the first", "when": "2026-01-02"} | about
    return bless(run or example(), **told)


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.encode())  # noqa: S314 - our own


def finding(**fields: object) -> Finding:
    told = {
        "persona": "builder", "probe": "rewording", "what": "less stable", "worse": True, "exact": False,
        "effect": figure(-0.25, -0.6, -0.01, 2), "unit": "share", "counts": "regress", "sentence": "It is worse.",
    }  # fmt: skip
    return Finding.model_validate(told | fields)


def stopped(outcome: str = "not comparable", code: int = 5) -> Gate:
    told = {"outcome": outcome, "exit_code": code, "sentence": f"{outcome.capitalize()}: the model is another one."}
    return Gate.model_validate(told | {"notes": ("the engine, too.",)})


def hostile() -> tuple[Stability, Gate, Baseline]:
    """Marks, entities and templates in every text that comes from a dossier, a persona, or a person."""

    def trial(one: Trial) -> Trial:
        edits = tuple(e.model_copy(update={"before": EVIL, "after": EVIL, "where": EVIL}) for e in one.edits)
        return one.model_copy(update={"label": EVIL, "edits": edits, "reason": EVIL})

    def poison(run: Stability, text: str) -> Stability:
        personas = {slug: p.model_copy(update={"text": text, "prompt": text}) for slug, p in run.about.personas.items()}
        about = run.about.model_copy(
            update={"model": EVIL, "engine": EVIL, "personas": personas, "settings": {EVIL: EVIL}}
        )
        cells = tuple(
            c.model_copy(update={"tool": f"{EVIL} {c.tool}", "trials": tuple(map(trial, c.trials))}) for c in run.cells
        )
        subjects = tuple(s.model_copy(update={"tool": f"{EVIL} {s.tool}"}) for s in run.subjects)
        probes = tuple(p.model_copy(update={"title": EVIL, "unavailable": p.unavailable and EVIL}) for p in run.probes)
        told = {"about": about, "cells": cells, "subjects": subjects, "probes": probes}
        return run.model_copy(update=told)

    run, then = poison(example(), f"new {EVIL}"), poison(example(), f"old {EVIL}")
    gate = example_gate()
    change = gate.changes[0].model_copy(update={"tool": EVIL, "label": EVIL, "pulls": ((EVIL, 0.1, 0.2),)})
    found = gate.findings[0].model_copy(update={"sentence": EVIL, "unit": EVIL})
    told = {"sentence": EVIL, "changes": (change,), "findings": (found,), "notes": (EVIL,), "smallest": {EVIL: 0.1}}
    return run, gate.model_copy(update=told), Baseline(who=EVIL, why=EVIL, when=EVIL, sha256="0", run=then)


# ------------------------------------------------------------------------------------------------------- the page


def test_the_page_says_first_what_the_gate_says() -> None:
    shown = Page(to_html(example(), example_gate(), baseline()))
    ((_, title),) = shown.all("h1")
    said = (
        "Regress: The builder's verdict no longer holds when facts are reworded: 1 of 2 tools flips, none did before."
    )
    assert " ".join(title.split()) == said
    assert "is-regress" in {name for a, _ in shown.all("div") for name in (a.get("class") or "").split()}
    assert "Held against the run that A. Editor blessed on 2026-01-02" in shown.visible


def test_a_run_on_its_own_says_what_it_found() -> None:
    shown = Page(to_html(example()))
    ((_, title),) = shown.all("h1")
    # 4 subjects × (2 reruns + 2 orders + 2 rewordings), and one closed licence each
    said = "A run on its own: 1 of 24 changes that should change nothing turned a verdict; 4 of 4 that must count did."
    assert " ".join(title.split()) == said
    assert not [a for a, _ in shown.all("section") if a["id"] in ("findings", "changed")]


def test_strips_are_those_of_the_cells() -> None:
    """lanternfish × builder does not hold under the first of two rewordings; the rest does."""
    found = {(row.tool, row.persona): row for _, own in rows(example()) for row in own}
    assert len(found) == 4
    row = found["lanternfish", "builder"]
    (strip,) = dict(row.groups)["content"]
    assert [(r.kind, r.count, r.new) for r in strip.runs] == [("failed", 1, False), ("held", 1, False)]
    assert strip.told == "rewording: 1 of 2 hold"
    assert strip.runs[0].told == "rewording, wording 1: ship 0.58 → skip 0.44, should not change"
    assert strip.runs[0].edits[0].after == "Each night, backups & jobs come to a stop."
    # both of bramble's verdicts fall to 0.45 and 0.02 when the licence is closed, as they should: that is no flip
    assert [(row.flags) for row in found.values()] == ["", "wrong", "flipped failed", ""]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.58, 0.44, ("0.58", "0.44")),
        (0.5, 0.4996, ("0.50", "0.4996")),
        (0.581, 0.582, ("0.5810", "0.5820")),
        (0.58, None, ("0.58", "—")),
        (0.7, 0.7, ("0.70", "0.70")),
    ],
)
def test_probabilities_have_the_digits_that_it_takes(before: float, after: float | None, said: tuple[str, str]) -> None:
    assert moved(before, after) == said


def test_a_mark_is_new_where_the_baseline_held() -> None:
    run = example()
    cells = tuple(
        c.model_copy(update={"trials": tuple(t.model_copy(update={"held": True}) for t in c.trials)}) for c in run.cells
    )
    then = run.model_copy(update={"cells": cells})
    marks = [r for _, own in rows(run, then) for row in own for _, s in row.groups for one in s for r in one.runs]
    assert [r.new for r in marks if r.kind == "failed"] == [True]
    assert "New since the baseline." in Page(to_html(run, example_gate(), baseline(then))).visible
    assert "New since the baseline." not in Page(to_html(run, example_gate(), baseline(run))).visible


def test_families_without_a_cell_have_no_column() -> None:
    shown = Page(to_html(example()))
    heads = [text for a, text in shown.all("th") if a.get("scope") == "col"]
    assert heads[:6] == ["Persona", "As written", "Reruns", "Order", "Content", "Directional"]


def test_long_runs_are_counted_and_failures_never() -> None:
    run = example()
    cell = next(c for c in run.cells if c.probe == "rewording" and c.persona == "builder" and c.tool == "lanternfish")
    bad, good = cell.trials
    long = cell.model_copy(update={"trials": (*[good] * 9, bad, bad, *[good] * 3)})
    text = to_html(run.model_copy(update={"cells": tuple(long if c is cell else c for c in run.cells)}))
    shown = Page(text)
    strip = next(t for a, t in shown.all("span", "strip") if a.get("title") == "rewording: 12 of 14 hold")
    assert re.sub(r"[^✓✗×\d]", "", re.sub(r"rewording, wording.*?change.*?stop\.", "", strip, flags=re.DOTALL)) == (
        "1214✓×9✗✗✓✓✓"
    )


def test_a_changed_persona_stands_beside_the_verdicts_that_it_flipped() -> None:
    run = example()
    builder = run.about.personas["builder"]
    was = builder.model_copy(update={"text": "audience: a software developer\n\nPlain and short."})
    personas = {**run.about.personas, "builder": was}
    then = run.model_copy(update={"about": run.about.model_copy(update={"personas": personas})})
    shown = Page(to_html(run, example_gate(), baseline(then)))
    ((attributes, text),) = shown.all("article", "change")
    assert attributes["data-persona"] == "builder"
    assert [t for _, t in shown.all("del") if t.startswith("−")] == ["−Plain and short."]
    assert [t for _, t in shown.all("ins") if t.startswith("+")] == ["+Plain and brief."]
    assert {t for _, t in shown.all("b")} >= {"short", "brief"}
    assert "lanternfish rewording, wording 1" in " ".join(text.split())
    assert "Pulls that moved most: E2 −0.50 → −0.90" in " ".join(text.split())


def test_trials_that_changed_as_their_tool_did_go_with_it() -> None:
    change = example_gate().changes[0]
    tool = change.model_copy(update={"probe": "gold", "label": ""})
    probed = [change.model_copy(update={"label": f"wording {n}"}) for n in range(3)]
    back = [change.model_copy(update={"then": "skip", "now": "ship", "label": f"other {n}"}) for n in range(2)]
    (found,) = persona_changes(example(), example(), [tool, *probed, *back])
    assert [(f.where, f.echoes, f.effect) for f in found.open] == [
        ("as written", 3, "wrong"),
        ("rewording, 2 trials", 0, ""),
    ]
    assert (found.as_written, found.probed, found.more) == (1, 5, ())


def test_a_difference_has_the_lines_around_it_and_says_what_it_left_out() -> None:
    old = "\n".join(f"line {n}" for n in range(1, 21))
    lines = list(unified(old, old.replace("line 10", "line ten").replace("line 11\n", "")))
    assert [(line.op, "".join(text for _, text in line.pieces)) for line in lines] == [
        ("gap", "line 8"), ("same", "line 8"), ("same", "line 9"), ("gone", "line 10"), ("gone", "line 11"),
        ("new", "line ten"), ("same", "line 12"), ("same", "line 13"),
    ]  # fmt: skip
    assert list(unified("a b c", "a x c")) == [
        Line("gone", ((False, "a "), (True, "b"), (False, " c"))),
        Line("new", ((False, "a "), (True, "x"), (False, " c"))),
    ]


def test_plots_put_points_where_they_belong() -> None:
    """The square is 200 wide and starts at 46, 8: p_ship 0.12 and no ships are at x 70, y 208."""
    drawn = curve(example().figures.personas[0])
    assert [(dot.x, dot.y, dot.low, dot.high) for dot in drawn.dots] == [
        ("70.0", "208.0", "208.0", "50.0"), ("176.0", "74.6", "166.0", "20.0"),
    ]  # fmt: skip
    assert "p_ship 0.5 to 1: 3 verdicts, 66.7% (21.0–94.0) are ships" in drawn.told
    found = scatters(example(), example())
    assert [plot.title for plot in found] == [
        "As written, since the baseline", "Content", "Directional, p_ship should fall",
    ]  # fmt: skip
    assert found[0].failed == ()
    # ship 0.58 → skip 0.44
    assert found[1].failed == (("162.0", "120.0"),)
    assert [plot.wrong for plot in found] == ["corners", "corners", "above"]
    shown = Page(to_html(example(), example_gate(), baseline()))
    plots = shown.all("svg", "plot")
    assert len(plots) == 3 + 3
    ids = {a["id"] for _, a in shown.tags if "id" in a}
    assert all(set((a["aria-labelledby"] or "").split()) <= ids for a, _ in plots)


def test_a_page_is_whole_and_needs_nothing_from_outside() -> None:
    for text in (to_html(example()), to_html(example(), example_gate(), baseline()), to_html(*hostile())):
        shown = Page(text)
        ids = [a["id"] for _, a in shown.tags if "id" in a]
        assert len(ids) == len(set(ids))
        local = {a["href"] for a, _ in shown.all("a")}
        assert {str(href)[1:] for href in local} <= set(ids)
        assert len(shown.all("table")) == len(shown.all("caption"))
        assert all(a.get("scope") for a, _ in shown.all("th"))
        assert not [name for _, a in shown.tags for name in a if name.startswith("on") or name in ("src", "style")]
        (policy,) = [a["content"] for a, _ in shown.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy == (
            f"default-src 'none'; style-src '{digest(shown, 'style')}'; script-src '{digest(shown, 'script')}'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        )
        assert [a["href"] for a, _ in shown.all("link")] == ["data:,"]


def digest(page: Page, tag: str) -> str:
    ((_, text),) = page.all(tag)
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def test_hostile_text_stays_text_on_the_page() -> None:
    text = to_html(*hostile())
    shown = Page(text)
    assert {"img", "iframe", "object", "base"}.isdisjoint({tag for tag, _ in shown.tags})
    assert len(shown.all("script")) == len(shown.all("style")) == 1
    assert "{{ 7*7 }}" in shown.visible
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "<script>alert(1)</script>" in shown.visible  # shown, as text


@pytest.mark.parametrize("make", [to_html, to_markdown])
def test_the_same_run_gives_the_same_bytes(make: Callable[..., str]) -> None:
    assert make(example(), example_gate(), baseline()) == make(example(), example_gate(), baseline())
    again = Stability.model_validate_json(to_json(example()))
    assert make(again) == make(example())


def test_nothing_is_called_new_beside_a_run_that_cannot_be_compared() -> None:
    shown = Page(to_html(example(), stopped(), baseline()))
    assert "Not comparable: The model is another one." in " ".join(shown.all("h1")[0][1].split())
    assert "since the baseline" not in shown.visible
    assert "the engine, too." in shown.visible
    assert "no verdict was compared" in shown.visible
    assert "so is every verdict" not in shown.visible


# ------------------------------------------------------------------------------------------------------ for CI


def test_checks_count_each_persona_under_each_probe() -> None:
    """Two personas and the panel, each against gold twice and under four probes; a fifth probe could not be run."""
    found = checks(example(), example_gate())
    assert len(found) == 3 * (2 + 4) + 1
    assert [(c.persona, c.probe, c.kind) for c in found if c.status == "failed"] == [
        ("builder", "rewording", "regress")
    ]
    assert [(c.persona, c.probe) for c in found if c.status == "skipped"] == [("all", "engine")]
    assert all(c.told for c in found if c.status != "skipped")


def test_findings_of_promises_are_checks_of_their_own() -> None:
    promise = finding(probe="threshold", exact=True, sentence="It does not decide at one half.")
    doubt = finding(persona="all", probe="gold", counts="inconclusive", sentence="It may be chance.")
    note = finding(persona="futurist", probe="brier", counts="note")
    gate = example_gate().model_copy(update={"findings": (promise, doubt, note)})
    failed = {(c.persona, c.probe): c for c in checks(example(), gate) if c.status == "failed"}
    assert {key: c.kind for key, c in failed.items()} == {
        ("builder", "threshold"): "regress",
        ("all", "gold"): "inconclusive",
    }


def test_without_a_gate_only_promises_fail() -> None:
    run = example()
    assert {c.status for c in checks(run, None)} == {"passed", "skipped"}
    cells = tuple(
        c.model_copy(update={"trials": tuple(t.model_copy(update={"held": False}) for t in c.trials)})
        if (c.probe, c.persona, c.tool) == ("order", "futurist", "bramble")
        else c
        for c in run.cells
    )
    broken = run.model_copy(update={"cells": cells})
    failed = [c for c in checks(broken, None) if c.status == "failed"]
    assert [(c.persona, c.probe) for c in failed] == [("futurist", "order")]
    assert "2 of 4 trials differ" in failed[0].sentences[0]
    assert to_annotations(broken)[0].startswith(
        "::error file=personas/futurist.md,title=Futurist%3A order::the futurist"
    )


def test_junit_is_read_back() -> None:
    root = parsed(to_junit(example(), example_gate()))
    assert root.tag == "testsuites"
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["Builder", "Futurist", "The panel"]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("19", "1", "0")
    for suite in root:
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
        names = [(case.get("classname"), case.get("name")) for case in cases]
        assert len(names) == len(set(names))
    (failure,) = root.iter("failure")
    assert failure.get("message") == example_gate().findings[0].sentence
    assert failure.get("type") == "regress"
    assert "holds 87.5% (60.0–100.0)" in str(failure.text)
    case = suites["Builder"].find("testcase[@name='rewording']")
    assert case is not None
    assert case.get("classname") == "review-panel.builder"


@pytest.mark.parametrize(("outcome", "code"), [("not comparable", 5), ("unreliable baseline", 4)])
def test_a_gate_that_compared_nothing_is_an_error_in_junit_too(outcome: str, code: int) -> None:
    root = parsed(to_junit(example(), stopped(outcome, code)))
    (error,) = root.iter("error")
    assert error.get("type") == outcome
    assert root.get("errors") == "1"
    assert len(list(root.iter("skipped"))) == int(root.get("tests", "0")) - 1
    (line,) = to_annotations(example(), stopped(outcome, code))
    assert line == (
        f"::error title={outcome.capitalize()}::{outcome.capitalize()}: the model is another one.%0Athe engine, too."
    )


def test_hostile_text_is_well_formed_xml() -> None:
    run, gate, _ = hostile()
    bad = gate.findings[0].model_copy(update={"sentence": f"{EVIL}\x00\ufffe\ud800"})
    root = parsed(to_junit(run, gate.model_copy(update={"findings": (bad,)})))
    (failure,) = root.iter("failure")
    assert "<script>alert(1)</script>" in str(failure.get("message"))
    assert "]]> &amp;" in str(failure.text)


def test_annotations_are_one_line_each_with_everything_escaped() -> None:
    nasty = finding(probe="a:b,c%", sentence="50% worse,\r\nsee: ::error::no\x1b[31m")
    (line,) = to_annotations(example(), example_gate().model_copy(update={"findings": (nasty,)}))
    assert line == (
        "::error file=personas/builder.md,title=Builder%3A a%3Ab%2Cc%25::50%25 worse,%0Asee: ::error::no[31m"
    )
    run, gate, _ = hostile()
    assert all(line.startswith("::error file=personas/") and "\n" not in line for line in to_annotations(run, gate))


def test_notes_are_no_annotations_and_doubts_are_warnings() -> None:
    doubt, note = finding(counts="inconclusive"), finding(counts="note")
    gate = example_gate().model_copy(update={"findings": (doubt, note)})
    assert [line.split(" ")[0] for line in to_annotations(example(), gate)] == ["::warning"]


def test_more_annotations_than_are_shown_end_in_their_number() -> None:
    gate = example_gate().model_copy(update={"findings": tuple(finding(probe=f"p{n}") for n in range(13))})
    lines = to_annotations(example(), gate)
    assert len(lines) == LIMIT
    assert lines[-1] == "::error title=Review panel::4 more findings: see the report"


def test_the_summary_is_markdown_that_shows_what_it_says() -> None:
    text = to_markdown(example(), example_gate(), baseline())
    assert text.startswith("## ❌ Regress\n\n**The builder's verdict no longer holds")
    assert "| ❌ regress | Builder | rewording | −0.250 (−0.600 to −0.010) | 1 / 0 | 0.0300 |" in text
    assert "| lanternfish | Builder | rewording, wording 1 | ship 0.56 | skip 0.44 |" in text
    assert "| engine | same | not run: transformers needs PyTorch |" in text
    assert to_markdown(example()).startswith("## ℹ️ Stability of the panel\n\n**1 of 24 changes")


def test_hostile_text_stays_text_in_markdown() -> None:
    text = to_markdown(*hostile())
    assert "<script" not in text
    assert "\x1b" not in text
    assert "{{" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    markdown_it = pytest.importorskip("markdown_it")
    tokens = [
        inner
        for token in markdown_it.MarkdownIt("commonmark").enable("table").parse(text)
        for inner in [token, *(token.children or [])]
    ]
    html = {token.content.strip() for token in tokens if token.type in ("html_block", "html_inline")}
    assert html == {"<details><summary>1 verdict not as in the baseline</summary>", "</details>"}
    assert not [token for token in tokens if token.type in ("link_open", "image", "fence", "code_block")]
    # findings, changed verdicts, probes, personas
    assert sum(token.type == "table_open" for token in tokens) == 4


# -------------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A run and a baseline in which lanternfish × builder did hold."""
    run = example()
    held = tuple(
        c.model_copy(update={"trials": tuple(t.model_copy(update={"held": True}) for t in c.trials)}) for c in run.cells
    )
    then = run.model_copy(update={"cells": held})
    (tmp_path / "run.json").write_text(to_json(run), encoding="utf-8")
    save(tmp_path / "blessed.json", baseline(then), to_json(then))
    return str(tmp_path / "run.json"), str(tmp_path / "blessed.json")


def test_the_gate_writes_every_form(files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    run, blessed = files
    paths = {form: tmp_path / "out" / form for form in ("html", "junit", "markdown")}
    options = [part for form, path in paths.items() for part in (f"--{form}", str(path))]
    done = CliRunner().invoke(app, ["eval", "gate", run, "--baseline", blessed, "--json", *options])
    said = judge(Stability.model_validate_json(Path(run).read_text(encoding="utf-8")), loaded(blessed))
    assert done.exit_code == said.exit_code == 3  # one trial of two tools: that may be chance
    assert json.loads(done.stdout)["outcome"] == "inconclusive"
    assert "::warning file=personas/builder.md,title=Builder%3A rewording::" in done.stderr
    assert "<!DOCTYPE html>" in paths["html"].read_text(encoding="utf-8")
    assert (
        parsed(paths["junit"].read_text(encoding="utf-8")).get("failures") == "2"
    )  # the builder's, and so the panel's
    assert paths["markdown"].read_text(encoding="utf-8").startswith("## ⚠️ Inconclusive")
    first = {form: path.read_bytes() for form, path in paths.items()}
    again = CliRunner().invoke(app, ["eval", "report", run, "--baseline", blessed, "--no-annotations", *options])
    assert (again.exit_code, again.stdout) == (0, "")
    assert "::" not in again.stderr
    assert {form: path.read_bytes() for form, path in paths.items()} == first


def test_a_run_is_reported_as_it_ends(files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a baseline and without one; what is printed is what it was."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setattr("panel.engines.open_engine", lambda name, model: world.engine())
    monkeypatch.setattr("panel.run.calibrate_for", lambda personas, prompts, by: list(personas))
    monkeypatch.setattr("evals.stability.run.run_stability", lambda *_, **__: example())
    page, junit = tmp_path / "report.html", tmp_path / "report.xml"
    common = ["--cases", "thimblecode", "--out", str(tmp_path / "out"), "--html", str(page), "--quiet", "--json"]
    done = CliRunner().invoke(app, ["eval", "stability", *common, "--junit", str(junit), "--annotations"])
    assert done.exit_code == 0, done.output
    assert Stability.model_validate_json(done.stdout) == example()
    assert page.read_text(encoding="utf-8") == to_html(example())
    assert parsed(junit.read_text(encoding="utf-8")).get("failures") == "0"
    done = CliRunner().invoke(app, ["eval", "stability", *common, "--baseline", files[1]])
    assert done.exit_code == 3
    assert "A. Editor blessed on 2026-01-02" in page.read_text(encoding="utf-8").replace("<bdi>", "").replace(
        "</bdi>", ""
    )


def loaded(path: str) -> Baseline:
    return Baseline.model_validate_json(Path(path).read_text(encoding="utf-8"))


def test_a_report_without_a_file_is_a_mistake(files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    done = CliRunner().invoke(app, ["eval", "report", files[0]])
    assert isinstance(done.exception, SetupError)
    assert "--html FILE" in str(done.exception)
    done = CliRunner().invoke(app, ["eval", "gate", *files[:1], "--baseline", files[1]])
    assert "::" not in done.stderr
