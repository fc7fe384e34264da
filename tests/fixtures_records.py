"""Sample comparison records for tests: two realistic tools, and a third one that is short.

`sample_comparison(2)` is the record that the screenshots show. Everything in it is written by hand, so what a page
must hold can be checked by eye.
"""

from __future__ import annotations

from typing import Any

from panel.records import BEAT_NAMES, PERSONA_SLUGS, Comparison

_SMOL: dict[str, Any] = {
    "slug": "smolagents-2",
    "name": "SmolAgents 2.0",
    "category": "Developer Tools",
    "tagline": "Small agents that write Python and run it inside a WebAssembly sandbox",
    "summary": (
        "SmolAgents 2.0 is an open-source Python framework for agents that act by writing code. This version runs "
        "that code in WebAssembly, adds a visual builder, and connects to more than 50 outside tools and APIs."
    ),
    "entry_price": "Free",
    "license": "Apache-2.0",
    "pricing": [{"plan": "Open source", "price": 0}],
    "rivals": ["LangGraph", "E2B", "AutoGen"],
    "community": {"ship": 0, "total": 0, "percent": None},
    "evidence": [
        ("capability", "Runs the code that an agent writes in a WebAssembly sandbox, without a container.", "https://example.org/smolagents/sandbox"),
        ("capability", "Connects to more than 50 outside tools and APIs.", "https://example.org/smolagents/tools"),
        ("docs", "A first agent takes eleven lines in the guided tour.", "https://example.org/smolagents/tour"),
        ("license", "The framework is published under Apache 2.0.", "https://example.org/smolagents/license"),
        ("limitation", "State is lost when a run that coordinates several agents stops half-way.", "https://example.org/smolagents/issues/state"),
        ("limitation", "Retries and tracing are left to the caller.", "https://example.org/smolagents/issues/tracing"),
        ("roadmap", "Heavier scientific packages wait for better Python support in WebAssembly.", "https://example.org/smolagents/roadmap"),
        ("pricing", "There is no paid plan and no service agreement.", "Maintainers' answer to a reader, by letter"),
    ],
    "reviews": {
        "builder": ("ship", 0.81, [
            ("The primitive is a loop that writes Python and runs it in a sandbox, short enough to read.", "E1"),
            ("The bet on developer experience is little set-up: eleven lines reach a working agent.", "E3"),
            ("The moment of truth comes when a custom tool runs without a container behind it, and it does.", "E1"),
            ("A weekend of gluing LangGraph to E2B would get close, on somebody else's sandbox.", "E1 E2"),
            ("What earns the ship is a licence that lets a team fork what it depends on.", "E4"),
        ], [1.42, 0.38, 1.07, 0.66, -0.52, -0.71, -0.18, 0.04]),
        "competitor-analyst": ("ship", 0.58, [
            ("Its direct competitors are LangGraph with E2B, and AutoGen with a code hook.", "E1"),
            ("It breaks where several agents must keep state through a failure, and nobody can trace why.", "E5 E6"),
            ("What kills it in twelve months is a model provider that ships the sandbox inside its own API.", "E1"),
            ("What saves it is standing with no provider at all, under a licence that nobody can take back.", "E4"),
        ], [0.61, 0.47, 0.22, 0.58, -0.83, -0.49, -0.20, -0.11]),
        "futurist": ("ship", 0.74, [
            ("The thesis is that agents will write and run code rather than pick from a list of approved calls.", "E1"),
            ("It depends on Python growing up inside WebAssembly.", "E7"),
            ("The second-order effect is that vendors of wrappers lose ground to whoever owns the loop.", "E2"),
            ("The timing is right rather than early: others sell sandboxes already.", ""),
            ("In the future where this is infrastructure, a sandbox is as ordinary as a thread.", "E1"),
        ], [1.18, 0.74, 0.12, 0.35, -0.33, -0.21, 0.27, 0.00]),
        "business-buyer": ("skip", 0.29, [
            ("The buyer is a developer whose budget line is engineering time.", "E8"),
            ("With no paid plan there is no moat, and nobody to call at night.", "E8 E6"),
            ("If inference costs fall tenfold, small footprints stop being a reason to choose.", ""),
            ("As a purchase this is a skip: own it as plumbing, do not build a business on it.", "E5"),
        ], [0.21, 0.34, 0.05, 0.31, -0.77, -0.94, -0.26, -1.12]),
    },
}  # fmt: skip

_MISTRAL: dict[str, Any] = {
    "slug": "mistral-3b",
    "name": "Mistral 3B",
    "category": "Developer Tools",
    "tagline": "An open model of three billion parameters for phones and other edge devices",
    "summary": (
        "Mistral 3B is an open-weight language model made to run on the device. Its maker reports that it beats "
        "models of the 7B class on several benchmarks, in a much smaller footprint."
    ),
    "entry_price": "Free",
    "license": "Apache-2.0",
    "pricing": [
        {"plan": "Open weights", "price": 0},
        {"plan": "Hosted API", "price": 0.04, "per": "million tokens", "period": "once"},
        {"plan": "Enterprise", "price": 1250, "currency": "EUR", "per": "deployment", "period": "month"},
    ],
    "rivals": ["Phi-3-mini", "Gemma 3", "Qwen"],
    "community": {"ship": 38, "total": 47, "percent": 81},
    "evidence": [
        ("license", "The weights are published under Apache 2.0.", "https://example.org/mistral-3b/license"),
        ("capability", "Fits in four gigabytes of memory when quantised to four bits.", "https://example.org/mistral-3b/card#memory"),
        ("benchmark", "Its maker reports scores above 7B models on several benchmarks.", "https://example.org/mistral-3b/card#scores"),
        ("docs", "The model card sets out how every score was measured.", "https://example.org/mistral-3b/card#method"),
        ("limitation", "Tool calls drift from their schema in long conversations.", "https://example.org/mistral-3b/issues/tools"),
        ("adoption", "Two makers of handsets ship it inside a keyboard.", "Trade press, autumn issue"),
    ],
    "reviews": {
        "builder": ("ship", 0.88, [
            ("The primitive is a checkpoint that fits in the memory of a phone and needs no graphics card.", "E2"),
            ("The bet on developer experience is openness, from the weights to the way they were scored.", "E1 E4"),
            ("The moment of truth is whether four gigabytes hold it with room to think, and they do.", "E2"),
            ("No weekend builds an alternative; at best it tunes one.", ""),
            ("The decision that earns the ship is Apache 2.0 in place of terms that need a lawyer.", "E1"),
        ], [1.31, 1.55, 0.48, 0.93, -0.64, 0.29]),
        "competitor-analyst": ("ship", 0.63, [
            ("Its direct competitors are Phi-3-mini, Gemma 3 and Qwen, all free, all sure of their scores.", "E3"),
            ("It breaks in long chains of tool calls, which no published score looks at.", "E5 E3"),
            ("What kills it in twelve months is a rival of equal size with a larger maker's shelf space.", "E6"),
            ("What saves it is a claim that can be checked, since the method is printed beside it.", "E4"),
        ], [0.78, 0.40, -0.12, 0.69, -0.91, 0.33]),
        "futurist": ("ship", 0.79, [
            ("The thesis is that inference moves to the edge for the sake of privacy and delay, not of cost.", "E2"),
            ("It depends on phones gaining memory faster than models gain weight.", "E2"),
            ("The second-order effect is that a tuned small model becomes something every team simply has.", "E1"),
            ("It is early by a season, which is where a bet should be.", "E6"),
            ("In the future where this is infrastructure, no text leaves the device that wrote it.", "E2"),
        ], [0.82, 1.24, 0.30, 0.19, -0.28, 0.57]),
        "business-buyer": ("ship", 0.55, [
            ("The buyer builds for phones and pays for it from the line that used to hold fees per token.", "E2"),
            ("Open weights are no moat, so the name has to be one.", "E1"),
            ("If a rival ships better scores at this size, the name is all that is left.", "E3"),
            ("As a purchase it is a ship, for a plan that holds together more than for a wall around it.", "E6"),
        ], [0.44, 0.36, 0.15, 0.08, -0.58, 0.49]),
    },
}  # fmt: skip

_PLAINBOX: dict[str, Any] = {
    "slug": "plainbox",
    "name": "Plainbox",
    "category": "Operations",
    "tagline": "A queue for people who dislike queues",
    "summary": "Plainbox keeps jobs in one file.",
    "entry_price": "$9.50 per seat",
    "license": None,
    "pricing": [],
    "rivals": [],
    "community": {"ship": 1, "total": 3, "percent": 33},
    "evidence": [("pricing", "A seat costs $9.50 a month.", "https://example.org/plainbox/prices")],
    "reviews": {
        persona: ("skip", 0.2, [(f"Answer {number} of the {persona}.", "E1") for number in range(1, 5)], [-1.0])
        for persona in PERSONA_SLUGS
    },
}

_PICK = {
    "slug": "mistral-3b",
    "why": "Mistral 3B keeps all four reviewers, and a licence that nobody can take back; SmolAgents 2.0 loses the "
    "buyer who wants somebody to call.",
}
_ALONE = {
    "slug": "smolagents-2",
    "why": "Three of four reviewers would ship SmolAgents 2.0; the buyer would not build a business on it.",
}
_PRICING = (
    "Both start free and stay free for whoever runs them. SmolAgents 2.0 sells nothing; Mistral 3B earns on its "
    "hosted API and on enterprise deployments, and the open weights are how buyers find them."
)
_PRICING_ALONE = "SmolAgents 2.0 is free, and there is no paid plan to grow into."

_PROVENANCE = {
    "model": "SmolLM2-135M-Instruct", "model_sha256": "b1" * 32, "engine": "openvino", "engine_version": "2026.4",
    "prompt_sha256": "77" * 32, "seed": 7, "prompt_tokens": 1840, "completion_tokens": 142, "seconds": 2.1, "steps": 4,
}  # fmt: skip


def _review(tool: dict[str, Any], persona: str) -> dict[str, Any]:
    decision, p_ship, texts, pulls = tool["reviews"][persona]
    beats = [
        {"name": name, "text": text, "cites": cites.split()}
        for name, (text, cites) in zip(BEAT_NAMES[persona], texts, strict=False)
    ]
    digits = f"{PERSONA_SLUGS.index(persona)}{len(tool['slug']) % 10}"  # a digest that differs from run to run
    return {
        "persona": persona,
        "status": "scored",
        "decision": decision,
        "p_ship": p_ship,
        "quote": " ".join(beat["text"] for beat in beats),
        "beats": beats,
        "pulls": [{"evidence": f"E{number}", "log_odds": value} for number, value in enumerate(pulls, 1)],
        "provenance": {**_PROVENANCE, "persona_sha256": digits * 32, "dossier_sha256": digits[::-1] * 32},
    }


def unscored(review: dict[str, Any], reason: str) -> None:
    """Turn `review` into one that failed, as the reviewer would leave it: no decision, no p_ship, no beats."""
    review.update(status="unscored", decision=None, p_ship=None, quote="", beats=[], pulls=[], reason=reason)


def silence(review: dict[str, Any], place: int, text: str) -> None:
    """Turn one beat of `review` into one that says that the dossier does not tell."""
    beat = {"name": review["beats"][place]["name"], "text": text, "cites": [], "silent": True}
    review["beats"][place] = beat
    review["quote"] = " ".join(beat["text"] for beat in review["beats"])


def sample_data(tools: int = 2) -> dict[str, Any]:
    """The record of the first `tools` (1 to 3) sample tools, as plain data to change before it is validated."""
    entries = []
    for source in (_SMOL, _MISTRAL, _PLAINBOX)[:tools]:
        evidence = [
            {"id": f"E{number}", "kind": kind, "text": text, "source": origin}
            for number, (kind, text, origin) in enumerate(source["evidence"], 1)
        ]
        reviews = [_review(source, persona) for persona in PERSONA_SLUGS]
        entries.append({**source, "evidence": evidence, "reviews": reviews, "panel": {}})
    data = {
        "schema": "comparison/1",
        "created": "2026-03-05T09:30:00Z",
        "pick": _ALONE if tools == 1 else _PICK,
        "tools": entries,
        "pricing_read": _PRICING_ALONE if tools == 1 else _PRICING,
    }
    tally(data)
    return data


def tally(data: dict[str, Any]) -> None:
    """Count the verdicts again, after a change to the reviews."""
    for tool in data["tools"]:
        decisions = [review["decision"] for review in tool["reviews"]]
        ship, skip = decisions.count("ship"), decisions.count("skip")
        tool["panel"] = {
            "ship": ship,
            "skip": skip,
            "unscored": decisions.count(None),
            "percent": round(100 * ship / (ship + skip)) if ship + skip else None,
            "effective_votes": 1.8,
        }
    data["reviewer_split"] = [
        {
            "persona": persona,
            "decisions": {t["slug"]: t["reviews"][place]["decision"] or "unscored" for t in data["tools"]},
        }
        for place, persona in enumerate(PERSONA_SLUGS)
    ]


def sample_comparison(tools: int = 2) -> Comparison:
    """A valid record of one, two or three tools."""
    return Comparison.model_validate(sample_data(tools))
