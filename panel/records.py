"""The frozen records that travel between the stops of a run.

Everything here is plain data: no file, no model, no clock. Input records (`Dossier`, `Persona`) refuse
unknown fields, so that a misspelt field is an error and not a silence; output records (`Review`, `Comparison`)
may gain fields within a schema number, and lose none.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

PERSONA_SLUGS: tuple[PersonaSlug, ...] = ("builder", "competitor-analyst", "futurist", "business-buyer")

#: The questions that each persona may answer (`beats` in a persona file names four or five of them).
BEAT_NAMES: dict[str, tuple[str, ...]] = {
    "builder": ("primitive", "dx-bet", "moment-of-truth", "weekend-alternative", "deciding-choice"),
    "competitor-analyst": ("direct-competitors", "where-it-breaks", "what-kills-it", "what-saves-it"),
    "futurist": ("thesis", "dependencies", "second-order-effect", "trend-timing", "future-infrastructure"),
    "business-buyer": ("buyer-and-budget", "pricing-and-moat", "stress-test", "purchase-verdict"),
}

Kind = Literal[
    "capability",
    "limitation",
    "docs",
    "license",
    "pricing",
    "adoption",
    "benchmark",
    "security",
    "support",
    "roadmap",
]
KINDS: tuple[str, ...] = Kind.__args__  # type: ignore[attr-defined]

PersonaSlug = Literal["builder", "competitor-analyst", "futurist", "business-buyer"]
Decision = Literal["ship", "skip"]

# C0 and C1 control characters (tab and newline apart), and the marks that reorder or hide text.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0e\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e01ef]"
)


def strip_unprintable(text: str) -> str:
    """`text` without control characters and without marks that reorder or hide text."""
    return _UNPRINTABLE.sub("", text)


def _printable(text: str) -> str:
    found = _UNPRINTABLE.search(text)
    if found:
        raise ValueError(f"contains the unprintable character U+{ord(found.group()):04X}; delete it")
    return text


def _line(max_length: int) -> StringConstraints:
    """A non-empty string on one line, of at most `max_length` characters."""
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=max_length, pattern=r"^[^\n\r]*$")


Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
EvidenceId = Annotated[str, StringConstraints(pattern=r"^E[1-9][0-9]{0,2}$")]
ShortLine = Annotated[str, _line(120), AfterValidator(_printable)]
TextLine = Annotated[str, _line(400), AfterValidator(_printable)]
Paragraph = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000), AfterValidator(_printable)
]


class _Input(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


# ---------------------------------------------------------------------------------------------- dossier/1


class Evidence(_Input):
    """One sentence-long fact."""

    id: EvidenceId
    kind: Kind
    text: TextLine
    source: TextLine


class PricePlan(_Input):
    """One price plan: `price` in `currency` per `per` and `period`."""

    plan: ShortLine
    price: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    per: ShortLine = "seat"
    period: Literal["once", "month", "year"] = "month"


class Community(_Input):
    """Votes of the site's readers; a `total` of 0 is shown as —."""

    ship: int = Field(default=0, ge=0, le=10**9)
    total: int = Field(default=0, ge=0, le=10**9)

    @model_validator(mode="after")
    def _ship_within_total(self) -> Community:
        if self.ship > self.total:
            raise ValueError(f"ship ({self.ship}) is more than total ({self.total}); total counts every vote")
        return self


class Dossier(_Input):
    """All that is known of one tool; the only thing that reviewers may rely on."""

    schema_: Literal["dossier/1"] = Field(alias="schema")
    slug: Slug
    name: ShortLine
    category: ShortLine
    tagline: TextLine
    summary: Paragraph
    entry_price: ShortLine
    license: ShortLine | None = None
    pricing: tuple[PricePlan, ...] = Field(default=(), max_length=20)
    rivals: tuple[ShortLine, ...] = Field(default=(), max_length=20)
    community: Community = Community()
    evidence: tuple[Evidence, ...] = Field(min_length=1, max_length=200)

    @field_validator("evidence")
    @classmethod
    def _evidence_ids_unique(cls, evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
        seen: set[str] = set()
        for item in evidence:
            if item.id in seen:
                raise ValueError(f"evidence id {item.id} is used twice; give each piece of evidence its own id")
            seen.add(item.id)
        return evidence


# ---------------------------------------------------------------------------------------------- persona/1


class Example(_Input):
    """One fact with its label, shown to the model before the fact that it must weigh."""

    fact: TextLine
    label: Literal["good", "bad"]


class BeatSpec(_Input):
    """One question that a persona always answers.

    `kinds` says what evidence the answer prefers to cite, `about` whether it speaks of what argues for the
    decision, of a strength or of a weakness. The stems are what the answer may start with, for each decision; a tool
    gets the same one each time. `silent` is the whole answer where no evidence is fit for it. Both may hold the
    placeholders `{name}`, `{rivals}` and `{price}`.
    """

    name: ShortLine
    question: TextLine
    kinds: tuple[Kind, ...] = Field(min_length=1)
    about: Literal["decision", "strength", "weakness"] = "decision"
    stem: dict[Decision, tuple[TextLine, ...]]
    silent: TextLine

    @model_validator(mode="after")
    def _both_stems(self) -> BeatSpec:
        missing = {"ship", "skip"} - {decision for decision, stems in self.stem.items() if stems}
        if missing:
            raise ValueError(f"stem lacks {' and '.join(sorted(missing))}; give a stem for ship and one for skip")
        return self


class Calibration(_Input):
    """p_ship = sigmoid(intercept + strengths * S - weaknesses * W), with S and W the sums of `panel.decide`.

    `neutral` is the log-odds (nats) of facts that have no bearing, which a model does not put at zero; pulls within
    `deadband` of it weigh nothing. `fitted` is false for the default, which assumes that a model puts such facts near
    zero.
    """

    fitted: bool = False
    neutral: float = Field(default=0.0, allow_inf_nan=False)
    deadband: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    intercept: float = Field(default=0.0, allow_inf_nan=False)
    strengths: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    weaknesses: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Candidates(_Input):
    """What `review-panel personas tune` may put in the place of what a persona has; no review reads it."""

    audience: tuple[ShortLine, ...] = Field(default=(), max_length=16)
    examples: tuple[Example, ...] = Field(default=(), max_length=32)
    lens: dict[Kind, tuple[Weight, ...]] = {}


class Persona(_Input):
    """A reviewer, read from a Markdown file: front matter and prose."""

    schema_: Literal["persona/1"] = Field(alias="schema")
    slug: PersonaSlug
    name: ShortLine
    audience: ShortLine
    lens: dict[Kind, Weight]
    tools: tuple[Literal["price", "list_rivals"], ...] = ()
    examples: tuple[Example, ...] = Field(min_length=2, max_length=16)
    beats: tuple[BeatSpec, ...] = Field(min_length=4, max_length=5)
    terms: tuple[ShortLine, ...] = ()
    calibration: Calibration = Calibration()
    candidates: Candidates = Candidates()
    voice: Paragraph

    @field_validator("beats")
    @classmethod
    def _beats_known(cls, beats: tuple[BeatSpec, ...], info: ValidationInfo) -> tuple[BeatSpec, ...]:
        slug = info.data.get("slug")
        seen: set[str] = set()
        for beat in beats:
            if slug is not None and beat.name not in BEAT_NAMES[slug]:
                raise ValueError(f"unknown beat {beat.name!r}; {slug} answers {', '.join(BEAT_NAMES[slug])}")
            if beat.name in seen:
                raise ValueError(f"beat {beat.name!r} appears twice; name each beat once")
            seen.add(beat.name)
        return beats

    @field_validator("lens")
    @classmethod
    def _lens_whole(cls, lens: dict[Kind, Weight]) -> dict[Kind, Weight]:
        missing = set(KINDS) - set(lens)
        if missing:
            raise ValueError(f"lens lacks {', '.join(sorted(missing))}; give a weight for every kind of evidence")
        return lens

    @field_validator("examples")
    @classmethod
    def _both_labels(cls, examples: tuple[Example, ...]) -> tuple[Example, ...]:
        if {e.label for e in examples} != {"good", "bad"}:
            raise ValueError("all examples have the same label; give at least one labelled good and one labelled bad")
        return examples


# ------------------------------------------------------------------------------------------- comparison/1


class Beat(_Output):
    """The drafted answer to one `BeatSpec`.

    `verbatim` marks one that quotes its evidence word for word, `silent` one that says that the dossier does not
    tell, and so cites nothing.
    """

    name: str
    text: str
    cites: tuple[str, ...]
    verbatim: bool = False
    silent: bool = False


class Pull(_Output):
    """How far one piece of evidence pulls one persona toward ship, in nats against a content-free fact.

    `set_aside` holds the sentences of it that speak to the reader instead of about the tool; `weighed` is false where
    nothing else was left.
    """

    evidence: str
    log_odds: float
    weighed: bool = True
    set_aside: tuple[str, ...] = ()


class Provenance(_Output):
    """What a review was made with: enough to make it again."""

    model: str
    model_sha256: str
    adapter_sha256: str = ""
    engine: str
    engine_version: str
    persona_sha256: str
    prompt_sha256: str
    dossier_sha256: str
    seed: int
    calibrated: bool = True
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    steps: int = 0


class Review(_Output):
    """One persona on one tool.

    `status` is `scored` or `unscored`. An unscored review has no decision, no p_ship and no beats; `reason`
    says why. It never counts as a skip.
    """

    persona: PersonaSlug
    status: Literal["scored", "unscored"]
    decision: Decision | None = None
    p_ship: float | None = None
    quote: str = ""
    beats: tuple[Beat, ...] = ()
    pulls: tuple[Pull, ...] = ()
    reason: str | None = None
    provenance: Provenance


class PanelTally(_Output):
    """Ships among the scored reviews. `percent` is null when none is scored.

    `effective_votes` = N / (1 + (N - 1) * rho), the number of independent votes that N correlated ones are
    worth (Kish's design effect, with rho the mean correlation between personas).
    """

    ship: int
    skip: int
    unscored: int
    percent: int | None
    effective_votes: float


class CommunityTally(_Output):
    ship: int
    total: int
    percent: int | None


class ToolEntry(_Output):
    """The card of one tool, and its four reviews."""

    slug: str
    name: str
    category: str
    tagline: str
    summary: str
    entry_price: str
    license: str | None = None
    pricing: tuple[PricePlan, ...] = ()
    rivals: tuple[str, ...] = ()
    panel: PanelTally
    community: CommunityTally
    reviews: tuple[Review, ...]
    evidence: tuple[Evidence, ...] = ()


class Pick(_Output):
    """Which tool to ship with; `slug` is null where the panel has no favourite."""

    slug: str | None
    why: str


class SplitRow(_Output):
    """One persona's decisions, by tool slug: ship, skip or unscored."""

    persona: PersonaSlug
    decisions: dict[str, Literal["ship", "skip", "unscored"]]


class Comparison(_Output):
    """The merged record of one tool or more: what is stored, printed by `--json`, and rendered."""

    schema_: Literal["comparison/1"] = Field(default="comparison/1", alias="schema")
    created: str
    pick: Pick
    tools: tuple[ToolEntry, ...] = Field(min_length=1)
    reviewer_split: tuple[SplitRow, ...]
    pricing_read: str
