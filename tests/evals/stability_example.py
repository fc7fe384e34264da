"""A run of two tools and two personas, and a gate that says no to it, written by hand: what outputs are tested on.

The tool names and one edit carry what a dossier may bring along: marks, entities, a control character's escape.
"""

from __future__ import annotations

from evals.stability.record import (
    About,
    Agreement,
    Bin,
    Cell,
    Confusion,
    Edit,
    Family,
    Figure,
    Figures,
    PersonaAbout,
    PersonaFigures,
    Probe,
    ProbeFigures,
    Stability,
    Subject,
    Trial,
)
from evals.stability.verdict import CellChange, Finding, Gate
from panel.records import Calibration

_CALIBRATION = Calibration(fitted=True, neutral=-0.2, deadband=0.4, intercept=-0.5, strengths=1.2, weaknesses=1.0)


def figure(value: float, low: float, high: float, n: int = 4) -> Figure:
    return Figure(value=value, low=low, high=high, n=n)


def nothing(why: str) -> Figure:
    return Figure(value=None, undefined=why)


def trial(label: str, p_ship: float, *, held: bool = True, flip: bool = False, edits: tuple[Edit, ...] = ()) -> Trial:
    decision = "ship" if p_ship >= 0.5 else "skip"
    return Trial(label=label, decision=decision, p_ship=p_ship, held=held, flip=flip, words=60, edits=edits)


REWORDED = Edit(where="E2", before="Backups stop <nightly>.", after="Each night, backups & jobs come to a stop.")


def example() -> Stability:
    """The record: lanternfish × builder flips in one of two rewordings, the rest stands."""
    about = About(
        model="embedded",
        model_sha256="a" * 64,
        adapter_sha256="b" * 64,
        engine="openvino",
        engine_version="2026.4.0",
        weighing=1,
        prompts_sha256="c" * 64,
        personas={
            "builder": PersonaAbout(
                sha256="d" * 64,
                calibration=_CALIBRATION,
                prompt="Fact (capability): ?\nFor a software developer, this is",
                text="audience: a software developer\n\nPlain and brief.",
            ),
            "futurist": PersonaAbout(
                sha256="e" * 64,
                calibration=_CALIBRATION,
                prompt="Fact (capability): ?\nFor someone who looks ahead, this is",
                text="audience: someone who looks ahead\n\nBold and dated.",
            ),
        },
        cases={"lanternfish": "1" * 64, "bramble": "2" * 64},
        settings={"seeds": "2", "draws": "2"},
    )
    probes = (
        Probe(name="rerun", family="rerun", expects="same", title="weighed again with another seed", exact=True),
        Probe(name="order", family="order", expects="same", title="evidence in another order", exact=True),
        Probe(name="rewording", family="content", expects="same", title="every fact in other words", sha256="3" * 64),
        Probe(
            name="licence-closed", family="directional", expects="lower", title="the licence is closed", sha256="4" * 64
        ),
        Probe(
            name="engine", family="content", expects="same", title="another engine",
            unavailable="transformers needs PyTorch",
        ),
    )  # fmt: skip
    subjects = tuple(
        Subject.model_validate(
            {"tool": tool, "persona": who, "gold": gold, "decision": said, "p_ship": p_ship, "pulls": pulls}
        )
        for tool, who, gold, said, p_ship, pulls in (
            ("lanternfish", "builder", "ship", "ship", 0.58, {"E1": 1.4, "E2": -0.9}),
            ("lanternfish", "futurist", "ship", "ship", 0.81, {"E1": 2.1, "E2": -0.2}),
            ("bramble", "builder", "skip", "skip", 0.12, {"E1": -1.8}),
            ("bramble", "futurist", "skip", "ship", 0.55, {"E1": 0.7}),
        )
    )
    cells = []
    for subject in subjects:
        p = subject.p_ship or 0.0
        calm = (trial("seed 0", p), trial("seed 1", p))
        said = [trial("wording 1", round(p - 0.03, 4)), trial("wording 2", round(p + 0.02, 4))]
        if (subject.tool, subject.persona) == ("lanternfish", "builder"):
            said[0] = trial("wording 1", 0.44, held=False, flip=True, edits=(REWORDED,))
        added = Edit(where="added", before="", after="The vendor closed the source.")
        closed = trial("closed 1", round(p - 0.1, 4), flip=(p >= 0.5) != (p - 0.1 >= 0.5), edits=(added,))
        for probe, trials in (
            ("rerun", calm),
            ("order", calm),
            ("rewording", tuple(said)),
            ("licence-closed", (closed,)),
        ):
            cells.append(Cell(tool=subject.tool, persona=subject.persona, probe=probe, trials=trials))  # fmt: skip
    families: dict[str, Family] = {probe.name: probe.family for probe in probes}
    rows = []
    for name, flips, total in (("rerun", 0, 8), ("order", 0, 8), ("rewording", 1, 8), ("licence-closed", 2, 4)):
        for who in ("all", "builder", "futurist"):
            share = flips / total if who != "futurist" else 0.0
            rows.append(
                ProbeFigures(
                    probe=name,
                    persona=who,
                    tools=2,
                    cells=4 if who == "all" else 2,
                    trials=total if who == "all" else total // 2,
                    unscored=0,
                    flips=figure(share, max(share - 0.1, 0.0), share + 0.2, total),
                    held=figure(1.0 if name != "rewording" else 1 - share, 0.6, 1.0, total),
                    never=figure(0.75 if flips else 1.0, 0.4, 1.0),
                    entropy=0.0,
                    shift=figure(-0.02, -0.06, 0.01, 2),
                    moved=figure(0.02, 0.0, 0.05, 2),
                    largest=0.14 if name == "rewording" else 0.0,
                    slope=figure(0.01, -0.02, 0.03, 2) if families[name] == "content" else None,
                    consistency=figure(1.0, 0.6, 1.0, 8) if families[name] == "order" else None,
                    bias=0.0 if families[name] == "order" else None,
                    mcnemar=1.0 if families[name] == "order" else None,
                )
            )
    curve = (
        Bin(low=0.0, high=0.5, n=1, p_ship=0.12, ships=figure(0.0, 0.0, 0.79, 1)),
        Bin(low=0.5, high=1.0, n=3, p_ship=0.65, ships=figure(0.667, 0.21, 0.94, 3)),
    )
    people = tuple(
        PersonaFigures(
            persona=who,
            right=figure(0.75 if who == "all" else 0.5 if who == "futurist" else 1.0, 0.3, 0.95),
            brier=figure(0.17, 0.05, 0.3),
            confusion=Confusion(ship_ship=2, ship_skip=1, skip_skip=1) if who == "all" else Confusion(ship_ship=1),
            curve=curve,
            within=figure(0.8, 0.5, 1.0) if who == "builder" else nothing("one verdict only"),
            signal=figure(4.1, 2.0, 8.0) if who != "all" else None,
            signal_p={"builder": 0.01, "futurist": 0.4}.get(who),
            decoration={"builder": False, "futurist": True}.get(who),
        )
        for who in ("all", "builder", "futurist")
    )
    agreement = Agreement(
        between=figure(0.3, -0.2, 0.7, 2),
        raw=figure(0.5, 0.1, 0.9, 2),
        prevalence=figure(0.75, 0.3, 0.95),
        correlation=nothing("two tools are too few"),
        effective_votes=nothing("two tools are too few"),
    )
    return Stability(
        about=about,
        probes=probes,
        subjects=subjects,
        cells=tuple(cells),
        figures=Figures(probes=tuple(rows), personas=people, agreement=agreement),
    )


def example_gate() -> Gate:
    """The example against a baseline in which nothing flipped."""
    sentence = "The builder's verdict no longer holds when facts are reworded: 1 of 2 tools flips, none did before."
    return Gate(
        outcome="regress",
        exit_code=1,
        sentence=f"Regress. {sentence}",
        findings=(
            Finding(
                persona="builder", probe="rewording", what="less stable", worse=True, exact=False,
                effect=figure(-0.25, -0.6, -0.01, 2), unit="share of trials that hold", lost=1, gained=0,
                p=0.03, smallest=0.2, counts="regress", sentence=sentence,
            ),
        ),
        changes=(
            CellChange(
                tool="lanternfish", persona="builder", probe="rewording", label="wording 1", then="ship", now="skip",
                p_then=0.56, p_now=0.44, right="then", pulls=(("E2", -0.5, -0.9),),
            ),
        ),
        compared=28,
        identical=27,
        smallest={"verdicts right": 0.2},
    )  # fmt: skip
