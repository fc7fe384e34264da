"""Nothing that changes nothing may ring: reruns of an unchanged tree, and edits that no verdict can depend on.

    python -m evals.harmless --times 50              fifty of each, from the kept answers; no model is needed

An edit misspells comments in the files of personas, prompts and cases, lays their YAML out anew, renames the cases'
folders, turns the cases' order around, and adds empty lines at the end: some of it each time, drawn by a seed.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml

from evals.cli import ANSWERS, BASELINES
from evals.gate import judge, lacking, load_baseline
from evals.shared import CASES, note, report, run
from evals.stability.kept import Kept, replaying
from evals.stability.missing import MissingRun
from evals.stability.run import run_stability, to_json
from evals.stability.verdict import Baseline, Gate
from panel.assets import asset_folder
from panel.gold import Case, load_case
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.run import calibrate_for

#: Fewer of the blessed run's probes do here: each kind of them, whole reviews included.
PROBES = ("order", "rewording", "price-doubled", "live")


def again(
    kept: Kept, baseline: Baseline, cases: Sequence[Case], tree: Path | None, only: Sequence[str]
) -> tuple[Gate, str]:
    """The blessed run once more, with the personas and prompts of `tree` (default: ours).

    Returns:
        The gate's word, and the run's bytes.
    """
    prompts = Prompts(tree / "prompts" if tree else None)
    settings = baseline.run.about.settings
    with tempfile.TemporaryDirectory() as work:
        personas = calibrate_for(load_personas(tree / "personas" if tree else None), prompts, kept.engine())
        known = [probe.name for probe in baseline.run.probes]
        try:
            made = run_stability(
                kept.engine(), prompts, personas, cases, Path(work), seeds=int(settings["seeds"]),
                draws=int(settings["draws"]), live=_live(baseline), only=[name for name in only if name in known],
                again=kept.engine,
            )  # fmt: skip
        except MissingRun as error:
            return lacking(error, baseline), ""
    return judge(made, baseline), to_json(made)


def _live(baseline: Baseline) -> int:
    """How many cases were reviewed live."""
    live = {probe.name for probe in baseline.run.probes if probe.live}
    return max((len({c.tool for c in baseline.run.cells if c.probe == name}) for name in live), default=0)


def ordered(baseline: Baseline, root: Path) -> list[Path]:
    """The cases' folders, those that were reviewed live first."""
    live = {probe.name for probe in baseline.run.probes if probe.live}
    first = sorted({cell.tool for cell in baseline.run.cells if cell.probe in live})
    return [root / name for name in dict.fromkeys([*first, *baseline.run.about.cases])]


def edit(tree: Path, folders: Sequence[Path], live: int, seed: int) -> list[Case]:
    """Copy personas, prompts and cases into `tree` with harmless edits. Returns the cases from there."""
    rng = random.Random(seed)  # noqa: S311
    for name in ("personas", "prompts"):
        shutil.copytree(asset_folder(name), tree / name)
    for path in rng.sample(sorted((tree / "personas").glob("*.md")), 2):
        text = path.read_text(encoding="utf-8").replace("---\n", f"---\n# a coment, edit {seed}\n", 1)
        path.write_text(text.rstrip("\n") + "\n" * rng.randint(1, 4), encoding="utf-8")
    for path in rng.sample(sorted((tree / "prompts").glob("*.j2")), 2):
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{{# edit {seed}: a coment for poeple #}}\n{text}", encoding="utf-8")
    cases = []
    for folder in folders:
        copy = tree / "cases" / f"{rng.choice('abc')}-{folder.name}"
        copy.mkdir(parents=True)
        for name in ("dossier.yaml", "gold.yaml"):
            text = (folder / name).read_text(encoding="utf-8")
            if rng.random() < 0.2:
                text = yaml.safe_dump(yaml.safe_load(text), sort_keys=rng.random() < 0.5, allow_unicode=True)
            (copy / name).write_text(f"# speling {seed}\n{text}", encoding="utf-8")
        cases.append(load_case(copy))
    # the live ones are the first of a run
    return [*rng.sample(cases[:live], live), *rng.sample(cases[live:], len(cases) - live)]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    times: Annotated[int, typer.Option(min=1, help="Reruns, and as many edits.")] = 50,
    every: Annotated[bool, typer.Option("--every", help="Every probe of the blessed run, which takes longer.")] = False,
    answers: Annotated[Path, typer.Option(help="The kept answers.")] = ANSWERS,
    baseline: Annotated[Path, typer.Option(help="The blessed run.")] = BASELINES / "stability.json",
    cases: Annotated[Path, typer.Option(help="The folder of the cases.")] = CASES,
    engine: str = "openvino",
    model: str = "embedded",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Count false alarms; exit code 1 where there is one, or where two reruns differ in a byte."""
    blessed = load_baseline(baseline)
    folders = ordered(blessed, cases)
    only = [probe.name for probe in blessed.run.probes if not probe.unavailable] if every else PROBES
    said: dict[str, list[Gate]] = {"reruns of an unchanged tree": [], "harmless edits": []}
    reruns, edits = said.values()
    texts = set()
    with replaying(answers, engine, model) as kept:
        plain = [load_case(folder) for folder in folders]
        for n in range(times):
            found, text = again(kept, blessed, plain, None, only)
            reruns.append(found)
            texts.add(text)
            with tempfile.TemporaryDirectory() as folder:
                changed = edit(Path(folder), folders, _live(blessed), n)
                edits.append(again(kept, blessed, changed, Path(folder), only)[0])
            note(f"{n + 1} of {times}: {reruns[-1].sentence} {edits[-1].sentence}")
    rows = [["", "runs", "alarms", "verdicts compared", "verdicts changed"]]
    for name, gates in said.items():
        alarms = sum(gate.outcome != "pass" for gate in gates)
        compared, moved = sum(gate.compared for gate in gates), sum(len(gate.changes) for gate in gates)
        rows.append([name, str(len(gates)), str(alarms), f"{compared:,}", str(moved)])
    details = sorted({gate.sentence for gates in said.values() for gate in gates if gate.outcome != "pass"})
    details.append(f"reruns that differ in a byte: {len(texts) - 1}")
    result = {name: [gate.outcome for gate in gates] for name, gates in said.items()}
    report({**result, "texts": len(texts)}, rows, details, as_json=as_json)
    if len(details) > 1 or len(texts) > 1:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
