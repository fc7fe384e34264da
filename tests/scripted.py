"""A scripted engine that does a reviewer's work by rote, for tests of everything around the model.

It takes the first tool that the grammar offers, reads what it may read, and drafts by restating the fact that it was
given. What it thinks of a fact is fixed: `LEANING` nats toward ship, or as much toward skip for the audiences that it
is told to displease.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from panel.engines.scripted import ScriptedEngine
from panel.grounding import wants_noun
from panel.records import Persona
from panel.requests import GenerateRequest

#: Far enough from zero to weigh all that a fact can (`panel.decide.LIMIT`), whatever the calibration's zero.
LEANING = 8.0

#: What the scripted reviewer seeks to do first.
ORDER = ("weigh_evidence", "find_evidence", "read_evidence", "list_rivals", "price", "final_answer")

#: What each scripted reviewer starts with, so that no two of them say a fact in the same words.
OWN_WORD = {"builder": "", "competitor-analyst": "here", "futurist": "now", "business-buyer": "there"}

DOSSIER = """\
schema: dossier/1
slug: lanternfish
name: Lanternfish 1.2
category: Databases
tagline: A small analytical database that runs on one machine
summary: Lanternfish 1.2 stores tables in one file and answers queries on a laptop.
entry_price: $12 per seat
license: Apache-2.0
pricing:
  - {plan: Solo, price: 0, currency: USD, per: seat, period: month}
  - {plan: Team, price: 12, currency: USD, per: seat, period: month}
rivals: [Bramble, Quaydb]
community: {ship: 3, total: 8}
evidence:
  - {id: E1, kind: capability, text: Queries run in parallel across every core of the machine., source: "https://example.com/a"}
  - {id: E2, kind: docs, text: The manual shows each command with a complete example., source: "https://example.com/b"}
  - {id: E3, kind: limitation, text: Backups stop while the nightly index is rebuilt., source: "https://example.com/c"}
  - {id: E4, kind: license, text: The source code is published under Apache-2.0., source: "https://example.com/d"}
  - {id: E5, kind: pricing, text: A plan for small teams costs $12 per seat., source: "https://example.com/e"}
  - {id: E6, kind: adoption, text: Hospitals in Norway store patient letters with it., source: "https://example.com/f"}
  - {id: E7, kind: benchmark, text: Sorting 40 million rows takes 9 seconds on a laptop., source: "https://example.com/g"}
  - {id: E8, kind: security, text: Nobody outside the team has audited the encryption., source: "https://example.com/h"}
  - {id: E9, kind: roadmap, text: Support for phones is planned for spring., source: "https://example.com/i"}
  - {id: E10, kind: support, text: Questions are answered by engineers within 2 days., source: "https://example.com/j"}
"""


def second_dossier() -> str:
    """Another tool with the same evidence, no plans and no rivals."""
    text = DOSSIER.replace("lanternfish", "bramble").replace("Lanternfish 1.2", "Bramble")
    return re.sub(r"(?m)^(pricing:\n(?:  - .*\n)+|rivals: .*\n)", "", text)


def written_call(lark: str) -> str:
    """A tool call that the grammar of `panel.reviewer.model.call_grammar` admits."""
    offered = re.findall(r"[a-z_]+", re.search(r"(?m)^start: (.*)$", lark)[1])  # type: ignore[index]
    name = min(offered, key=ORDER.index)
    arguments: dict[str, Any] = {}
    for argument, schema in re.findall(rf"(?m)^{name}_([a-z]+): %json (.*)$", lark):
        known = json.loads(schema)
        arguments[argument] = known["enum"][0] if "enum" in known else known.get("minimum", "the machine")
    items = re.findall(rf'(?m)^{name}_ids_\d+_\d+: "\\"(E\d+)\\""', lark)
    if items:
        arguments["ids"] = list(dict.fromkeys(items))  # all of them, which is never too few
    return json.dumps({"name": name, "arguments": arguments})


def last_fact(text: str) -> str:
    """The fact that a prompt ends on: `- …` in a draft's, `Fact: …` or `Fact (kind): …` in a weighing's."""
    return re.findall(r"(?m)^(?:- |Fact(?: \([a-z]+\))?: )(.*)$", text)[-1]


def restated(fact: str) -> str:
    """`fact` as the rest of a sentence: only a name keeps its capital."""
    return " " + fact[0].lower() + fact[1:]


def write(request: GenerateRequest) -> str:
    if request.grammar.kind == "lark":
        only = re.fullmatch(r'start: (".*")\n', request.grammar.text)  # a quotation
        return json.loads(only[1]) if only else written_call(request.grammar.text)
    said = restated(last_fact(request.messages[-1].content))
    if wants_noun(request.opening):
        said = f" how{said}"
    return f" {OWN_WORD[request.key.split('/')[1]]}".rstrip() + said


def scripted_engine(
    personas: Sequence[Persona] = (),
    *,
    skips: Sequence[str] = (),
    write: Callable[[GenerateRequest], str] = write,
    **options: Any,
) -> ScriptedEngine:
    """The engine; the personas whose slugs are in `skips` like nothing, the others everything.

    `options` are those of `ScriptedEngine`.
    """
    displeased = [p.audience for p in personas if p.slug in skips]

    def rate(prompt: str, candidate: str) -> float:
        from panel.weigh import CONTENT_FREE

        if candidate != " good" or last_fact(prompt) in CONTENT_FREE:
            return 0.0
        return -LEANING if any(f"For {audience}, this is" in prompt for audience in displeased) else LEANING

    return ScriptedEngine(write, rate, **options)
