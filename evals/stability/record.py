"""What `review-panel eval stability` finds (`stability/1`): what was asked, every answer, and the figures made of them.

A *subject* is one persona on one tool as it is written; a *cell* is a subject under one probe, with one *trial* per
change that the probe made. There is no clock in here, so that the same answers give the same bytes.

    Stability
    ├── about       model, engine, personas, cases: what must be alike for two runs to be compared
    ├── probes      what was done to the dossiers, personas or engine, and what should come of it
    ├── subjects    tool × persona: the verdict as written, gold, pulls
    ├── cells       tool × persona × probe: the trials (a strip ✓✓✗✓✓)
    ├── examples    the personas' own examples: label and pull
    ├── nothing     what facts that say nothing pull on average, before calibration (nats)
    └── figures     by probe and persona; agreement; personas against gold
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from panel.records import Calibration, Decision, PersonaSlug

#: What a probe changes. `rerun`: nothing. `order`: only what stands where. `content`: only how it is said, or what has
#: no bearing. `attack`: words to the reviewer beside an honest fact. `directional`: a fact that must count.
Family = Literal["rerun", "order", "content", "attack", "directional"]
#: What a probe should do to a verdict, or to p_ship.
Expects = Literal["same", "lower", "higher"]
Verdict = Literal["ship", "skip", "unscored"]
#: A persona, or all four together.
Who = PersonaSlug | Literal["all"]


class Record(BaseModel):
    """Fields may be added within a schema number; none may go."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Figure(Record):
    """A figure with its 95% interval, from `n` units; where it has no value, `undefined` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    undefined: str = ""


# ------------------------------------------------------------------------------------------------ what was asked


class PersonaAbout(Record):
    """A persona as it was judged. `prompt` is what the model reads to weigh, with "?" for the fact; `text` all that
    the persona's file says, for people who want to see what changed; `voice` counts the words of its prose; `own` is
    whether the calibration is the one that is kept for this model, engine and prompt."""

    sha256: str
    voice: int = 0
    calibration: Calibration
    own: bool = False
    prompt: str
    text: str


class About(Record):
    """What a run was made with.

    `cases` holds a hash over dossier and gold for each tool; `settings` what else the answers depend on (seeds, draws).
    """

    model: str
    model_sha256: str
    adapter_sha256: str
    engine: str
    engine_version: str
    weighing: int
    prompts_sha256: str
    personas: dict[PersonaSlug, PersonaAbout]
    cases: dict[str, str]
    settings: dict[str, str] = {}


class Probe(Record):
    """One probe. `sha256` goes over all that it adds or puts in the place of something else, so that two runs can tell
    whether they did the same. `unavailable` says why it could not be run here; it then has no cells."""

    name: str
    family: Family
    expects: Expects
    title: str
    sha256: str = ""
    live: bool = False
    exact: bool = False  # the panel promises this by its construction: one failure is a fault, not a statistic
    unavailable: str = ""


# ----------------------------------------------------------------------------------------------------- the answers


class Subject(Record):
    """One persona on one tool as it is written. `pulls`: log-odds in nats by evidence id."""

    tool: str
    persona: PersonaSlug
    gold: Decision | None
    decision: Verdict
    p_ship: float | None
    pulls: dict[str, float] = {}


class Labelled(Record):
    """An example of a persona's file: what its label says, and how far the fact pulls that persona (nats)."""

    persona: PersonaSlug
    fact: str
    label: Literal["good", "bad"]
    log_odds: float


class Edit(Record):
    """What a trial put in the place of what: `before` is empty where something was added."""

    where: str
    before: str
    after: str


class Trial(Record):
    """One change, and what came of it.

    `before` and `p_before` are set where the change is not measured against the tool as written. `held` says that what
    the probe expects came true; `flip` that the decision is another one (for reruns: than the cell's mode). `words` is
    how many words of evidence there were more than before; `edits` are kept only where the trial did not hold or
    flipped. `written` is a hash over what the persona wrote (live runs); `reason` says why a trial is unscored or did
    not hold.
    """

    label: str
    decision: Verdict
    p_ship: float | None
    held: bool
    flip: bool
    before: Verdict | None = None
    p_before: float | None = None
    words: int = 0
    edits: tuple[Edit, ...] = ()
    written: str = ""
    reason: str = ""


class Cell(Record):
    """One subject under one probe."""

    tool: str
    persona: PersonaSlug
    probe: str
    trials: tuple[Trial, ...]

    @property
    def strip(self) -> str:
        """✓ held, ✗ did not hold, – unscored; one mark per trial."""
        return "".join("–" if t.decision == "unscored" else "✓" if t.held else "✗" for t in self.trials)


# ----------------------------------------------------------------------------------------------------- the figures


class ProbeFigures(Record):
    """One probe for one persona, or for all.

    `flips` and `held` are shares of the scored trials, `never` the share of cells without a flip, `entropy` the mean
    over cells (bits), `shift` the mean of p_ship after less before, `moved` the mean of its absolute value, `slope`
    the change of p_ship per 100 words more. For probes with two orders: `consistency` is the share of trials with the
    same decision, `bias` the share of flips toward ship less that toward skip, `mcnemar` the exact p-value of that.
    """

    probe: str
    persona: Who
    tools: int
    cells: int
    trials: int
    unscored: int
    flips: Figure
    held: Figure
    never: Figure
    entropy: float | None
    shift: Figure
    moved: Figure
    largest: float | None
    slope: Figure | None = None
    consistency: Figure | None = None
    bias: float | None = None
    mcnemar: float | None = None


class Bin(Record):
    """One step of a calibration curve: `n` verdicts with p_ship in [low, high), their mean, and how many are ships."""

    low: float
    high: float
    n: int
    p_ship: float | None
    ships: Figure


class Confusion(Record):
    """Verdicts by what the panel says and what gold says: `ship_skip` is said ship, gold skip."""

    ship_ship: int = 0
    ship_skip: int = 0
    skip_ship: int = 0
    skip_skip: int = 0
    unscored: int = 0


class PersonaFigures(Record):
    """One persona, or all, against gold and against the other personas.

    `signal` is the variance of its p_ship about the panel's mean on a tool, over the variance that content-preserving
    changes give it; `signal_p` is from a permutation test of its verdicts against the other personas'. A persona that
    adds nothing beyond noise is `decoration`.
    """

    persona: Who
    right: Figure
    brier: Figure
    confusion: Confusion
    curve: tuple[Bin, ...]
    within: Figure | None = None
    signal: Figure | None = None
    signal_p: float | None = None
    decoration: bool | None = None


class Agreement(Record):
    """How much the personas say the same: Krippendorff's alpha, undefined where there is one category only.

    Beside it the raw share of agreeing pairs, the share of ships, the mean correlation of p_ship and what it makes of
    four votes: N / (1 + (N − 1)ρ).
    """

    between: Figure
    raw: Figure
    prevalence: Figure
    correlation: Figure
    effective_votes: Figure


class Figures(Record):
    probes: tuple[ProbeFigures, ...]
    personas: tuple[PersonaFigures, ...]
    agreement: Agreement


class Stability(Record):
    """A whole run."""

    schema_: Literal["stability/1"] = Field(default="stability/1", alias="schema")
    about: About
    probes: tuple[Probe, ...]
    subjects: tuple[Subject, ...]
    cells: tuple[Cell, ...]
    examples: tuple[Labelled, ...] = ()
    nothing: dict[PersonaSlug, float] = {}
    figures: Figures
