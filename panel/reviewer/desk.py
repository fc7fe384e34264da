"""What a reviewer has in front of it while it works on one tool: what it has weighed, found and read so far.

The desk also says what may be done next (`options`). It cannot answer before it has weighed, cannot read the same
thing twice, and cannot cite what it has not read; these rules become the grammar of its next tool call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from panel.decide import is_telling
from panel.records import Beat, Decision, Dossier, Evidence, Persona, Pull
from panel.validate import content_words

Loop = Literal["led", "free"]

#: Steps that a review may take: enough for every tool once, one search, two rounds of reading, three tries.
MAX_STEPS = 10
MAX_SEARCHES = 1
READ_AT_ONCE = 16
TRIES = 3


@dataclass
class Desk:
    """The state of one review."""

    persona: Persona
    dossier: Dossier
    loop: Loop = "led"
    pulls: dict[str, Pull] = field(default_factory=dict)
    decision: Decision | None = None
    p_ship: float | None = None
    searches: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    rivals_listed: bool = False
    priced: bool = False
    tries: int = 0
    beats: tuple[Beat, ...] = ()
    standing: dict[str, Beat] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    verbatim: set[str] = field(default_factory=set)
    doubts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def evidence(self) -> Mapping[str, Evidence]:
        return {item.id: item for item in self.dossier.evidence}

    @property
    def unread(self) -> list[str]:
        """Ids not read yet, the strongest pulls first."""
        ids = [item.id for item in self.dossier.evidence if item.id not in self.read]
        return sorted(ids, key=lambda i: (-abs(self.pulls[i].log_odds) if i in self.pulls else 0.0, int(i[1:])))

    @property
    def paid_plans(self) -> list[str]:
        return [plan.plan for plan in self.dossier.pricing]

    @property
    def enough_read(self) -> bool:
        """Whether there is something to cite for every beat, and all that weighs has been read."""
        return self.still_to_read == 0

    @property
    def still_to_read(self) -> int:
        weighty = sum(is_telling(p.log_odds, self.persona.calibration.deadband) for p in self.pulls.values())
        wanted = max(len(self.persona.beats) + 2, min(weighty, READ_AT_ONCE))
        return max(0, min(len(self.dossier.evidence), wanted) - len(self.read))

    def options(self) -> dict[str, dict[str, Any]]:
        """The tools that may be called now: name → JSON schema properties of the arguments."""
        if not self.pulls:
            return {"weigh_evidence": {}}
        free = self.loop == "free"
        due = self._due()
        options: dict[str, dict[str, Any]] = {}
        if "list_rivals" in due or (free and not self.rivals_listed):
            options["list_rivals"] = {}
        if self.paid_plans and ("price" in due or (free and not self.priced)):
            options["price"] = {
                "plan": {"type": "string", "enum": self.paid_plans},
                "seats": {"type": "integer", "minimum": 1, "maximum": 500},
                "months": {"type": "integer", "minimum": 1, "maximum": 36},
            }
        if options and not free:
            return options  # before anything is read: what a model chooses from a short transcript costs little
        if free and len(self.searches) < MAX_SEARCHES and not self.enough_read:
            # a led reviewer reads all that its verdict rests on, so that a search could not change what it knows
            options["find_evidence"] = {"query": {"type": "string", "maxLength": 60}}
        if self.unread and not self.enough_read:
            # the strongest pulls first
            few = self.unread[: max(READ_AT_ONCE, self.still_to_read) if free else self.still_to_read]
            options["read_evidence"] = {"ids": {"subset": few, "minItems": self.still_to_read}}
        if self.enough_read and self.decision is not None:
            options["final_answer"] = {"decision": {"type": "string", "enum": [self.decision]}}
        return options

    def _due(self) -> set[str]:
        """The persona's own tools that it has not used yet, where the dossier has something for them."""
        done = {
            "list_rivals": self.rivals_listed or not self.dossier.rivals,
            "price": self.priced or not self.paid_plans,
        }
        return {name for name in self.persona.tools if not done[name]}

    def find(self, query: str) -> list[Evidence]:
        """Evidence that shares words with `query`, best first (at most `READ_AT_ONCE`)."""
        wanted = set(content_words(query))

        def overlap(item: Evidence) -> int:
            return 2 * (item.kind in re.findall(r"\w+", query.lower())) + len(wanted & set(content_words(item.text)))

        ranked: Sequence[Evidence] = sorted(self.dossier.evidence, key=lambda e: (-overlap(e), int(e.id[1:])))
        return [item for item in ranked if overlap(item)][:READ_AT_ONCE]
