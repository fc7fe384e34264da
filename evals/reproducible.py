"""Is a record the same when it is made again? Runs `review-panel compare` on the reference tools twice, and compares.

    python -m evals.reproducible                                     twice with one engine: equal but for the clock
    python -m evals.reproducible --engines openvino transformers     once with each (.venv-torch): the same decisions

Each run is a process of its own that keeps nothing of the other (`--no-cache`, another folder, another hash seed), so
an order that hangs on Python's hashing, a warm cache, or a review that was merely read back would show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.shared import case_folders, note, panel_command, read_json, report, run
from panel.errors import SetupError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def without_clock(record: Any) -> Any:
    """The record without what a clock wrote: `created`, and `seconds` of each provenance."""
    if isinstance(record, list):
        return [without_clock(item) for item in record]
    if not isinstance(record, dict):
        return record
    kept = {key: value for key, value in record.items() if not (key == "created" and "schema" in record)}
    if isinstance(kept.get("provenance"), dict):
        kept["provenance"] = {key: value for key, value in kept["provenance"].items() if key != "seconds"}
    return {key: without_clock(value) for key, value in kept.items()}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, one line each; 1 and 1.0 differ, as do 0 and false."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = [f"{where}.{key}: only in one of them" for key in sorted(one.keys() ^ other.keys())]
        for key in one:
            if key in other:
                found += differences(one[key], other[key], f"{where}.{key}")
        return found
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return [f"{where}: {len(one)} and {len(other)} items"]
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{where}[{i}]")]
    same = type(one) is type(other) and one == other
    return [] if same else [f"{where}: {str(one)[:120]!r} and {str(other)[:120]!r}"]


@dataclass
class Agreement:
    """How close two engines come on the same reviews; log-odds in nats."""

    reviews: int = 0
    same_decisions: int = 0
    pulls: int = 0
    max_delta_p_ship: float = 0.0
    max_delta_log_odds: float = 0.0
    faults: list[str] = field(default_factory=list)


def agreement(one: Mapping[str, Any], other: Mapping[str, Any]) -> Agreement:
    """Compare decisions, p_ship and pulls of two records; a review that is not scored in both is a fault."""
    result = Agreement()
    left, right = _reviews(one), _reviews(other)
    result.faults += [f"{' '.join(key)}: only one record has it" for key in sorted(left.keys() ^ right.keys())]
    for key in sorted(left.keys() & right.keys()):
        a, b, name = left[key], right[key], " ".join(key)
        result.reviews += 1
        if a["status"] != "scored" or b["status"] != "scored":
            result.faults.append(f"{name}: {a['status']} and {b['status']}")
            continue
        if a["decision"] == b["decision"]:
            result.same_decisions += 1
        else:
            result.faults.append(f"{name}: {a['decision']} ({a['p_ship']}) and {b['decision']} ({b['p_ship']})")
        result.max_delta_p_ship = max(result.max_delta_p_ship, abs(a["p_ship"] - b["p_ship"]))
        odds, others = ({p["evidence"]: p["log_odds"] for p in review["pulls"]} for review in (a, b))
        if odds.keys() != others.keys() or not odds:
            result.faults.append(f"{name}: pulls of {len(odds)} and {len(others)} pieces of evidence")
        for evidence in odds.keys() & others.keys():
            result.pulls += 1
            result.max_delta_log_odds = max(result.max_delta_log_odds, abs(odds[evidence] - others[evidence]))
    return result


def _reviews(record: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(tool["slug"], review["persona"]): review for tool in record["tools"] for review in tool["reviews"]}


def make_record(out: Path, *, engine: str, seed: int, hash_seed: int) -> Any:
    """The record of one run of its own process, as it was stored.

    Raises:
        SetupError: the command failed.
    """
    started = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)  # a run that crashes must not leave the record of an earlier one
    command = [*panel_command(), "compare", *map(str, case_folders()), "--engine", engine, "--seed", str(seed)]
    command += ["--out", str(out), "--no-cache", "--quiet", "--json"]
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, check=False, env={**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    )
    record = read_json(out / "-vs-".join(path.name for path in case_folders()) / "comparison.json")
    if done.returncode not in (0, 1) or record is None:
        raise SetupError(f"review-panel ended with exit code {done.returncode}", fix="see its message above", path=out)
    note(f"{out.name}: {time.monotonic() - started:.0f} s")
    return record


@app.command(
    epilog="Examples: python -m evals.reproducible, and .venv-torch/bin/python -m evals.reproducible "
    "--engines openvino transformers"
)
def main(
    engines: Annotated[tuple[str, str] | None, typer.Option(help="Two engines to hold against each other.")] = None,
    engine: Annotated[str, typer.Option(help="The engine that runs twice.")] = "openvino",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("outputs/evals/reproducible"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make the record of the reference tools twice.

    Exit code 1 if anything but the clock differs; with --engines, if a decision does.
    """
    if engines is None:
        one, other = (
            without_clock(make_record(out / name, engine=engine, seed=seed, hash_seed=number))
            for number, name in enumerate(("first", "second"))
        )
        found = differences(one, other)
        scored = sum(review["status"] == "scored" for review in _reviews(one).values())
        rows = [["reviews", str(len(_reviews(one)))], ["scored", str(scored)], ["differences", str(len(found))]]
        report({"reviews": len(_reviews(one)), "scored": scored, "differences": found}, rows, found, as_json=as_json)
        raise typer.Exit(1 if found or not scored else 0)
    one, other = (make_record(out / name, engine=name, seed=seed, hash_seed=0) for name in engines)
    result = agreement(one, other)
    rows = [
        ["reviews", str(result.reviews)],
        ["same decision", str(result.same_decisions)],
        ["largest |Δ p_ship|", f"{result.max_delta_p_ship:.4f}"],
        ["largest |Δ log_odds| (nats)", f"{result.max_delta_log_odds:.4f} over {result.pulls} pulls"],
    ]
    report(asdict(result), rows, result.faults, as_json=as_json)
    if result.faults or not result.reviews:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
