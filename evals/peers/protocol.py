"""What a peer is told on its command line, and what it prints: JSON lines on standard output.

    {"event": "ready", "software": "…", "load_s": 1.2, "warm_up_s": 0.8}
    {"event": "review", "tool": "…", "persona": "…", "seconds": 4.1, "at": 9.9, "text": "…", "error": null}
    {"event": "round", "seconds": 4.1, "reviews": 1, "prompt_tokens": 700, "completion_tokens": 300}
    {"event": "done", "peak_bytes": 900000000}

A round is what the clock is stopped for: one review, or as many as are made side by side; its reviews come before it.
`at` counts seconds from the start of the process, without what a peer may do uncounted. Only the standard library is
used here, since each peer has an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

#: A peer tries this often, however slow it is: one failure says little.
MIN_TRIES = 2


@dataclass(frozen=True)
class Task:
    """One review to write.

    `messages` are the system and the user turn, `schema` the JSON schema of the answer, `max_tokens` the cap on all of
    its tokens.
    """

    tool: str
    persona: str
    messages: tuple[dict[str, str], ...]
    schema: dict[str, Any]
    max_tokens: int


@dataclass(frozen=True)
class Job:
    """The command line: `tasks` in their order, `warm_up` on another tool; a review that is due after `minutes` is
    not begun."""

    model: Path
    tasks: tuple[Task, ...]
    warm_up: Task
    threads: int
    minutes: float


@dataclass(frozen=True)
class Answer:
    """What was written, and the tokens that were read and written for it."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class Peer(Protocol):
    software: str

    def warm_up(self, job: Job) -> None:
        """A first request, which is not counted."""
        ...

    def prepare(self, task: Task) -> None:
        """What could be done once and kept for this kind of task: compiling its grammar. Not counted."""
        ...

    def review(self, task: Task) -> Answer: ...


class Lines:
    """Standard output for our lines alone: what libraries print goes to standard error from here on.

    Args:
        started: when the process was started, as `time.time()` counts.
    """

    def __init__(self, started: float) -> None:
        sys.stdout.flush()
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._started = started

    def now(self) -> float:
        """Seconds since the process was started."""
        return time.time() - self._started

    def write(self, event: str, **values: Any) -> None:
        self._out.write(json.dumps({"event": event, **values}, ensure_ascii=False) + "\n")
        self._out.flush()


def read_job(arguments: argparse.Namespace) -> Job:
    data = json.loads(Path(arguments.tasks).read_text(encoding="utf-8"))
    tasks = tuple(Task(**{**task, "messages": tuple(task["messages"])}) for task in [data["warm_up"], *data["tasks"]])
    return Job(Path(arguments.model), tasks[1:][: arguments.reviews], tasks[0], arguments.threads, arguments.minutes)


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options that every contender has."""
    found = argparse.ArgumentParser(description=about)
    found.add_argument("--model", required=True, help="model folder or file")
    found.add_argument("--minutes", type=float, default=60.0, help="begin nothing after this")
    found.add_argument("--started", type=float, default=time.time(), help="when the process was started (Unix time)")
    return found


def serve(about: str | None, open_peer: Callable[[Job], Peer], arguments: Sequence[str] | None = None) -> None:
    """Load the peer, warm it up, and let it write one review after another."""
    options = parser(about)
    options.add_argument("--tasks", required=True, help="file written by: python -m evals.peers.tasks")
    options.add_argument("--reviews", type=int, default=None, help="how many of the tasks; default: all")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    known = options.parse_args(arguments)
    job = read_job(known)
    lines = Lines(known.started)
    peer = open_peer(job)
    loaded = lines.now()
    peer.warm_up(job)
    begun = lines.now()
    lines.write("ready", software=peer.software, load_s=loaded, warm_up_s=begun - loaded)
    counted = 0.0
    for number, task in enumerate(job.tasks):
        if number >= MIN_TRIES and counted >= 60 * job.minutes:
            break
        peer.prepare(task)
        start, error = time.perf_counter(), None
        try:
            answer = peer.review(task)
        except Exception as failure:  # a try that fails is a try
            answer, error = Answer("", 0, 0), f"{type(failure).__name__}: {failure}"[:500]
        seconds = time.perf_counter() - start
        counted += seconds
        lines.write(
            "review", tool=task.tool, persona=task.persona, seconds=seconds, at=begun + counted, text=answer.text,
            error=error,
        )  # fmt: skip
        tokens = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        lines.write("round", seconds=seconds, reviews=1, **tokens)
    lines.write("done", peak_bytes=peak_bytes())


def peak_bytes() -> int | None:
    """The most memory that this process has held; None where the system does not say.

    On Linux from /proc, since getrusage there also counts what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
