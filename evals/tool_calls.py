"""Do the reviewers' tool calls hold? Counts every call in the stored traces, over many seeds.

    python -m evals.tool_calls --seeds 20               runs the two reference tools, 20 times, and counts
    python -m evals.tool_calls --seeds 20 --peer 40     the same beside smolagents' own TransformersModel (needs torch)

A call counts three times: its raw output is JSON, it names a tool that exists, and its arguments validate against
that tool's inputs by smolagents' own check. Nothing is taken from what the reviewers say of themselves: only the
traces of reviews, scored or not, are read, and a review without its trace counts as a fault.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.shared import REFERENCE, case_folders, note, percent, read_json, report, run
from panel.records import PERSONA_SLUGS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

DEFAULT_OUT = Path("outputs/evals/tool-calls")
PEER_TOKENS = 160
#: How ToolCallingAgent calls its model.
STOP_SEQUENCES = ["Observation:", "Calling tools:"]


@dataclass
class Tally:
    """How many calls there were, and how many of them passed each check; `faults` says what failed, and where."""

    calls: int = 0
    parsed: int = 0
    existing: int = 0
    valid: int = 0
    faults: list[str] = field(default_factory=list)

    def count(self, where: str, raw: str, read: Callable[[str], tuple[Any, Any]]) -> None:
        """Count one call. `read` turns raw output into the tool's name and arguments, or raises."""
        from smolagents.tools import validate_tool_arguments

        self.calls += 1
        try:
            name, arguments = read(raw)
        except Exception as error:  # whatever a parser says to bad output, it did not parse
            self.faults.append(f"{where}: does not parse ({_short(error)}): {raw[:80]!r}")
            return
        self.parsed += 1
        tool = tool_classes().get(name) if isinstance(name, str) else None
        if tool is None:
            self.faults.append(f"{where}: there is no tool {str(name)[:60]!r}")
            return
        self.existing += 1
        try:
            # as ToolCallingAgent does: no arguments are an empty set of them
            validate_tool_arguments(tool, arguments or {})
        except Exception as error:  # it raises IndexError, too, for a bare value to a tool without inputs
            self.faults.append(f"{where}: {name}: {_short(error)}")
            return
        self.valid += 1


def tool_classes() -> dict[str, Any]:
    """The reviewers' tools by name. Their names, descriptions and inputs belong to the classes: none is called here."""
    from panel.reviewer import tools

    evidence = (tools.WeighEvidence, tools.FindEvidence, tools.ReadEvidence)
    return {tool.name: tool for tool in (*evidence, tools.Price, tools.ListRivals, tools.FinalAnswer)}


def read_own(step: Mapping[str, Any]) -> Callable[[str], tuple[Any, Any]]:
    """A reader for one step of a stored trace, strict: the raw output as a whole is one JSON object.

    What counts are the arguments that the tool got, by the trace. They must be those of the raw output, unchanged;
    only the beats of a final answer are decoded apart, each in a slot of its own, and come on top.
    """

    def read(raw: str) -> tuple[Any, Any]:
        call = json.loads(raw)
        if not isinstance(call, dict) or set(call) != {"name", "arguments"} or not isinstance(call["arguments"], dict):
            raise ValueError("not an object of name and arguments")
        name, written, got = call["name"], call["arguments"], step.get("arguments")
        if not isinstance(got, dict):  # it never came to a tool
            return name, written
        slots = {"beats"} if name == "final_answer" else set()
        if {key: value for key, value in got.items() if key not in slots} != written:
            raise ValueError("the tool did not get what was written")
        return name, got

    return read


def read_peer(raw: str) -> tuple[Any, Any]:
    """What smolagents makes of a model's text: its own parser, from the first { to the last }."""
    from smolagents import ChatMessage, MessageRole, Model

    message = Model(model_id="peer").parse_tool_calls(ChatMessage(role=MessageRole.ASSISTANT, content=raw))
    function = message.tool_calls[0].function
    return function.name, function.arguments


def trace_files(folder: Path, seeds: Sequence[int]) -> list[Path]:
    return [path for seed in seeds for path in sorted(_seed_folder(folder, seed).glob("reviews/*.trace.json"))]


def count_traces(folder: Path, seeds: Sequence[int]) -> Tally:
    """Count every call of every review of `seeds`, and hold the traces against the records."""
    tally = Tally()
    for seed in seeds:
        lengths: dict[str, int] = {}
        for path in trace_files(folder, [seed]):
            trace = read_json(path)
            where = f"seed {seed} {path.name.removesuffix('.trace.json')}"
            if not isinstance(trace, dict) or not isinstance(trace.get("steps"), list):
                tally.faults.append(f"{where}: the trace cannot be read")
                continue
            lengths[".".join(path.name.split(".")[:2])] = len(trace["steps"])
            for index, step in enumerate(trace["steps"]):
                tally.count(f"{where} step {index + 1}", str(step.get("raw")), read_own(step))
        tally.faults += _missing(_record(folder, seed), lengths, seed)
    return tally


def _missing(record: Mapping[str, Any] | None, lengths: Mapping[str, int], seed: int) -> list[str]:
    """Reviews of the record whose trace is missing, or is shorter than the steps that they took."""
    if record is None:
        return [f"seed {seed}: there is no record"]
    faults = []
    reviews = {(tool["slug"], review["persona"]): review for tool in record["tools"] for review in tool["reviews"]}
    for tool in REFERENCE:
        for persona in PERSONA_SLUGS:
            review, length = reviews.get((tool, persona)), lengths.get(f"{tool}.{persona}")
            if review is None or length is None:
                faults.append(f"seed {seed}: {tool}.{persona} has no {'review' if review is None else 'trace'}")
            elif length != (steps := review["provenance"]["steps"]):
                faults.append(f"seed {seed}: {tool}.{persona} took {steps} steps, its trace has {length}")
    return faults


def run_seeds(folder: Path, seeds: Sequence[int], *, fresh: bool) -> None:
    """Review the reference tools with every seed that is not done yet; the model is opened once."""
    from panel.dossier import dossier_sha256
    from panel.engines import open_engine
    from panel.personas import load_personas, persona_sha256
    from panel.prompts import Prompts
    from panel.run import calibrate_for, compare, load_dossiers

    dossiers, prompts = load_dossiers(case_folders()), Prompts()
    engine = open_engine("openvino", "embedded")
    personas = calibrate_for(load_personas(), prompts, engine)
    wanted = {(dossier_sha256(d), persona_sha256(p), prompts.sha256) for d in dossiers for p in personas}

    def is_done(seed: int) -> bool:
        """Whether its record was made from these dossiers, personas and prompts; a change of code leaves no mark."""
        record = _record(folder, seed)
        found = [r["provenance"] for tool in record["tools"] for r in tool["reviews"]] if record else []
        return {(p["dossier_sha256"], p["persona_sha256"], p["prompt_sha256"]) for p in found} == wanted

    todo = [seed for seed in seeds if fresh or not is_done(seed)]
    if len(todo) < len(seeds):
        note(f"{len(seeds) - len(todo)} of {len(seeds)} seeds are there already")
    if not todo:
        return
    for seed in todo:
        started = time.monotonic()
        # what an earlier, unfinished or outdated run left is not to be counted
        shutil.rmtree(_seed_folder(folder, seed), ignore_errors=True)
        outcome = compare(dossiers, personas, prompts, engine, out=_seed_folder(folder, seed), seed=seed, fresh=True)
        scored = sum(review.status == "scored" for tool in outcome.record.tools for review in tool.reviews)
        note(f"seed {seed}: {scored} of {len(wanted)} reviews scored, {time.monotonic() - started:.0f} s")


def _seed_folder(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed:02d}"


def _record(folder: Path, seed: int) -> dict[str, Any] | None:
    record = read_json(_seed_folder(folder, seed) / "-vs-".join(REFERENCE) / "comparison.json")
    return record if isinstance(record, dict) else None


# ------------------------------------------------------------------------------------------------------ peer


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of `items`, evenly spaced, the first among them; all of them where there are no more."""
    return [items[i * len(items) // count] for i in range(count)] if count < len(items) else list(items)


def count_peer(folder: Path, seeds: Sequence[int], count: int) -> Tally:
    """Put `count` of the stored prompts to smolagents' TransformersModel on the same weights, and count its calls."""
    traces = [read_json(path) or {} for path in trace_files(folder, seeds)]
    prompts = [step["prompt"] for trace in traces for step in trace.get("steps", [])]
    tally = Tally()
    answers = _Answers(folder / "peer.jsonl")
    for number, prompt in enumerate(spread(prompts, count), start=1):
        raw = answers.of(prompt)
        tally.count(f"prompt {number}", raw, read_peer)
        note(f"peer {number}/{min(count, len(prompts))}: {tally.parsed} parsed, {tally.valid} valid")
    return tally


class _Answers:
    """The peer's raw outputs, kept in a file, so that they can be looked at and need not be made twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._known: dict[str, str] = {entry["prompt_sha256"]: entry["raw"] for entry in map(json.loads, lines)}
        self._model: Any = None

    def of(self, prompt: Sequence[Mapping[str, str]]) -> str:
        key = hashlib.sha256(json.dumps([prompt, PEER_TOKENS]).encode()).hexdigest()
        if key not in self._known:
            self._known[key] = self._generate(prompt)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"prompt_sha256": key, "raw": self._known[key]}) + "\n")
        return self._known[key]

    def _generate(self, prompt: Sequence[Mapping[str, str]]) -> str:
        from smolagents import ChatMessage, MessageRole

        if self._model is None:
            self._model = _open_peer()
        messages = [ChatMessage(MessageRole(m["role"]), [{"type": "text", "text": m["content"]}]) for m in prompt]
        tools = list(tool_classes().values())
        answer = self._model.generate(messages, stop_sequences=STOP_SEQUENCES, tools_to_call_from=tools)
        return str(answer.content)


def _open_peer() -> Any:
    from panel.engines.hub import resolve_model
    from panel.errors import SetupError

    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise SetupError(
            "the peer needs PyTorch, which is not installed here", field="--peer",
            fix="make test-torch, then: .venv-torch/bin/python -m evals.tool_calls --peer …",
        ) from error  # fmt: skip
    from smolagents import TransformersModel

    folder = resolve_model("embedded", offline=True).folder
    # Unless do_sample is set, the checkpoint's generation config decides; False takes the likeliest token.
    return TransformersModel(model_id=str(folder), max_new_tokens=PEER_TOKENS, do_sample=False)


# --------------------------------------------------------------------------------------------------- command


@app.command(epilog="Example: python -m evals.tool_calls --seeds 20")
def main(
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Run and count the seeds 0 to this, less one.")] = 20,
    out: Annotated[Path, typer.Option(help="Folder for the runs, one folder a seed.")] = DEFAULT_OUT,
    peer: Annotated[int, typer.Option(min=0, help="Stored prompts to put to smolagents' own model (torch).")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every seed again, after a change of code.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Count the tool calls that parse, name an existing tool and validate. Exit code 1 if any of ours does not."""
    chosen = range(seeds)
    run_seeds(out, chosen, fresh=fresh)
    tallies = {"panel": count_traces(out, chosen)}
    if peer:
        tallies["TransformersModel"] = count_peer(out, chosen, peer)
    rows = [["", *tallies]]
    for label, name in (("calls", "calls"), ("parse", "parsed"), ("name a tool", "existing"), ("validate", "valid")):
        cells = [(getattr(t, name), t.calls) for t in tallies.values()]
        rows.append([label, *(str(n) if name == "calls" else f"{n} ({percent(n, total)})" for n, total in cells)])
    ours = tallies["panel"]
    report({name: asdict(t) for name, t in tallies.items()} | {"seeds": seeds}, rows, ours.faults, as_json=as_json)
    if ours.faults or ours.valid < ours.calls or not ours.calls:
        raise typer.Exit(1)


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]


if __name__ == "__main__":
    run(app)
