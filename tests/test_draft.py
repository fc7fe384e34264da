"""Which evidence a beat cites, what it starts with, what the model is asked, and what becomes of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from panel.draft import (
    MIN_GAIN,
    PLAIN_SUPPORT,
    ROUNDS,
    BeatPlan,
    draft_beats,
    draft_messages,
    model_support,
    plan_beats,
)
from panel.engines.codec import Codec
from panel.engines.scripted import ScriptedEngine
from panel.prompts import Prompts
from panel.records import Beat, BeatSpec, Calibration, Dossier, Evidence, Persona
from panel.requests import GenerateRequest
from panel.validate import SUPPORT, Problem, support
from tests import scripted as script
from tests.engines.walks import admits

Plans = dict[str, tuple[str, ...]]


def spec(name: str, kinds: str = "docs", about: str = "decision") -> BeatSpec:
    """A question, with one stem for each decision."""
    stem = {"ship": (f"{name} ships, since",), "skip": (f"{name} skips, since",)}
    fields = {"name": name, "question": f"Why {name}?", "kinds": tuple(kinds.split()), "about": about}
    return BeatSpec(**fields, stem=stem, silent=f"Of {name} the dossier does not tell.")  # type: ignore[arg-type]


@pytest.fixture
def asking(persona: Callable[[str], Persona]) -> Callable[..., Persona]:
    """A builder with other questions, to whom pulls of up to 0.4 nats mean nothing."""

    def make(*specs: BeatSpec, deadband: float = 0.4) -> Persona:
        calibration = Calibration(deadband=deadband)
        return persona("builder").model_copy(update={"beats": specs, "calibration": calibration})

    return make


def with_evidence(dossier: Dossier, *items: Evidence) -> Dossier:
    return dossier.model_copy(update={"evidence": items})


@pytest.fixture
def planned(asking: Callable[..., Persona], dossier: Dossier) -> Callable[..., Plans]:
    """What each question cites, by name, where the pulls are those given and all else is 0."""

    def do(
        *specs: BeatSpec,
        decision: str = "ship",
        dossier: Dossier = dossier,
        readable: Sequence[str] | None = None,
        standing: dict[str, Beat] | None = None,
        deadband: float = 0.4,
        **pulls: float,
    ) -> Plans:
        ids = [item.id for item in dossier.evidence]
        plans = plan_beats(
            asking(*specs, deadband=deadband), dossier, decision, dict.fromkeys(ids, 0.0) | pulls,  # type: ignore[arg-type]
            ids if readable is None else readable, standing or {},
        )  # fmt: skip
        assert [plan.spec for plan in plans] == list(specs)
        return {plan.spec.name: plan.cites for plan in plans}

    return do


# ---------------------------------------------------------------------------------------------- what a beat cites


@pytest.mark.parametrize(
    ("decision", "about", "cites"),
    [
        ("ship", "decision", "E1"), ("skip", "decision", "E2"),
        ("ship", "strength", "E1"), ("skip", "strength", "E1"),
        ("ship", "weakness", "E2"), ("skip", "weakness", "E2"),
    ],
)  # fmt: skip
def test_a_beat_cites_what_pulls_the_way_it_speaks(
    planned: Callable[..., Plans], decision: str, about: str, cites: str
) -> None:
    """E1 pulls toward ship, E2 toward skip, and E2 is of the kind that is asked for."""
    assert planned(spec("a", "docs", about), decision=decision, E1=0.5, E2=-0.5) == {"a": (cites,)}


@pytest.mark.parametrize(("deadband", "least"), [(0.0, 0.4), (0.2, 0.4), (0.6, 0.6)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_pull_within_the_dead_band_argues_for_nothing(
    planned: Callable[..., Plans], sign: int, deadband: float, least: float
) -> None:
    """Nor does one that weighs a little and is not telling."""
    about = "strength" if sign > 0 else "weakness"
    for pull, cites in ((least + 0.001, ("E2",)), (least, ()), (0.0, ()), (-least, ()), (-9.0, ())):
        assert planned(spec("a", "docs", about), deadband=deadband, E2=sign * pull) == {"a": cites}


def test_evidence_is_used_once(planned: Callable[..., Plans]) -> None:
    """Two pieces for three questions of the same kind: the third has nothing left to say."""
    asked = [spec(name, "docs") for name in "abc"]
    assert planned(*asked, E2=0.9, E4=0.9) == {"a": ("E2",), "b": ("E4",), "c": ()}


def test_who_has_little_choice_chooses_first(planned: Callable[..., Plans]) -> None:
    """E2 is docs and E4 license: `a` could do with either, `b` with the one alone, wherever it stands in the panel."""
    a, b = spec("a", "docs license"), spec("b", "docs")
    assert planned(a, b, E2=0.9, E4=0.5) == planned(b, a, E2=0.9, E4=0.5) == {"a": ("E4",), "b": ("E2",)}
    # what pulls the other way is no choice: now both have one, and the order of the panel decides
    assert planned(a, b, E2=0.9, E4=-0.9) == {"a": ("E2",), "b": ()}
    assert planned(b, a, E2=0.9, E4=-0.9) == {"b": ("E2",), "a": ()}


def test_who_has_no_choice_of_its_kind_takes_nothing_from_who_has(planned: Callable[..., Plans]) -> None:
    """E2 is docs: `a` did not ask for any such thing, `b` did."""
    assert planned(spec("a", "support"), spec("b", "docs"), E2=0.9) == {"a": (), "b": ("E2",)}


@pytest.mark.parametrize(
    ("kinds", "pulls", "cites"),
    [
        # cost = half of its place among the kinds, less twice the pull, which counts up to 1.5 nats
        ("docs license", {"E2": 0.5, "E4": 0.5}, "E2"),
        ("license docs", {"E2": 0.5, "E4": 0.5}, "E4"),
        # docs: 0 − 1 = −1; license: 0.5 − 1.4 = −0.9
        ("docs license", {"E2": 0.5, "E4": 0.7}, "E2"),
        # license: 0.5 − 1.6 = −1.1
        ("docs license", {"E2": 0.5, "E4": 0.8}, "E4"),
        # docs: 0 − 2.4 and 0 − 3; license: 0.5 − 3 = −2.5, however far beyond 1.5 nats it pulls
        ("docs license", {"E2": 1.2, "E4": 9.0}, "E4"),
        ("docs license", {"E2": 1.5, "E4": 9.0}, "E2"),
        # a kind that was asked for, even in the last place, comes before any other
        ("docs", {"E2": 0.5, "E4": 9.0}, "E2"),
        ("capability limitation benchmark security roadmap", {"E9": 0.41, "E2": 9.0}, "E9"),
        # among others the pull alone counts
        ("docs", {"E4": 0.5, "E6": 0.6}, "E6"),
        # all the same: the smaller number, and E10 comes after E2
        ("capability", {"E2": 0.5, "E10": 0.5}, "E2"),
        ("capability", {"E9": 0.5, "E10": 0.5}, "E9"),
    ],
)
def test_of_what_fits_the_kind_comes_first_and_then_the_pull(
    planned: Callable[..., Plans], kinds: str, pulls: dict[str, float], cites: str
) -> None:
    """E2 is docs, E4 license, E6 adoption, E9 roadmap and E10 support."""
    assert planned(spec("a", kinds), **pulls) == {"a": (cites,)}


def test_the_stronger_of_one_kind_is_cited(
    planned: Callable[..., Plans], dossier: Dossier, fact: Callable[..., Evidence]
) -> None:
    two = with_evidence(dossier, fact("E1", "It is fast."), fact("E2", "It is small."))
    assert planned(spec("a", "capability"), dossier=two, E1=0.5, E2=0.6) == {"a": ("E2",)}
    assert planned(spec("a", "capability"), dossier=two, decision="skip", E1=-0.5, E2=-0.6) == {"a": ("E2",)}


def test_what_was_not_read_is_not_cited(planned: Callable[..., Plans]) -> None:
    assert planned(spec("a", "docs"), readable=["E4", "E6"], E2=0.9, E6=0.5) == {"a": ("E6",)}
    assert planned(spec("a", "docs"), readable=[], E2=0.9) == {"a": ()}


def test_what_is_cited_does_not_depend_on_the_order_of_the_evidence(
    planned: Callable[..., Plans], dossier: Dossier
) -> None:
    asked = [spec("a", "docs"), spec("b", "license"), spec("c", "docs", "weakness")]
    pulls = {"E1": 0.5, "E2": 0.5, "E3": -0.5, "E4": 0.5, "E8": -0.5}
    turned = with_evidence(dossier, *dossier.evidence[::-1])
    found = planned(*asked, **pulls)
    assert found == planned(*asked, dossier=turned, **pulls) == {"a": ("E2",), "b": ("E4",), "c": ("E3",)}


# --------------------------------------------------------------------------------------------------- standing beats


def test_what_stands_keeps_its_evidence(planned: Callable[..., Plans]) -> None:
    """E2 fits all three questions best, and the last one has it."""
    asked = [spec(name, "docs license") for name in "abc"]
    kept = {"c": Beat(name="c", text="c ships, since so.", cites=("E2",))}
    assert planned(*asked, E2=0.9, E4=0.9) == {"a": ("E2",), "b": ("E4",), "c": ()}
    assert planned(*asked, standing=kept, E2=0.9, E4=0.9) == {"a": ("E4",), "b": (), "c": ("E2",)}


def test_what_stands_silent_stays_silent(
    asking: Callable[..., Persona], dossier: Dossier, planned: Callable[..., Plans]
) -> None:
    text = "Of a the dossier does not tell beyond what is said here."
    kept = {"a": Beat(name="a", text=text, cites=(), silent=True)}
    assert planned(spec("a"), spec("b"), standing=kept, E2=0.9) == {"a": (), "b": ("E2",)}
    (plan,) = plan_beats(asking(spec("a")), dossier, "ship", {"E2": 0.9}, ["E2"], kept)
    assert (plan.stem, plan.silent) == (text, True)


def test_what_stands_keeps_its_stem(asking: Callable[..., Persona], dossier: Dossier) -> None:
    """Otherwise it would no longer start with what it should start with."""
    persona = asking(spec("a"), spec("b"))
    pulls = {"E2": 0.9, "E4": 0.9}
    first = plan_beats(persona, dossier, "ship", pulls, list(pulls))
    kept = {plan.spec.name: Beat(name=plan.spec.name, text=f"{plan.stem} so.", cites=plan.cites) for plan in first}
    assert plan_beats(persona, dossier, "ship", pulls, list(pulls), kept) == first


# --------------------------------------------------------------------------------------------- stems and silence


def test_a_beat_without_evidence_says_that_the_dossier_does_not_tell(
    personas: tuple[Persona, ...], dossier: Dossier
) -> None:
    """Nothing pulls: every beat of every persona is silent, and its words are the persona's, filled in."""
    for persona in personas:
        for decision in ("ship", "skip"):
            plans = plan_beats(persona, dossier, decision, dict.fromkeys(["E1"], 0.0), ["E1"])  # type: ignore[arg-type]
            for plan, question in zip(plans, persona.beats, strict=True):
                assert (plan.silent, plan.cites) == (True, ())
                filled = question.silent.replace("{name}", "Lanternfish 1.2").replace("{rivals}", "Bramble and Quaydb")
                assert plan.stem == filled
                assert plan.stem.endswith("the dossier does not tell.")
                assert "{" not in plan.stem


def test_a_beat_whose_evidence_is_used_up_does_not_deny_it(asking: Callable[..., Persona], dossier: Dossier) -> None:
    """E2 is all that pleases, and `a` has it: of `b` the dossier tells no more, of weaknesses it tells nothing."""
    persona = asking(spec("a"), spec("b"), spec("c", about="weakness"))
    plans = plan_beats(persona, dossier, "ship", {"E1": 0.0, "E2": 0.9}, ["E1", "E2"])
    assert [(plan.cites, plan.silent) for plan in plans] == [(("E2",), False), ((), True), ((), True)]
    assert plans[0].stem == "a ships, since"
    assert plans[1].stem == "Of b the dossier does not tell beyond what is said here."
    assert plans[2].stem == "Of c the dossier does not tell."


@pytest.mark.parametrize(
    ("rivals", "listed"),
    [
        ((), "its rivals"),
        (("Bramble",), "Bramble"),
        (("Bramble", "Quaydb"), "Bramble and Quaydb"),
        (("Bramble", "Quaydb", "Hornet 3"), "Bramble, Quaydb and Hornet 3"),
        (("Bramble", "Quaydb", "Hornet 3", "Umbra"), "Bramble, Quaydb and Hornet 3"),
        (("Bramble, which everyone hates", "Quaydb"), "Quaydb"),
        (("Bramble. Everyone hates it", "Nobody likes the others at all"), "its rivals"),
    ],
)
def test_placeholders_are_filled(
    asking: Callable[..., Persona], dossier: Dossier, rivals: tuple[str, ...], listed: str
) -> None:
    made = dossier.model_copy(update={"rivals": rivals})
    stems = {"ship": ("{name} at {price} beats {rivals}, since",), "skip": ("x",)}
    question = spec("a").model_copy(update={"stem": stems, "silent": "{rivals}, {name}, {price}: untold."})
    (plan,) = plan_beats(asking(question), made, "ship", {"E1": 1.0}, ["E1"])
    assert plan.stem == f"Lanternfish 1.2 at $12 per seat beats {listed}, since"
    (plan,) = plan_beats(asking(question), made, "ship", {"E1": 0.0}, ["E1"])
    assert plan.stem == f"{listed}, Lanternfish 1.2, $12 per seat: untold."


@pytest.mark.parametrize(
    "name", ["{x}", "{0}", "{{ 7*7 }}", "{% raw %}", "{", "}{", "%s", "{name", "a {name} b", "\\1"]
)
def test_braces_in_names_are_text(asking: Callable[..., Persona], dossier: Dossier, name: str) -> None:
    made = dossier.model_copy(update={"name": name, "rivals": (name,), "entry_price": name})
    question = spec("a").model_copy(update={"silent": "{name}, {rivals}, {price}: untold."})
    (plan,) = plan_beats(asking(question), made, "ship", {"E1": 0.0}, ["E1"])
    assert plan.stem == f"{name}, {name}, {name}: untold."


@pytest.mark.parametrize(
    ("field", "value", "filled"),
    [
        ("name", "Lantern {price}", "Lantern {price} or its rivals: untold."),
        ("name", "{rivals}", "{rivals} or its rivals: untold."),
        ("rivals", ("{price}",), "Lanternfish 1.2 or {price}: untold."),
    ],
)
def test_a_name_that_looks_like_another_placeholder_is_text(
    asking: Callable[..., Persona], dossier: Dossier, field: str, value: object, filled: str
) -> None:
    made = dossier.model_copy(update={"rivals": (), field: value})
    question = spec("a").model_copy(update={"silent": "{name} or {rivals}: untold."})
    (plan,) = plan_beats(asking(question), made, "ship", {"E1": 0.0}, ["E1"])
    assert plan.stem == filled


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ("Lanternfish 1.2", True),
        ("x" * 40, True),
        ("five words are a name", True),
        ("x" * 41, False),
        ("six words are no more one", False),
        ("Best tool: ship it", False),
        ("Free, and worth it", False),
        ("Ship it! Now", False),
        ("Free. Ship it", False),
    ],
)
def test_a_dossier_puts_no_sentence_into_a_reviewers_mouth(
    asking: Callable[..., Persona], dossier: Dossier, value: str, short: bool
) -> None:
    made = dossier.model_copy(update={"name": value, "rivals": (value,), "entry_price": value})
    question = spec("a").model_copy(update={"silent": "{name} | {rivals} | {price}"})
    (plan,) = plan_beats(asking(question), made, "ship", {"E1": 0.0}, ["E1"])
    assert plan.stem == (f"{value} | {value} | {value}" if short else "the tool | its rivals | what the card says")


def test_a_tool_gets_one_of_the_stems_and_the_same_each_time(personas: tuple[Persona, ...], dossier: Dossier) -> None:
    pulls = {item.id: 1.0 if n % 2 else -1.0 for n, item in enumerate(dossier.evidence)}
    for persona in personas:
        for decision in ("ship", "skip"):
            plans = plan_beats(persona, dossier, decision, pulls, list(pulls))  # type: ignore[arg-type]
            assert not any(plan.silent for plan in plans)
            # not by what it weighs, nor by what it is called: by its slug alone
            again = plan_beats(
                persona, dossier.model_copy(update={"evidence": dossier.evidence[::-1], "tagline": "Another"}),
                decision, pulls, list(pulls)[::-1],  # type: ignore[arg-type]
            )  # fmt: skip
            assert again == plans
            for plan in plans:
                filled = [
                    stem.replace("{rivals}", "Bramble and Quaydb").replace("{price}", "$12 per seat")
                    for stem in plan.spec.stem[decision]  # type: ignore[index]
                ]
                assert plan.stem in filled


def test_over_many_tools_every_stem_is_used(persona: Callable[[str], Persona], dossier: Dossier) -> None:
    """50 tools with ten facts that please: of each beat's stems no one is left out, and none is used for most."""
    builder = persona("builder")
    pulls = {item.id: 1.0 for item in dossier.evidence}
    used: dict[str, list[str]] = {question.name: [] for question in builder.beats}
    for number in range(50):
        tool = dossier.model_copy(update={"slug": f"tool-{number}"})
        for plan in plan_beats(builder, tool, "ship", pulls, list(pulls)):
            used[plan.spec.name].append(plan.stem)
    for question in builder.beats:
        counts = {stem: used[question.name].count(stem) for stem in question.stem["ship"]}
        assert sum(counts.values()) == 50
        assert all(5 <= count <= 30 for count in counts.values()), counts
    # one tool does not have the first of all its questions, or the second of all
    places = [
        tuple(question.stem["ship"].index(used[question.name][tool]) for question in builder.beats)
        for tool in range(50)
    ]
    assert len(set(places)) > 25


# ------------------------------------------------------------------------------------------ what the model is asked

FACTS = ["Backups stop while the {{ 7*7 }} index is rebuilt."]


def test_an_untuned_model_gets_worked_examples_and_a_tuned_one_none(
    persona: Callable[[str], Persona], prompts: Prompts
) -> None:
    builder = persona("builder")
    tuned = draft_messages(prompts, builder, "Lanternfish 1.2", FACTS, "Why?", tuned=True)
    plain = draft_messages(prompts, builder, "Lanternfish 1.2", FACTS, "Why?", tuned=False)
    assert [m.role for m in tuned] == ["system", "user"]
    assert tuned[1].content == f"Facts about Lanternfish 1.2:\n- {FACTS[0]}\n\nWhy?"
    examples = plain[1:-1]
    assert (plain[0], plain[-1]) == tuned
    assert len(examples) >= 2
    assert [m.role for m in examples] == ["user", "assistant"] * (len(examples) // 2)
    assert not any("Lanternfish" in m.content or "Backups" in m.content for m in examples)


@pytest.mark.parametrize("tuned", [True, False])
def test_the_system_turn_is_the_personas_alone(
    personas: tuple[Persona, ...], prompts: Prompts, dossier: Dossier, tuned: bool
) -> None:
    """Its voice is in it; nothing of a dossier is: whatever the tool, the turn is the same."""
    for persona in personas:
        asked = [
            draft_messages(prompts, persona, name, facts, question, tuned=tuned)
            for name, facts, question in (
                (dossier.name, [item.text for item in dossier.evidence], "Why?"),
                ("{{ 7*7 }} {{ voice }}", FACTS, "{% raw %}"),
            )
        ]
        (system,) = {messages[0] for messages in asked}
        assert system.role == "system"
        assert persona.voice in system.content
        assert [m.role for m in asked[0]].count("system") == 1
        assert asked[1][-1].content == f"Facts about {{{{ 7*7 }}}} {{{{ voice }}}}:\n- {FACTS[0]}\n\n{{% raw %}}"
        for item in dossier.evidence:
            assert item.text not in system.content
            assert item.text in asked[0][-1].content


def test_each_persona_speaks_with_its_own_voice(personas: tuple[Persona, ...], prompts: Prompts) -> None:
    turns = {draft_messages(prompts, persona, "x", FACTS, "Why?", tuned=True)[0] for persona in personas}
    assert len(turns) == 4


# ---------------------------------------------------------------------------------------------------------- drafting


@pytest.fixture
def plans(persona: Callable[[str], Persona]) -> list[BeatPlan]:
    """A builder's five beats on Lanternfish, all for ship, with evidence of many kinds."""
    specs = persona("builder").beats
    cited = ("E1", "E2", "E7", "E6", "E4")
    return [BeatPlan(spec, spec.stem["ship"][0], (cite,)) for spec, cite in zip(specs, cited, strict=True)]


@pytest.fixture
def draft(
    persona: Callable[[str], Persona], dossier: Dossier, prompts: Prompts
) -> Callable[..., list[tuple[Beat, list[Problem], int]]]:
    def do(
        engine: ScriptedEngine, plans: Sequence[BeatPlan], **options: object
    ) -> list[tuple[Beat, list[Problem], int]]:
        return draft_beats(engine, prompts, persona("builder"), dossier, plans, **{"seed": 0, **options})  # type: ignore[arg-type]

    return do


@pytest.fixture
def draft_one(
    persona: Callable[[str], Persona], dossier: Dossier, prompts: Prompts, plans: list[BeatPlan]
) -> Callable[..., tuple[Beat, list[Problem], int]]:
    """The second of the beats on a piece of evidence of its own."""

    def do(engine: ScriptedEngine, item: Evidence, *, attempt: int) -> tuple[Beat, list[Problem], int]:
        plan = BeatPlan(plans[1].spec, plans[1].stem, (item.id,))
        made = with_evidence(dossier, item)
        (written,) = draft_beats(engine, prompts, persona("builder"), made, [plan], seed=0, attempt=attempt)
        return written

    return do


Draft = Callable[..., list[tuple[Beat, list[Problem], int]]]


def test_every_beat_is_written_once_for_each_temperature(
    draft: Draft, plans: list[BeatPlan], scripted: ScriptedEngine, dossier: Dossier
) -> None:
    written = draft(scripted, plans, seed=3)
    texts = {item.id: item.text for item in dossier.evidence}
    for (beat, problems, tokens), plan in zip(written, plans, strict=True):
        (cited,) = plan.cites
        assert beat == Beat(name=plan.spec.name, text=plan.stem + script.restated(texts[cited]), cites=plan.cites)
        assert problems == []
        assert tokens == len(ROUNDS[0]) * len(texts[cited].split())
    assert [r.sampling.temperature for r in scripted.generated] == [*ROUNDS[0]] * 5
    assert {r.seed for r in scripted.generated} == {3}
    assert [r.opening for r in scripted.generated] == [plan.stem for plan in plans for _ in ROUNDS[0]]
    assert len({r.key for r in scripted.generated}) == 5 * len(ROUNDS[0])


@pytest.mark.parametrize("sha", ["", "ad" * 32])
def test_only_an_engine_with_an_adapter_is_asked_without_examples(
    draft: Draft, plans: list[BeatPlan], prompts: Prompts, persona: Callable[[str], Persona], sha: str
) -> None:
    engine = script.scripted_engine(adapter_sha256=sha)
    draft(engine, plans[:1])
    asked = draft_messages(
        prompts, persona("builder"), "Lanternfish 1.2", ["Queries run in parallel across every core of the machine."],
        plans[0].spec.question, tuned=bool(sha),
    )  # fmt: skip
    assert {r.messages for r in engine.generated} == {asked}
    assert (len(asked) == 2) == bool(sha)


def test_a_silent_beat_is_not_asked_for(draft: Draft, plans: list[BeatPlan], scripted: ScriptedEngine) -> None:
    silent = BeatPlan(plans[1].spec, "Of this the dossier does not tell.", ())
    beat = Beat(name="dx-bet", text="Of this the dossier does not tell.", cites=(), silent=True)
    assert draft(scripted, [silent]) == [(beat, [], 0)]
    assert (scripted.generated, scripted.scored) == ([], [])
    written = draft(scripted, [plans[0], silent, plans[2]])
    assert [b.silent for b, _, _ in written] == [False, True, False]
    assert written[1] == (beat, [], 0)
    assert [b.cites for b, _, _ in written] == [("E1",), (), ("E7",)]
    assert not any("dx-bet" in r.key for r in scripted.generated)
    assert draft(scripted, [silent], attempt=len(ROUNDS)) == [(beat, [], 0)]


@pytest.mark.parametrize(
    "worse", [" queries run in parallel on a powerful tool.", " queries run in parallel on quiet cores."]
)
def test_the_best_candidate_is_kept(draft: Draft, plans: list[BeatPlan], worse: str) -> None:
    """The worse one is boilerplate, or has only four of its five words from E1; the better one is E1 as it stands.
    Neither is likelier, and it does not matter which was written first. (In the first round there is only one.)"""
    better = " queries run in parallel across every core of the machine."
    for texts in ({"/0": worse, "/1": better}, {"/0": better, "/1": worse}):
        engine = ScriptedEngine(lambda r, texts=texts: texts.get(r.key[-2:], worse))
        ((beat, problems, tokens),) = draft(engine, plans[:1], attempt=1)
        assert (beat.text, problems) == (plans[0].stem + better, [])
        assert tokens == (len(ROUNDS[1]) - 1) * len(worse.split()) + len(better.split())


def test_what_stands_may_not_be_said_again(draft: Draft, plans: list[BeatPlan], scripted: ScriptedEngine) -> None:
    again = " queries run in parallel across every core of the machine."
    ((_, problems, _),) = draft(scripted, plans[:1], others=[again])
    assert problems == [Problem("primitive", "says what another beat says")]
    # nor by two of the same batch
    engine = ScriptedEngine(lambda r: again)
    first, second = draft(engine, [plans[0], BeatPlan(plans[1].spec, plans[1].stem, plans[0].cites)])
    assert first[1] == []
    assert [p.message for p in second[1]] == ["says what another beat says"]


# ------------------------------------------------------------------------------------------- the grammar of a beat


def grammar_of(
    draft: Draft, plans: Sequence[BeatPlan], name: str, codec: Codec, *, attempt: int = 0
) -> Callable[[str], bool]:
    """Whether the grammar that the engine was given for the beat `name` admits a text."""
    engine = script.scripted_engine()
    draft(engine, plans, attempt=attempt)
    (grammar,) = {r.grammar for r in engine.generated if f"/{name}/" in r.key}
    return lambda text: admits(codec, grammar, text)


ELSEWHERE = {
    "E1": " the machine has queries in parallel.",
    "E2": " the manual shows each command.",
    "E4": " the source is published under Apache-2.0.",
    "E6": " hospitals in Norway store letters.",
    "E7": " it takes 9 seconds for 40 million rows.",
}


def test_a_grammar_admits_the_names_of_what_is_cited_and_no_others(
    draft: Draft, plans: list[BeatPlan], codec: Codec
) -> None:
    """Each sentence names what its own evidence names, and is admitted for that beat; one with a name or a number
    is admitted for no other."""
    for plan in plans:
        takes = grammar_of(draft, plans, plan.spec.name, codec)
        assert {id for id, text in ELSEWHERE.items() if takes(text)} == {*plan.cites, "E1", "E2"}


@pytest.mark.parametrize(
    ("sentence", "admitted", "refused"),
    [
        (" hospitals in {} store patient letters with it.", ["Norway"], ["Sweden", "Bramble", "40 million", "$12"]),
        (
            " hospitals pay {} for it.",
            ["Lanternfish 1.2"],
            ["Bramble", "Quaydb", "Lanternfish 2", "$12 per seat", "$9"],
        ),
        (
            " hospitals in Norway store {} letters.",
            ["the", "many", "one"],
            ["two", "40", "a million", "half", "9 seconds"],
        ),
        (" hospitals in Norway call the {} for it.", ["API", "SDK", "CLI"], ["SLA", "IT", "AI", "WebAssembly", "api2"]),
        (" hospitals in Norway use {}", ["it."], ["it", "it. They do.", "it!", "it\n."]),
    ],
)
def test_names_and_numbers_from_elsewhere_are_not_admitted(
    draft: Draft, plans: list[BeatPlan], codec: Codec, sentence: str, admitted: list[str], refused: list[str]
) -> None:
    """The beat cites E6: Hospitals in Norway store patient letters with it. API, SDK and CLI are the builder's own
    words, SLA, IT and AI those of others."""
    (plan,) = [plan for plan in plans if plan.cites == ("E6",)]
    takes = grammar_of(draft, [plan], plan.spec.name, codec)
    assert {word: takes(sentence.format(word)) for word in admitted + refused} == (
        dict.fromkeys(admitted, True) | dict.fromkeys(refused, False)
    )


def test_the_last_resort_admits_the_evidence_and_nothing_else(
    draft: Draft, plans: list[BeatPlan], codec: Codec
) -> None:
    (plan,) = [plan for plan in plans if plan.cites == ("E6",)]
    takes = grammar_of(draft, [plan], plan.spec.name, codec, attempt=len(ROUNDS))
    assert takes(" hospitals in Norway store patient letters with it.")
    assert not takes(" hospitals in Norway store patient letters.")
    assert not takes(" hospitals in Norway store patient letters with it. It is so.")


# ------------------------------------------------------------------------------------------------- a second opinion


def test_model_support_worked_by_hand(prompts: Prompts) -> None:
    """Four words at −2 with the fact and −10 without: (−2 + 10) / 4 = 2 nats a word. Five at −9 with and without: 0.
    Two at −8 with and −5 without: (−8 + 5) / 2 = −1.5."""
    given = "Backups stop while the index is rebuilt."
    worth = {
        ("Fact: Backups stop while the index is rebuilt.\nIn other words:", " backups stop at night."): -2.0,
        ("In other words:", " backups stop at night."): -10.0,
        ("Fact: Backups stop while the index is rebuilt.\nIn other words:", " it is a good database."): -9.0,
        ("In other words:", " it is a good database."): -9.0,
        ("Fact: It ends.\nIn other words:", " backups run."): -8.0,
        ("In other words:", " backups run."): -5.0,
    }
    engine = ScriptedEngine(lambda r: "", lambda prompt, candidate: worth[prompt, candidate])
    pairs = [(given, "backups stop at night."), (given, " it is a good database. "), ("It ends.", "backups run.")]
    assert model_support(engine, prompts, pairs, "builder/lanternfish") == [2.0, 0.0, -1.5]
    assert len({r.key for r in engine.scored}) == len(engine.scored) == 6
    assert all(r.key.startswith("support/builder/lanternfish/") for r in engine.scored)
    assert model_support(engine, prompts, [], "builder/lanternfish") == []


def test_a_fact_is_never_a_template(prompts: Prompts) -> None:
    engine = ScriptedEngine(lambda r: "")
    model_support(engine, prompts, [("{{ 7*7 }} {% raw %}", "so.")], "a/b")
    assert [r.prompt for r in engine.scored] == ["Fact: {{ 7*7 }} {% raw %}\nIn other words:", "In other words:"]


def test_a_sentence_without_words_does_not_divide_by_zero(prompts: Prompts) -> None:
    engine = ScriptedEngine(lambda r: "", lambda prompt, _: 1.0 if "Fact" in prompt else 0.25)
    assert model_support(engine, prompts, [("It ends.", " ")], "a/b") == [0.75]


#: E2: The manual shows each command with a complete example. Of manual, show, command, clear, picture three of five.
LOOSE = " the manual shows each command in a clear picture."


def doubting(gain: float, rest: str = LOOSE) -> ScriptedEngine:
    """Writes `rest`, and quotes where it is told to; its evidence makes a sentence likelier by `gain` a word."""

    def write(request: GenerateRequest) -> str:
        return rest if request.grammar.kind == "words" else script.write(request)

    def rate(prompt: str, candidate: str) -> float:
        return 0.0 if prompt.startswith("Fact: ") else -gain * len(candidate.split())

    return ScriptedEngine(write, rate)


def test_a_loose_sentence_is_one_that_rules_let_pass_and_the_model_is_asked_about(dossier: Dossier) -> None:
    assert SUPPORT <= support(LOOSE, dossier.evidence[1:2]) == 3 / 5 < PLAIN_SUPPORT


@pytest.mark.parametrize("above", [0.1, -0.1, -9.0])
def test_what_the_model_does_not_find_in_the_evidence_is_doubted(
    draft: Draft, plans: list[BeatPlan], above: float
) -> None:
    engine = doubting(MIN_GAIN + above)
    ((beat, problems, tokens),) = draft(engine, plans[1:2])
    assert beat.text == plans[1].stem + LOOSE
    assert tokens == len(ROUNDS[0]) * 9
    doubt = Problem("dx-bet", "is not what the model reads in E2", doubt=True)
    assert problems == ([] if above > 0 else [doubt])
    # the model reads what it wrote itself, without the stem, with the evidence and without it
    assert [(r.prompt, r.candidates) for r in engine.scored] == [
        ("Fact: The manual shows each command with a complete example.\nIn other words:", (LOOSE,)),
        ("In other words:", (LOOSE,)),
    ]


def test_a_doubt_is_about_one_beat(draft: Draft, plans: list[BeatPlan]) -> None:
    """The others restate their evidence, and are not asked about."""

    def write(request: GenerateRequest) -> str:
        return LOOSE if "/dx-bet/" in request.key else script.write(request)

    engine = ScriptedEngine(write)  # all sentences equally likely, whatever is given
    written = draft(engine, plans)
    assert {beat.name: [p.doubt for p in problems] for beat, problems, _ in written} == {
        "primitive": [], "dx-bet": [True], "moment-of-truth": [], "weekend-alternative": [], "deciding-choice": [],
    }  # fmt: skip
    assert len(engine.scored) == 2


def test_what_a_rule_refuses_needs_no_second_opinion(draft: Draft, plans: list[BeatPlan]) -> None:
    engine = doubting(-9.0, " gardens bloom in the manual.")
    ((_, problems, _),) = draft(engine, plans[1:2])
    assert problems == [Problem("dx-bet", "is not supported by E2")]
    assert engine.scored == []


def test_a_quotation_is_held_to_its_words_alone(
    draft_one: Callable[..., tuple[Beat, list[Problem], int]], fact: Callable[..., Evidence]
) -> None:
    """Neither its boilerplate nor that it says nothing is the reviewer's, and no second opinion is asked for either:
    `FinalAnswer` takes both as they are."""
    for text in ("It can be used by all of you.", "It is a powerful tool for hospitals in Norway."):
        engine = doubting(-9.0)
        beat, problems, _ = draft_one(engine, fact("E2", text), attempt=len(ROUNDS))
        assert (beat.text.casefold().endswith(text.casefold()), beat.verbatim) == (True, True)
        assert problems == []
        assert engine.scored == []


def test_a_doubted_beat_is_quoted_word_for_word_and_not_doubted_again(draft: Draft, plans: list[BeatPlan]) -> None:
    engine = doubting(-9.0)
    ((_, problems, _),) = draft(engine, plans[1:2])
    assert [p.doubt for p in problems] == [True]
    asked = len(engine.generated), len(engine.scored)
    ((beat, problems, _),) = draft(engine, plans[1:2], attempt=len(ROUNDS))
    quoted = " the manual shows each command with a complete example."
    assert (beat.text, beat.verbatim, beat.cites) == (plans[1].stem + quoted, True, ("E2",))
    assert problems == []
    again = engine.generated[asked[0] :]
    assert [r.grammar.text for r in again] == [f"start: {json.dumps(quoted)}\n"]
    assert len(engine.scored) == asked[1]
