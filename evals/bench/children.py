"""Contenders as processes of their own: the interpreter that has what they need, what they print, how they end."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
#: Environments of a checkout that hold what ours does not, where they are there.
ENVIRONMENTS = (".venv-torch", ".venv-server")
#: Fields that a line must have, with what they hold.
FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "ready": {"software": str, "load_s": (int, float), "warm_up_s": (int, float)},
    "review": {"tool": str, "persona": str, "seconds": (int, float), "at": (int, float), "text": str},
    "round": {"seconds": (int, float), "reviews": int, "prompt_tokens": int, "completion_tokens": int},
    "setting": {"name": str, "seconds": (int, float)},
    "done": {"peak_bytes": (int, type(None))},
}


@dataclass
class Ended:
    """What a process has printed, and how it ended: `reason` says what went wrong, and is empty if nothing did."""

    state: Literal["ok", "failed", "not installed"]
    reason: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.events if line["event"] == event]


def interpreters(ours: Path, named: Sequence[Path], root: Path = ROOT) -> list[Path]:
    """Where to look for packages: our own interpreter, those `named`, those of the checkout's other environments."""
    scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    others = [root / folder / scripts for folder in ENVIRONMENTS]
    return list(dict.fromkeys([ours, *named, *(path for path in others if path.is_file())]))


def interpreter_with(modules: Sequence[str], among: Sequence[Path]) -> Path | None:
    """The first interpreter that has all of `modules`; None where there is none."""
    program = "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))"
    for path in among:
        try:
            done = subprocess.run([str(path), "-c", program, *modules], capture_output=True, check=False, cwd=ROOT)
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


def run_child(command: Sequence[str], *, limit_s: float) -> Ended:
    """Run `command` from the top of the checkout, and read the lines that it prints (see evals/peers/protocol.py).

    What a process has printed before it failed is kept. It is stopped after `limit_s` seconds.
    """
    # the models are here already, and nothing of a run shall wait for a network
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(
                [*command, "--started", repr(time.time())],
                cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        except OSError as error:
            return Ended("failed", f"it cannot be started: {error.strerror or error}")
        late = threading.Event()

        def stop() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(limit_s, stop)
        timer.start()
        try:
            out, _ = child.communicate()
        finally:  # also where a person presses Ctrl-C: nothing runs on
            timer.cancel()
            if child.poll() is None:
                child.kill()
                child.wait()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
    events, noise = read_lines(out.decode("utf-8", "replace"))
    if late.is_set():
        return Ended("failed", f"stopped after {limit_s:.0f} s", events)
    if child.returncode != 0:
        return Ended("failed", f"exit code {child.returncode}: {said[-1][:300] if said else 'it said nothing'}", events)
    if noise:
        return Ended("failed", f"it printed what is no line of the protocol: {noise[0][:200]!r}", events)
    if not events or events[-1]["event"] != "done":
        return Ended("failed", "it ended without saying that it was done", events)
    return Ended("ok", "", events)


def read_lines(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The events in `text`, and the lines that are none."""
    events, noise = [], []
    for line in filter(str.strip, text.splitlines()):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        fields = FIELDS.get(str(found.get("event"))) if isinstance(found, dict) else None
        if fields is None or not all(
            name in found and isinstance(found[name], kind) and not isinstance(found[name], bool)
            for name, kind in fields.items()
        ):
            noise.append(line)
        else:
            events.append(found)
    return events, noise
