"""Every problem that a draft may have: a planted fault is found, and its clean twin passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from panel.grounding import Grounds, grounds, quotation_grammar
from panel.records import Beat, Dossier, Evidence, Persona
from panel.validate import SUPPORT, check_beat, check_review, content_words, support

STEM = "What stands out is that"
OTHER = " the manual shows each command with a complete example."

#: problem (the start of its message) → a rest of a sentence that has it, what it cites, and its clean twin
FAULTS: dict[str, tuple[str, str, str]] = {
    "cites E77, which is not in the dossier": (
        " queries run in parallel across every core.", "E1 E77", " queries run in parallel across every core.",
    ),
    "cites nothing": (" queries run in parallel across every core.", "", " queries run in parallel across every core."),
    "names Sweden, which E6 does not": (
        " hospitals in Sweden store patient letters.", "E6", " hospitals in Norway store patient letters.",
    ),
    "names 41, which E7 does not": (
        " sorting 41 million rows takes seconds.", "E7", " sorting 40 million rows takes seconds.",
    ),
    # what stands elsewhere in the dossier is no part of what this beat may say
    "names Norway, which E1 does not": (
        " queries run in parallel across Norway.", "E1", " queries run in parallel across every core.",
    ),
    "names Bramble, which E6 does not": (
        " hospitals store patient letters with Bramble.", "E6", " hospitals store patient letters with it.",
    ),
    "names Apache-2.0, which E2 does not": (
        " the manual of Apache-2.0 shows each command.", "E2", " the manual shows each command to readers.",
    ),
    "names 40, which E1 does not": (
        " queries run in parallel across 40 cores.", "E1", " queries run in parallel across cores.",
    ),
    "names $12, which E10 does not": (
        " questions are answered by engineers for $12.", "E10", " questions are answered by engineers in days.",
    ),
    "names million, which E1 does not": (
        " queries run in parallel across a million cores.", "E1", " queries run in parallel across all the cores.",
    ),
    "names four, which E1 does not": (
        " queries run in parallel across four cores.", "E1", " queries run in parallel across its cores.",
    ),
    "says nothing after its opening words": (" it is one of those.", "E3", " backups stop while the index is rebuilt."),
    "is not supported by E1": (
        " gardens bloom beside quiet parallel roads.", "E1", " queries run in parallel across quiet roads.",
    ),
    "repeats itself": (
        " queries run in parallel and queries run in parallel.", "E1", " queries run in parallel across every core.",
    ),
    "says cor more often than its evidence": (
        " every core runs queries in parallel across every core.", "E1", " every core runs queries in parallel.",
    ),
    "turns the sense of E8 around": (
        " somebody outside the team has audited the encryption.", "E8",
        " nobody outside the team has audited the encryption.",
    ),
    "turns the sense of E3 around": (
        " backups never stop while the nightly index is rebuilt.", "E3",
        " backups stop while the nightly index is rebuilt.",
    ),
    "says 'powerful tool', which fits any tool": (
        " queries run in parallel on a powerful tool.", "E1", " queries run in parallel on a powerful machine.",
    ),
    "says 'designed to help', which fits any tool": (
        " it is designed to help queries run in parallel.", "E1", " it is designed so that queries run in parallel.",
    ),
    "says 'seamless', which fits any tool": (
        " queries run in seamless parallel across each core.", "E1", " queries run in a parallel way across each core.",
    ),
    "says 'seamlessly', which fits any tool": (
        " seamlessly run in parallel, queries use every core.", "E1", " run in parallel, queries use every core.",
    ),
    "does not end": (" queries run in parallel across every", "E1", " queries run in parallel across every core."),
    "says what another beat says": (
        " the manual shows a complete example with each command.", "E2", " the manual has a complete example.",
    ),
}  # fmt: skip


ORDINARY = frozenset({"queries"})


@pytest.fixture
def ground(dossier: Dossier, persona: Callable[[str], Persona]) -> Grounds:
    """All that the dossier names."""
    return grounds(dossier, persona("builder"), ORDINARY)


@pytest.fixture
def check(dossier: Dossier, persona: Callable[[str], Persona]) -> Callable[..., list[str]]:
    """The messages that a beat made of the stem and `rest` gets."""

    def do(rest: str, cites: str, *, stem: str = STEM, others: Sequence[str] = (OTHER,), **marks: bool) -> list[str]:
        beat = Beat(name="primitive", text=stem + rest, cites=tuple(cites.split()), **marks)
        ground = grounds(dossier, persona("builder"), ORDINARY, beat.cites)
        problems = check_beat(beat, stem, {e.id: e for e in dossier.evidence}, ground, others)
        assert all(p.beat == "primitive" for p in problems)
        return [p.message for p in problems]

    return do


@pytest.mark.parametrize("problem", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else_is(check: Callable[..., list[str]], problem: str) -> None:
    fault, cites, _ = FAULTS[problem]
    assert check(fault, cites) == [problem]


@pytest.mark.parametrize("problem", FAULTS)
def test_its_clean_twin_passes(check: Callable[..., list[str]], problem: str) -> None:
    _, cites, twin = FAULTS[problem]
    assert check(twin, " ".join(c for c in cites.split() if c != "E77") or "E1") == []


def test_words_of_the_stem_are_no_answer(check: Callable[..., list[str]]) -> None:
    """E2 says all of it, and so did the stem already."""
    stem = "With each command that the manual shows"
    assert check(" the manual shows each command.", "E2", stem=stem) == ["only repeats its opening words"]
    assert check(" a complete example is shown.", "E2", stem=stem) == []


def test_what_the_stem_names_is_no_fault_of_the_rest(check: Callable[..., list[str]]) -> None:
    """E1 names neither rival; the stem does, and may. After it neither may be named."""
    stem = "Next to Bramble and Quaydb, it stands out because"
    assert check(" queries run in parallel across every core.", "E1", stem=stem) == []
    said = check(" queries run in parallel across every core of Hornet.", "E1", stem=stem)
    assert said == ["names Hornet, which E1 does not"]


@pytest.mark.parametrize("stem", ["The bet is safe, with", "It can still break over", "The weak spot is"])
@pytest.mark.parametrize(
    ("clause", "noun"),
    [
        (" queries run in parallel across every core of the machine.", " queries running in parallel on every core."),
        (" on every core, they run queries in parallel.", " on every core, queries that run in parallel."),
        (" it runs queries in parallel.", " its queries, which it runs in parallel."),
    ],
)
def test_a_noun_is_what_follows_with(check: Callable[..., list[str]], stem: str, clause: str, noun: str) -> None:
    """E1: Queries run in parallel across every core of the machine. After "because", the clause is what is wanted."""
    assert check(clause, "E1", stem=stem) == [f"goes on with a clause, where {stem.split()[-1]!r} wants a noun"]
    assert check(noun, "E1", stem=stem) == []
    assert check(clause, "E1", stem="It holds, because") == []


def test_a_name_may_come_from_any_piece_that_is_cited(check: Callable[..., list[str]]) -> None:
    rest = " hospitals in Norway sort 40 million rows in 9 seconds."
    assert check(rest, "E6 E7") == []
    assert check(rest, "E6")[0] == "names 40, million, 9, which E6 does not"
    assert check(rest, "E7")[0] == "names Norway, which E7 does not"


@pytest.mark.parametrize(
    ("phrase", "plain"),
    [
        ("a powerful tool", "a powerful engine"),
        ("a great choice", "a great leap"),
        ("a valuable feature", "a valuable row"),
        ("designed to help", "designed"),
        ("designed to make it fast", "designed for them"),
        ("seamlessly", "smoothly"),
        ("seamless", "smooth"),
        ("easy to use", "easy"),
        ("user-friendly", "friendly"),
        ("cutting-edge", "on the edge"),
        ("state of the art", "in a state"),
        ("a game changer", "a changer"),
        ("a wide range of ports", "a range of ports"),
        ("which plays a crucial role", "which plays"),
        ("which makes it easy", "which makes them easy"),
        ("to meet the needs of its users", "for its users"),
        ("which unlocks value", "which locks"),
        ("which empowers them", "which powers them"),
        ("which is revolutionary", "which is evolutionary"),
        ("in today's world", "today"),
    ],
)  # fmt: skip
def test_what_fits_any_tool_is_found_in_any_wording(check: Callable[..., list[str]], phrase: str, plain: str) -> None:
    """After words that E1 has, so that nothing else is wrong with them."""
    said = check(f" queries run in parallel across every core of the machine, {phrase}.", "E1")
    assert len(said) == 1
    assert said[0].startswith("says ")
    assert said[0].endswith(", which fits any tool")
    assert check(f" queries run in parallel across every core of the machine, {plain}.", "E1") == []


def test_what_the_stem_says_is_not_held_against_the_rest(check: Callable[..., list[str]]) -> None:
    """A persona's own words are not the model's."""
    rest = " queries run in parallel across every core."
    assert check(rest, "E1", stem="It is a powerful tool, since") == []


# ----------------------------------------------------------------------------------------------- beside other beats


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        # the same last clause, after words that are quite different
        (" queries run in parallel across every core, so a team can start.", ["ends as another beat does"]),
        # other words, or the same ones in the middle
        (" queries run in parallel across every core, so a team can stop.", []),
        (" queries run in parallel, so a team can start, across every core.", []),
        # no clause of its own
        (" queries run in parallel across every core so a team can start.", []),
    ],
)
def test_a_closing_clause_is_said_once(check: Callable[..., list[str]], rest: str, problem: list[str]) -> None:
    other = " the manual shows each command, so a team can start."
    assert check(rest, "E1", others=[other]) == problem


def test_a_whole_sentence_is_no_closing_clause(check: Callable[..., list[str]]) -> None:
    rest = " queries run in parallel across every core."
    assert (
        check(rest, "E1", others=[" as the manual of this machine shows, queries run in parallel across every core."])
        == []
    )


def test_a_closing_of_two_words_may_come_twice(check: Callable[..., list[str]]) -> None:
    """Two words are a turn of phrase; three are a clause."""
    rest = " queries run in parallel across every core, {}."
    assert check(rest.format("at once"), "E1", others=[" the manual shows each command, at once."]) == []
    three = check(rest.format("all at once"), "E1", others=[" the manual shows each command, all at once."])
    assert three == ["ends as another beat does"]


def test_a_beat_that_says_the_same_is_not_told_twice(check: Callable[..., list[str]]) -> None:
    """Where the whole beat is the same, its ending is, too: that is one fault."""
    rest = " queries run in parallel across every core, so a team can start."
    assert check(rest, "E1", others=[rest]) == ["says what another beat says"]


# ------------------------------------------------------------------------------------------------- silent beats

SILENT = "Where Lanternfish 1.2 breaks, the dossier does not tell."


@pytest.mark.parametrize(
    ("rest", "cites", "fine"),
    [
        ("", "", True), ("", "E3", False), (" backups stop.", "", False), (" Ask Oracle.", "", False), (" ", "", False),
    ],
)  # fmt: skip
def test_a_silent_beat_cites_nothing_and_says_no_more(
    check: Callable[..., list[str]], rest: str, cites: str, fine: bool
) -> None:
    wrong = [] if fine else ["should only say that the dossier does not tell"]
    assert check(rest, cites, stem=SILENT, silent=True) == wrong


def test_a_silent_beat_cannot_leave_its_words_out(dossier: Dossier, ground: Grounds) -> None:
    for text in ("", SILENT[:-1], SILENT.upper()):
        beat = Beat(name="where-it-breaks", text=text, cites=(), silent=True)
        (problem,) = check_beat(beat, SILENT, {e.id: e for e in dossier.evidence}, ground)
        assert (problem.beat, problem.doubt) == ("where-it-breaks", False)


def test_who_is_not_silent_has_to_say_something(check: Callable[..., list[str]]) -> None:
    """The same words pass for a silent beat alone."""
    said = check("", "", stem=SILENT)
    assert said[:2] == ["cites nothing", "says nothing after its opening words"]


@pytest.mark.parametrize(
    ("text", "kept", "turned"),
    [
        ("It doesn't need an account to start.", " it doesn't need an account.", " it does need an account to start."),
        (
            "It doesn’t need an account to start.",
            " it needs no account to start.",
            " an account is what it needs to start.",
        ),
        ("Exports cannot be scheduled.", " exports cannot be scheduled.", " exports can be scheduled."),
        ("Exports can be scheduled by anyone.", " anyone schedules exports.", " nobody schedules exports."),
        ("The vendor lacks an audit report.", " the vendor lacks an audit report.", " the vendor has an audit report."),
        (
            "Starting is quick, but no audit report exists.",
            " starting is quick with it.",
            " an audit report exists, and starting is quick.",
        ),
        (
            "Starting is quick, but no audit report exists.",
            " starting is quick, though no audit report exists.",
            " starting is never quick.",
        ),
    ],
)
def test_a_denial_is_neither_dropped_nor_added(
    text: str, kept: str, turned: str, ground: Grounds, fact: Callable[..., Evidence]
) -> None:
    evidence = {"E1": fact("E1", text)}

    def messages(rest: str) -> list[str]:
        beat = Beat(name="x", text=STEM + rest, cites=("E1",))
        return [p.message for p in check_beat(beat, STEM, evidence, ground)]

    assert messages(kept) == []
    assert messages(turned) == ["turns the sense of E1 around"]


@pytest.mark.parametrize("text", ["It is.", "Yes", "N/A", "?", "日本語だけ", "It can be used by you."])
def test_evidence_that_says_nothing_is_no_reason_to_break_down(
    text: str, ground: Grounds, fact: Callable[..., Evidence]
) -> None:
    beat = Beat(name="x", text=f"{STEM} queries run in parallel.", cites=("E1",))
    messages = [p.message for p in check_beat(beat, STEM, {"E1": fact("E1", text)}, ground)]
    assert messages == ["is not supported by E1"]


# -------------------------------------------------------------------------------------------------- quotations


def test_a_quotation_is_held_to_its_words_alone(check: Callable[..., list[str]], dossier: Dossier) -> None:
    rest = json.loads(quotation_grammar(dossier.evidence[1].text, []).text.removeprefix("start: "))
    # it says what another beat says, and may: the evidence says it so
    assert check(rest, "E2") != []
    assert check(rest, "E2", verbatim=True) == []
    assert check(rest.replace("complete", "partial"), "E2", verbatim=True) == ["does not quote E2 word for word"]
    assert check(rest, "E1", verbatim=True) == ["does not quote E1 word for word"]
    assert check(rest, "", verbatim=True)[0] == "cites nothing"
    assert check(rest, "E2 E77", verbatim=True) == ["cites E77, which is not in the dossier"]
    # where a noun is wanted, "this: " stands before it, and nowhere else
    stem = "The bet is safe, with"
    led = json.loads(quotation_grammar(dossier.evidence[1].text, [], stem).text.removeprefix("start: "))
    assert check(led, "E2", stem=stem, verbatim=True) == []
    assert check(led, "E2", verbatim=True) == ["does not quote E2 word for word"]


def test_a_quotation_may_say_what_a_paraphrase_may_not(
    persona: Callable[[str], Persona], dossier: Dossier, fact: Callable[..., Evidence]
) -> None:
    """Boilerplate is the vendor's where the evidence has it; a name that it does not have is found all the same."""
    item = fact("E1", "A powerful tool seamlessly meets the needs of its users.")
    own = grounds(dossier.model_copy(update={"evidence": (item,)}), persona("builder"), ORDINARY, ("E1",))

    def messages(rest: str, *, verbatim: bool) -> list[str]:
        beat = Beat(name="x", text=STEM + rest, cites=("E1",), verbatim=verbatim)
        return [p.message for p in check_beat(beat, STEM, {"E1": item}, own)]

    quoted = " a powerful tool seamlessly meets the needs of its users."
    assert messages(quoted, verbatim=True) == []
    assert messages(quoted, verbatim=False) == ["says 'powerful tool', which fits any tool"]
    longer = quoted.replace("users", "users in Norway")
    assert messages(longer, verbatim=True) == [
        "names Norway, which E1 does not", "does not quote E1 word for word",
    ]  # fmt: skip


def test_every_fact_of_a_dossier_can_be_quoted(
    check: Callable[..., list[str]], dossier: Dossier, ground: Grounds
) -> None:
    for item in dossier.evidence:
        rest = json.loads(quotation_grammar(item.text, ground.names).text.removeprefix("start: "))
        assert check(rest, item.id, verbatim=True) == []


# ----------------------------------------------------------------------------------------------------- support


def test_content_words_are_those_that_say_something() -> None:
    assert content_words("The queries of it are running: 9 times, and never twice.") == [
        "query", "run", "9", "tim", "never", "twic",
    ]  # fmt: skip
    assert content_words("It is not for you.") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("machine", "machines"), ("plan", "planned"), ("plan", "planning"), ("plan", "plans"), ("query", "queries"),
        ("library", "libraries"), ("price", "pricing"), ("cache", "cached"), ("stop", "stopped"), ("issue", "issues"),
        ("process", "processes"), ("batch", "batches"), ("install", "installed"), ("quick", "quickly"),
        ("team", "team's"), ("free", "frees"), ("app", "apps"),
    ],
)  # fmt: skip
def test_a_word_is_the_same_word_in_each_of_its_forms(one: str, other: str) -> None:
    assert content_words(one) == content_words(other)
    assert len(content_words(one)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("company", "companies"),  # function words, both
        ("setting", "settings"),  # the plural goes before the ending that is left
        ("string", "strings"),
        ("speed", "speeds"),
        ("embedding", "embeddings"),
        ("status", "status's"),  # no plural
        ("class", "classes"),
        ("index", "indexes"),
        ("branch", "branches"),
    ],
)
def test_a_word_and_its_plural_are_one_word(one: str, other: str) -> None:
    assert content_words(one) == content_words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("price", "prize"), ("plan", "plant"), ("model", "module"), ("contract", "contact"), ("author", "audit"),
        ("require", "request"), ("memory", "member"),
    ],
)  # fmt: skip
def test_words_that_look_alike_are_two(one: str, other: str) -> None:
    assert content_words(one) != content_words(other)


def test_support_is_the_share_of_words_that_the_evidence_has(fact: Callable[..., Evidence]) -> None:
    """Of backups, stop, gardens, bloom the evidence has the first two: 2 / 4."""
    evidence = [fact("E1", "Backups stop while the index is rebuilt.")]
    assert support("backups stop, gardens bloom", evidence) == 0.5
    assert support("it is", evidence) == 0.0
    assert support("backups stop", []) == 0.0


def test_support_may_come_from_several_pieces(check: Callable[..., list[str]]) -> None:
    """Of audited, backups, stop, complete, ideas E2 has one, and E2, E3 and E8 together have four."""
    assert 1 / 5 < SUPPORT <= 4 / 5
    rest = " audited backups stop complete ideas."
    assert check(rest, "E2") == ["is not supported by E2"]
    assert check(rest, "E2 E3 E8") == []


# ---------------------------------------------------------------------------------------------- a whole review


def test_a_review_answers_every_question_in_order(persona: Callable[[str], Persona]) -> None:
    builder = persona("builder")
    stems = {spec.name: spec.stem["ship"][0] for spec in builder.beats}
    beats = [Beat(name=name, text=f"{stem} so.", cites=("E1",)) for name, stem in stems.items()]
    assert check_review(builder, "ship", stems, beats) == []
    names = [b.name for b in beats]
    for wrong in (beats[::-1], beats[:-1], [], [*beats, beats[0]]):
        assert [p.message for p in check_review(builder, "ship", stems, wrong)] == [
            f"answers {[b.name for b in wrong]} instead of {names}"
        ]


def test_a_beat_that_argues_for_the_other_decision_is_found(persona: Callable[[str], Persona]) -> None:
    builder = persona("builder")
    stems = {spec.name: spec.stem["skip"][0] for spec in builder.beats}
    beats = [Beat(name=name, text=f"{stem} so.", cites=("E1",)) for name, stem in stems.items()]
    beats[2] = beats[2].model_copy(update={"text": f"{builder.beats[2].stem['ship'][0]} so."})
    (problem,) = check_review(builder, "skip", stems, beats)
    assert problem.beat == builder.beats[2].name
    assert problem.message.startswith("does not argue for skip: it should start with")


@pytest.mark.parametrize(
    ("decision", "about", "pull", "against"),
    [
        ("ship", "decision", 0.2, False), ("ship", "decision", -0.2, True),
        ("skip", "decision", 0.2, True), ("skip", "decision", -0.2, False),
        # whatever the verdict: a strength rests on what pulls toward ship, a weakness on what pulls toward skip
        ("ship", "strength", 0.2, False), ("ship", "strength", -0.2, True),
        ("skip", "strength", 0.2, False), ("skip", "strength", -0.2, True),
        ("ship", "weakness", 0.2, True), ("ship", "weakness", -0.2, False),
        ("skip", "weakness", 0.2, True), ("skip", "weakness", -0.2, False),
        ("ship", "decision", 0.0, False), ("skip", "decision", 0.0, False), ("ship", "weakness", 0.0, False),
    ],
)  # fmt: skip
def test_a_beat_may_not_rest_on_what_pulls_the_other_way(
    persona: Callable[[str], Persona], decision: str, about: str, pull: float, against: bool
) -> None:
    """The beat under test cites E2; every other beat cites nothing, and the other pulls do not matter."""
    builder = persona("builder")
    specs = (builder.beats[0].model_copy(update={"about": about}), *builder.beats[1:])
    odd = builder.model_copy(update={"beats": specs})
    stems = {spec.name: spec.stem[decision][0] for spec in specs}  # type: ignore[index]
    beats = [
        Beat(name=name, text=f"{stem} so.", cites=("E2",) if name == "primitive" else ())
        for name, stem in stems.items()
    ]
    found = check_review(odd, decision, stems, beats, {"E1": -5.0, "E2": pull, "E3": 5.0})  # type: ignore[arg-type]
    wrong = [("primitive", "rests on E2, which pulls the other way")] if against else []
    assert [(p.beat, p.message) for p in found] == wrong


def test_all_that_pulls_the_other_way_is_named(persona: Callable[[str], Persona]) -> None:
    """E9 has no pull on record, and so none that could be wrong."""
    builder = persona("builder")
    stems = {spec.name: spec.stem["ship"][0] for spec in builder.beats}
    beats = [Beat(name=name, text=f"{stem} so.", cites=("E1", "E2", "E3", "E9")) for name, stem in stems.items()]
    found = check_review(builder, "ship", stems, beats, {"E1": -0.01, "E2": 3.0, "E3": -2.0})
    assert [p.beat for p in found] == list(stems)
    assert {p.message for p in found} == {"rests on E1, E3, which pulls the other way"}
    assert check_review(builder, "ship", stems, beats) == []


def test_a_silent_beat_is_no_argument_for_the_other_decision(persona: Callable[[str], Persona]) -> None:
    analyst = persona("competitor-analyst")
    stems = {spec.name: spec.silent for spec in analyst.beats}
    beats = [Beat(name=name, text=text, cites=(), silent=True) for name, text in stems.items()]
    assert check_review(analyst, "ship", stems, beats, {"E1": -1.0}) == []
