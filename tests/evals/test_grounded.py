"""The count of ungrounded names and numbers, on quotes written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals import grounded
from evals.grounded import Count, check, dossier_words, quotes_in, tokens
from panel.dossier import dossier_sha256, load_dossier
from panel.personas import load_personas
from panel.records import Persona

DOSSIER = """\
# made in Oslo, 1987
schema: dossier/1
slug: fernhook
name: "FernHook 2"
category: "Developer Tools"
tagline: "Webhooks that wait"
summary: "FernHook queues webhooks for thirty days. It is Apache-2.0 and runs on Debian."
entry_price: "$20 per seat"
license: "Apache-2.0"
pricing:
  - {plan: Team, price: 1200, currency: EUR, per: seat, period: year}
rivals: ["Zapline"]
evidence:
  - {id: E77, kind: benchmark, text: "A queue of 5,000 events drains in 2.5 seconds (95% of the time).", source: "https://example.org/Kubernetes"}
"""


@pytest.fixture
def persona() -> Persona:
    """The builder, with one short term, and stems that start with `The` and hold `first ten minutes`."""
    return next(p for p in load_personas() if p.slug == "builder").model_copy(update={"terms": ("API",)})


@pytest.fixture
def case(tmp_path: Path) -> Path:
    folder = tmp_path / "cases" / "fernhook"
    folder.mkdir(parents=True)
    (folder / "dossier.yaml").write_text(DOSSIER, encoding="utf-8")
    return folder


def missing(text: str, persona: Persona, case: Path) -> list[str]:
    import yaml

    count = Count()
    check(text, dossier_words(yaml.safe_load((case / "dossier.yaml").read_text())), persona, count, "here")
    return [line.split("'")[1] for line in count.missing]


@pytest.mark.parametrize(
    "text",
    [
        "The primitive is clear: FernHook queues webhooks on Debian.",
        "The tool is Apache-2.0, unlike Zapline's.",
        "It drains 5,000 events in 2.5 seconds, 95% of the time.",
        "It costs $20, and €1,200 on the plan called Team.",
        "It keeps them for thirty days behind an API.",
        "In the first ten minutes it helps that it waits.",  # a stem's own words
    ],
)
def test_what_the_dossier_or_the_persona_says_is_not_missing(text: str, persona: Persona, case: Path) -> None:
    assert missing(text, persona, case) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The primitive is clear: it beats Kafka.", ["Kafka"]),
        ("The tool runs on debian and on DEBIAN.", ["DEBIAN"]),  # letter for letter
        ("The tool is Apache-3.0.", ["Apache-3.0"]),
        ("The tool is Apache.", ["Apache"]),  # whole tokens only
        ("It costs $18.43.", ["$18.43"]),
        ("It drains 500 events in 25 seconds.", ["500", "25"]),
        ("It drains 95 events.", ["95"]),  # a share is not a count
        ("It keeps them for sixty days.", ["sixty"]),
        ("It waits ten days.", ["ten"]),  # `ten` is excused after `first` alone
        ("It helps that The primitive waits.", ["The"]),  # a stem's capital is excused at the start alone
        ("It was made in Oslo in 1987, for Kubernetes, says E77.", ["Oslo", "1987", "Kubernetes", "E77"]),
        ("KafkaHub waits.", ["KafkaHub"]),  # more than a first letter: not a word that merely starts a sentence
        ("2024 was its year.", ["2024"]),
        ("It waits—Kafka does not.", ["Kafka"]),
    ],
)
def test_planted_names_and_numbers_are_found(text: str, expected: list[str], persona: Persona, case: Path) -> None:
    assert missing(text, persona, case) == expected


def test_a_capital_that_may_only_start_the_sentence_is_let_pass_and_listed(persona: Persona) -> None:
    count = Count()
    check("Nimble it is. Nimble again! The end.", set(), persona, count, "here")
    assert count.missing == []
    assert count.openers == {"Nimble": 2}  # `The` starts a stem of the persona


def test_names_and_numbers_are_counted_apart(persona: Persona, case: Path) -> None:
    count = Count()
    check("The FernHook and Kafka take 5,000 or 60 or sixty.", {"FernHook", "5,000"}, persona, count, "here")
    assert (count.quotes, count.names, count.numbers, len(count.missing)) == (1, 2, 3, 3)


def test_tokens_stand_without_the_punctuation_around_them() -> None:
    assert list(tokens('He said: "It\'s $20/month (or C++)." Then 50+ left…')) == [
        ("He", True), ("said", False), ("It", False), ("$20/month", False), ("or", False), ("C++", False),
        ("Then", True), ("50+", False), ("left", False),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------- files


def review(case: Path, quote: str, **changes: Any) -> dict[str, Any]:
    provenance = {"seed": 0, "dossier_sha256": dossier_sha256(load_dossier(case))}
    return {"persona": "builder", "status": "scored", "quote": quote, "provenance": provenance} | changes


def write_record(path: Path, *reviews: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": "comparison/1", "tools": [{"slug": "fernhook", "reviews": reviews}]}))
    return path


def test_a_quote_in_a_record_and_in_its_review_counts_once(tmp_path: Path, case: Path) -> None:
    one, other = review(case, "It waits."), review(case, "It queues.")
    write_record(tmp_path / "out" / "a-vs-b" / "comparison.json", one, other, review(case, "", status="unscored"))
    (tmp_path / "out" / "reviews").mkdir()
    (tmp_path / "out" / "reviews" / "fernhook.builder.00ff.json").write_text(json.dumps(one))
    (tmp_path / "out" / "reviews" / "fernhook.builder.00ff.trace.json").write_text('{"steps": []}')
    assert [(q.tool, q.text) for q in quotes_in([tmp_path / "out"])] == [
        ("fernhook", "It waits."),
        ("fernhook", "It queues."),
    ]
    assert len(quotes_in([tmp_path / "out" / "reviews"])) == 1


def run(case: Path, *arguments: str) -> Any:
    return CliRunner().invoke(grounded.app, [*arguments, "--cases", str(case.parent)])


def test_the_command_passes_a_clean_record_and_fails_a_planted_one(tmp_path: Path, case: Path) -> None:
    clean = write_record(tmp_path / "clean.json", review(case, "FernHook waits thirty days."))
    assert run(case, str(clean)).exit_code == 0
    planted = write_record(tmp_path / "planted.json", review(case, "FernHook beats Kafka."))
    done = run(case, str(clean), str(planted))
    assert done.exit_code == 1
    assert "'Kafka' in 'FernHook beats Kafka.'" in done.stdout
    found = json.loads(run(case, str(clean), str(planted), "--json").stdout)
    assert (found["quotes"], found["names"], found["numbers"], len(found["missing"])) == (2, 3, 1, 1)


def test_a_quote_from_another_version_of_the_dossier_is_not_judged_and_fails(tmp_path: Path, case: Path) -> None:
    record = write_record(tmp_path / "old.json", review(case, "FernHook waits."))
    text = (case / "dossier.yaml").read_text().replace("thirty", "forty")
    (case / "dossier.yaml").write_text(text)
    done = run(case, str(record))
    assert done.exit_code == 1
    assert "fernhook has another dossier now" in done.stdout


def test_no_quote_at_all_is_a_failure_not_a_success(tmp_path: Path, case: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(case, str(tmp_path / "empty")).exit_code == 1
