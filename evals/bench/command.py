"""The benchmark's order: tasks and model files, one contender after the other, the record, the table, the plot."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from evals.bench.children import Ended, interpreter_with, interpreters, run_child
from evals.bench.contenders import Contender, Material, ceiling, ours, peers
from evals.bench.figures import Figures, Ratio, Spread, figures, ratio, shares
from evals.bench.plot import Bar, check_plotting, draw
from evals.grounded import dossier_words
from evals.peers.tasks import tasks_json
from evals.shared import case_folders, note, report
from evals.validity import Verdict, judge
from panel.errors import SetupError
from panel.files import write_atomic
from panel.personas import load_personas
from panel.records import Dossier
from panel.run import load_dossiers

#: What the project sets out to show: how many times the reviews per minute of each peer, and the share of the ceiling.
WANTED = {"smolagents": 50.0, "outlines": 10.0, "llama-cpp": 5.0}
WANTED_SHARE = 0.6
Level = Literal["well_formed", "grounded"]
#: What is counted: any JSON of the right form, which is kinder to the peers, or what passes the panel's own checks too.
LEVELS: dict[Level, str] = {"well_formed": "by well-formed answers", "grounded": "by reviews that pass the checks"}
#: Seconds that a contender may take beyond its minutes, for loading and for the try that it is at.
PATIENCE_S = 1200.0


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `only` holds names of contenders, or beginnings of them."""

    tools: int
    engines: tuple[str, ...]
    model: str
    seed: int
    minutes: float
    reviews: int
    pythons: tuple[Path, ...]
    gguf: Path | None
    only: tuple[str, ...]
    out: Path
    as_json: bool
    plot: bool


@dataclass(frozen=True)
class Ran:
    """A contender, how it ended, and its figures where it ran at all."""

    contender: Contender
    ended: Ended
    figures: Figures | None


def bench(options: Options) -> None:
    """Run the benchmark, write its record and its picture under `options.out`, and print it.

    Raises:
        SetupError: an option is wrong, the model is not here, or the plot cannot be drawn.
    """
    if options.plot:
        check_plotting()
    folders = case_folders(options.tools + 1)
    paths, warm_up = folders[:-1], folders[-1]
    dossiers = load_dossiers(folders)
    personas = load_personas()
    judged = _judge(dict(zip(folders, dossiers, strict=True)), personas)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out, prefix=".bench-") as scratch:
        given = _material(options, Path(scratch), paths, warm_up)
        write_atomic(given.tasks, tasks_json(dossiers[:-1], personas, dossiers[-1]))
        found = _chosen(given, options)
        looked_in = interpreters(Path(sys.executable), options.pythons)
        ran = [_run(contender, given, looked_in, judged, options.out) for contender in found]
    ran = _with_shares(ran)
    result = _record(ran, options, [dossier.slug for dossier in dossiers[:-1]])
    write_atomic(options.out / "bench.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    details = _details(ran, result)
    if options.plot:
        picture = options.out / "bench.png"
        draw(_bars(ran), _ceiling_per_minute(ran), _title(result), picture)
        details.append(f"plot: {picture}")
    details.append(f"record: {options.out / 'bench.json'}")
    report(result, table(ran), details, as_json=options.as_json)


def _judge(paths: dict[Path, Dossier], personas: Sequence[Any]) -> Callable[[dict[str, Any]], Verdict]:
    """Judges a line of event `review`."""
    known = {
        dossier.slug: (dossier, dossier_words(yaml.safe_load((path / "dossier.yaml").read_text(encoding="utf-8"))))
        for path, dossier in paths.items()
    }
    by_slug = {persona.slug: persona for persona in personas}

    def judged(line: dict[str, Any]) -> Verdict:
        if line.get("error"):
            return Verdict(False, False, (f"failed: {line['error']}"[:120],))
        dossier, words = known[line["tool"]]
        return judge(line["text"], dossier, words, by_slug[line["persona"]])

    return judged


def _material(options: Options, scratch: Path, paths: Sequence[Path], warm_up: Path) -> Material:
    """Resolve the model, and bring it into the forms that the peers read."""
    from panel.engines.embedded import SOURCES
    from panel.engines.hub import resolve_model

    resolved = resolve_model(options.model, offline=True)
    if options.gguf is not None and not options.gguf.is_file():
        raise SetupError("there is no such file", path=options.gguf, field="--gguf", fix="name a GGUF file")
    ggufs = {"GGUF": options.gguf.resolve()} if options.gguf is not None else {}
    source = SOURCES.get(options.model)
    if source is not None and not ggufs:
        ggufs["F16"] = scratch.resolve() / "f16.gguf"
        published = resolved.folder.parent / source.file_name  # quantised, without the adapter
        ggufs[published.suffixes[-2].lstrip(".")] = published
    return Material(
        model=options.model, folder=resolved.folder.resolve(), ggufs=ggufs, dossiers=tuple(paths), warm_up=warm_up,
        tasks=scratch.resolve() / "tasks.json", work=scratch.resolve() / "work.json", minutes=options.minutes,
        reviews=options.reviews, threads=os.cpu_count() or 1, seed=options.seed,
    )  # fmt: skip


def _write_f16(given: Material) -> None:
    """The weights that everyone else runs, for llama.cpp."""
    from panel.engines.convert import dequantise_gguf
    from panel.engines.embedded import SOURCES

    source = SOURCES[given.model]
    dequantise_gguf(given.folder.parent / source.file_name, given.ggufs["F16"], source.adapter)


def _chosen(given: Material, options: Options) -> list[Contender]:
    """Ours on openvino first, since the ceiling needs its work; the slowest last."""
    mine = ours(given, options.engines)
    first = [one for one in mine if one.name == "panel-openvino"]
    everyone = [*first, *([ceiling(given)] if first else []), *reversed(peers(given))]
    everyone += [one for one in mine if one not in first]
    unknown = [name for name in options.only if not any(one.name.startswith(name) for one in everyone)]
    if unknown:
        names = ", ".join(one.name for one in everyone)
        raise SetupError(f"there is no contender {unknown[0]!r}", field="--only", fix=f"choose among {names}")
    return [one for one in everyone if not options.only or one.name.startswith(options.only)]


def _run(
    contender: Contender,
    given: Material,
    looked_in: Sequence[Path],
    judged: Callable[[dict[str, Any]], Verdict],
    out: Path,
) -> Ran:
    python = interpreter_with(contender.needs, looked_in)
    if contender.name == "ceiling" and not given.work.is_file():
        return Ran(contender, Ended("failed", "the panel on openvino has left no work to hold it against"), None)
    if python is None:
        needs = ", ".join(contender.needs)
        return Ran(contender, Ended("not installed", f"needs {needs} in one environment; {contender.install}"), None)
    if contender.missing:
        return Ran(contender, Ended("not installed", contender.missing), None)
    note(f"{contender.label} …")
    if contender.name == "llama-cpp-f16":
        _write_f16(given)
    ended = run_child(contender.command(python), limit_s=60 * given.minutes + PATIENCE_S)
    lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in ended.events)
    write_atomic(out / "lines" / f"{contender.name}.jsonl", lines)
    return Ran(contender, ended, figures(ended, judged) if ended.events else None)


def _seconds(ran: Sequence[Ran], name: str) -> list[float]:
    return [line["seconds"] for one in ran if one.contender.name == name for line in one.ended.of("round")]


def _with_shares(ran: Sequence[Ran]) -> list[Ran]:
    """The panel on openvino gets its share of the ceiling."""
    share = shares(_seconds(ran, "panel-openvino"), _seconds(ran, "ceiling"))
    return [
        replace(one, figures=replace(one.figures, share=share))
        if one.contender.name == "panel-openvino" and one.figures
        else one
        for one in ran
    ]


def _ceiling_per_minute(ran: Sequence[Ran]) -> float | None:
    """Reviews per minute if the panel on openvino ran at its ceiling."""
    limits = _seconds(ran, "ceiling")
    rounds = [line for one in ran if one.contender.name == "panel-openvino" for line in one.ended.of("round")]
    reviews = sum(line["reviews"] for line, _ in zip(rounds, limits, strict=False))
    return 60 * reviews / sum(limits) if limits and reviews else None


def ratios(ran: Sequence[Ran], level: Level) -> list[Ratio]:
    """The panel's best engine against each peer, by reviews of a level."""
    mine = [getattr(one.figures, level) for one in ran if one.figures and _is_ours(one)]
    best = max(mine, key=lambda rate: rate.per_minute, default=None)
    found = []
    for one in ran:
        wanted = next((times for name, times in WANTED.items() if one.contender.name.startswith(name)), None)
        if wanted is not None:
            theirs = getattr(one.figures, level) if one.figures else None
            found.append(
                ratio(best, theirs, one.contender.label, wanted)
                if best
                else Ratio(one.contender.label, wanted, None)
            )  # fmt: skip
    return found


def _record(ran: Sequence[Ran], options: Options, tools: Sequence[str]) -> dict[str, Any]:
    """The record `bench/1`."""
    contenders = [
        {
            "name": one.contender.name, "label": one.contender.label, "state": one.ended.state,
            "reason": one.ended.reason, "software": next((e["software"] for e in one.ended.of("ready")), None),
            "rounds": one.ended.of("round"), "settings": one.ended.of("setting"),
            "figures": one.figures.to_json() if one.figures else None,
        }
        for one in ran
    ]  # fmt: skip
    return {
        "schema": "bench/1",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "model": options.model,
        "tools": list(tools),
        "seed": options.seed,
        "minutes": options.minutes,
        "contenders": contenders,
        "ceiling_reviews_per_minute": _ceiling_per_minute(ran),
        "ratios": {level: [one.to_json() for one in ratios(ran, level)] for level in LEVELS},
        "wanted_share": WANTED_SHARE,
    }


def machine() -> dict[str, Any]:
    """Cores, memory and processor; not whose machine it is."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "cpu": name, "cores": os.cpu_count(), "memory_bytes": pages, "system": platform.system(),
        "python": platform.python_version(),
    }  # fmt: skip


def table(ran: Sequence[Ran]) -> list[list[str]]:
    """One row per contender; the reasons of those that did not run stand below."""
    head = ["", "well-formed/min", "pass/min", "s per review (range)", "first review", "tokens/s written/read",
            "of ceiling", "peak memory"]  # fmt: skip
    return [head, *(_row(one) for one in ran)]


def _row(one: Ran) -> list[str]:
    found = one.figures
    if found is None:
        return [one.contender.label, one.ended.state]
    is_ceiling = one.contender.name == "ceiling"
    speed = [f"{value:.0f}" if value is not None else "—" for value in (found.written_per_s, found.read_per_s)]
    share: Spread | None = found.share
    return [
        one.contender.label + ("" if one.ended.state == "ok" else f" ({one.ended.state})"),
        "—" if is_ceiling else found.well_formed.shown(),
        "—" if is_ceiling else found.grounded.shown(),
        found.seconds_per_review.shown() if found.seconds_per_review else "—",
        f"{found.first_review_s:.1f} s" if found.first_review_s is not None else "—",
        "/".join(speed),
        f"{share.median:.0%} ({share.low:.0%}–{share.high:.0%})" if share else "100%" if is_ceiling else "—",
        f"{found.peak_bytes / 1e9:.2f} GB" if found.peak_bytes else "—",
    ]


def _details(ran: Sequence[Ran], result: dict[str, Any]) -> list[str]:
    """Below the table: who did not run and why, what reviews lacked, and how many times each peer."""
    lines = [""]
    for one in ran:
        if one.ended.state != "ok":
            lines.append(f"{one.contender.label}: {one.ended.state}: {one.ended.reason}")
        if one.figures and one.figures.well_formed.tries:
            faults = "; ".join(f"{fault} {n}" for fault, n in one.figures.faults.items())
            tries = one.figures.well_formed.tries
            lines.append(f"{one.contender.label}: {tries} tries; faults: {faults or 'none'}")
    words = {True: "met", False: "not met", None: "open"}
    for found in zip(*(ratios(ran, level) for level in LEVELS), strict=True):
        said = (f"{one.shown()} {what}, {words[one.met]}" for one, what in zip(found, LEVELS.values(), strict=True))
        lines.append(f"{found[0].wanted:g} times {found[0].peer}: {'; '.join(said)}")
    share = next((one.figures.share for one in ran if one.figures and one.figures.share), None)
    if share is not None:
        lines.append(f"{WANTED_SHARE:.0%} of the ceiling: {share.median:.0%}, {words[share.median >= WANTED_SHARE]}")
    return [*lines, f"machine: {_title(result)}"]


def _title(result: dict[str, Any]) -> str:
    one = result["machine"]
    memory = f", {one['memory_bytes'] / 2**30:.0f} GiB" if one["memory_bytes"] else ""
    tools = len(result["tools"])
    return f"{one['cores']} cores{memory}, {one['cpu']}; model {result['model']}; {tools} tools, seed {result['seed']}"


def _bars(ran: Sequence[Ran]) -> list[Bar]:
    """Ours on top, then the peers from (a) on."""
    shown = sorted(
        (one for one in ran if one.contender.name != "ceiling"), key=lambda one: (_is_ours(one), one.contender.label)
    )
    ordered = [one for one in shown if _is_ours(one)] + [one for one in shown if not _is_ours(one)]
    return [Bar(one.contender.label, one.figures, one.ended.state, _is_ours(one)) for one in ordered]


def _is_ours(one: Ran) -> bool:
    return one.contender.name.startswith("panel-")
