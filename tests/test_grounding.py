"""Names and numbers come from the dossier: what may be named, what the grammar is given, what is found out after."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from panel.grounding import (
    Grounds,
    dossier_texts,
    format_price,
    grounds,
    quotation_grammar,
    sentence_grammar,
    ungrounded,
)
from panel.pages.words import money
from panel.personas import load_personas
from panel.records import Dossier, Persona, PricePlan
from tests.scripted import DOSSIER

ORDINARY = frozenset({"a", "the", "plan", "queries", "nobody", "questions", "code", "is", "published"})


@pytest.fixture
def ground(dossier: Dossier, persona: Callable[[str], Persona]) -> Grounds:
    return grounds(dossier, persona("business-buyer"), ORDINARY)


def with_fact(text: str) -> Dossier:
    data = yaml.safe_load(DOSSIER)
    data["evidence"] = [{"id": "E1", "kind": "docs", "text": text, "source": "x"}]
    return Dossier.model_validate(data)


# ------------------------------------------------------------------------------------------------------ prices


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (20, "USD", "$20"), (4.5, "EUR", "€4.50"), (12, "CHF", "12 CHF"), (1234567, "GBP", "£1,234,567"),
        (0.04, "USD", "$0.04"), (0.002, "USD", "$0.002"), (0.00015, "USD", "$0.00015"), (19.99, "USD", "$19.99"),
        (0.1 + 0.2, "USD", "$0.30"), (12 * 9.99, "USD", "$119.88"),
    ],
)  # fmt: skip
def test_a_price_is_written_without_losing_a_digit(amount: float, currency: str, written: str) -> None:
    """0.1 + 0.2 and 12 · 9.99 are what computers make of sums: 0.30000000000000004 and 119.88000000000001."""
    assert format_price(amount, currency) == written


@given(st.decimals(min_value="0.0001", max_value=100_000, places=4), st.sampled_from(["USD", "EUR", "GBP", "CHF"]))
def test_a_price_reads_the_same_in_a_review_and_on_the_page(amount: object, currency: str) -> None:
    plan = PricePlan(plan="x", price=float(str(amount)), currency=currency)
    assert format_price(plan.price, currency) == money(plan)


# --------------------------------------------------------------------------------------------------- vocabulary


def test_every_text_of_the_dossier_counts(dossier: Dossier) -> None:
    texts = " ".join(dossier_texts(dossier))
    for part in ("Lanternfish 1.2", "on one machine", "answers queries", "$12 per seat", "Databases", "Apache-2.0",
                 "Norway", "Bramble", "Quaydb", "Team: $12 per seat, month", "Solo: $0 per seat, month"):  # fmt: skip
        assert part in texts
    # Addresses are no text to draw on: a name in one is not a fact.
    assert "example.com" not in texts


def test_names_are_what_is_capitalised_or_numbered(ground: Grounds) -> None:
    for name in (
        "Lanternfish 1.2",
        "Bramble",
        "Quaydb",
        "Norway",
        "Apache-2.0",
        "$12 per",
        "40 million rows",
        "9 seconds",
        "2 days",
    ):
        assert name in ground.names
    # The persona brings a short list of terms of its own.
    assert "SLA" in ground.names
    # A number keeps the word after it, so that "40 million" cannot become "40 hospitals".
    assert not {"40", "9", "2", "$12"} & set(ground.names)


def test_the_first_word_of_a_sentence_is_no_name(ground: Grounds) -> None:
    """`Queries`, `Nobody` and `Questions` are ordinary words that start a sentence; so is `The`."""
    assert not {"Queries", "Nobody", "Questions", "The", "A"} & set(ground.names)
    # `Hospitals` starts one too, and is not among the ordinary words: it may well be a name, and as one it is kept.
    assert "Hospitals" in ground.names
    assert "hospitals" not in ground.words


def test_names_of_several_words_stay_together(persona: Callable[[str], Persona]) -> None:
    found = grounds(with_fact("It is made by Hugging Face in New York."), persona("builder"), ORDINARY)
    assert {"Hugging Face", "New York"} <= set(found.names)
    assert not {"Hugging", "Face", "New", "York"} & set(found.names)


def test_the_longest_name_comes_first(ground: Grounds) -> None:
    assert list(ground.names) == sorted(ground.names, key=lambda n: (-len(n), n))


def test_lower_case_words_are_words(ground: Grounds) -> None:
    assert {"parallel", "nightly", "encryption", "laptop"} <= set(ground.words)
    assert all(word == word.lower() for word in ground.words)


def test_the_grammar_is_given_what_is_not_ordinary_anyway(ground: Grounds) -> None:
    data = json.loads(sentence_grammar(ground, ORDINARY | {"parallel"}).text)
    assert set(data) == {"terms", "max_words"}
    assert data["terms"][: len(ground.names)] == list(ground.names)
    assert "nightly" in data["terms"]
    assert "parallel" not in data["terms"]
    assert 10 <= data["max_words"] <= 40


def test_the_vocabulary_does_not_depend_on_the_order_of_the_evidence(
    dossier: Dossier, persona: Callable[[str], Persona]
) -> None:
    turned = dossier.model_copy(update={"evidence": dossier.evidence[::-1]})
    assert grounds(turned, persona("builder"), ORDINARY) == grounds(dossier, persona("builder"), ORDINARY)


@pytest.mark.parametrize(
    ("fact", "quoted"),
    [
        ("Queries run in parallel.", " queries run in parallel."),
        ("Norway stores letters", " Norway stores letters."),
        ("SLAs are offered!", " SLAs are offered."),
        ("40 million rows fit.", " 40 million rows fit."),
        ('It says "no" \\ never.', ' it says "no" \\ never.'),
    ],
)
def test_a_quotation_is_the_fact_as_the_rest_of_a_sentence(fact: str, quoted: str) -> None:
    grammar = quotation_grammar(fact, ["Norway", "40 million"])
    assert grammar.kind == "lark"
    assert grammar.text == f"start: {json.dumps(quoted)}\n"


@pytest.mark.parametrize(
    ("stem", "quoted"),
    [
        ("The bet is safe, with", " this: queries run in parallel."),
        ("It can still break over ", " this: queries run in parallel."),
        ("The weak spot is", " this: queries run in parallel."),
        ("It holds, because", " queries run in parallel."),
        ("What stands out is that", " queries run in parallel."),
    ],
)
def test_a_quotation_stands_where_a_noun_is_wanted(stem: str, quoted: str) -> None:
    assert quotation_grammar("Queries run in parallel.", [], stem).text == f"start: {json.dumps(quoted)}\n"


# ---------------------------------------------------------------------------------------------- what is found out


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("It runs in Norway under Apache-2.0.", []),
        ("It runs in Sweden under Apache-2.0.", ["Sweden"]),
        ("It runs under Apache-3.0.", ["Apache-3.0"]),
        ("A plan costs $12 per seat.", []),
        ("A plan costs $18.43 per seat.", ["$18.43"]),
        ("A plan costs €12 per seat.", ["€12"]),
        ("Sorting 40 million rows takes 9 seconds.", []),
        ("Sorting 41 million rows takes 9 minutes.", ["41"]),
        ("It has an SLA.", []),
        ("It has an SLO.", ["SLO"]),
        ("Sound. Fine words follow. They do not end.", []),
        ("It works, Sound or not.", ["Sound"]),
        ("It keeps Letters.", ["Letters"]),
        ("It is a WebAssembly tool.", ["WebAssembly"]),
        ("WebAssembly makes it safe.", ["WebAssembly"]),
        ("It has iOS support.", ["iOS"]),
        ("Lanternfish and Bramble differ.", []),
        ("lanternfish differs from bramble.", []),
        ("It took 3rd place.", ["3rd"]),
        ("It was made in 2019.", ["2019"]),
    ],
)
def test_what_the_dossier_does_not_name_is_found(ground: Grounds, text: str, missing: list[str]) -> None:
    assert ungrounded(text, ground) == missing


def test_what_is_allowed_beside_may_be_quoted(ground: Grounds) -> None:
    assert ungrounded("Next to Hornet 3, it shines.", ground) == ["Hornet", "3"]
    assert ungrounded("Next to Hornet 3, it shines.", ground, allowed=["Next to Hornet 3,"]) == []


@cache
def known() -> Grounds:
    return grounds(Dossier.model_validate(yaml.safe_load(DOSSIER)), load_personas()[3], ORDINARY)


_KNOWN = st.sampled_from(["Norway", "Bramble", "Apache-2.0", "SLA", "$12", "40", "runs", "slowly", "without", "doubt"])
_FOREIGN = st.from_regex(r"[A-Z][a-z]{4,8}[0-9]|[0-9]{3,6}|[a-z]{2}[A-Z]{2,4}", fullmatch=True)


@given(st.lists(_KNOWN, max_size=8), st.lists(_KNOWN, max_size=8), _FOREIGN)
def test_one_foreign_name_is_found_wherever_it_stands(before: list[str], after: list[str], foreign: str) -> None:
    assert ungrounded(" ".join(["it", *before, *after]) + ".", known()) == []
    assert ungrounded(" ".join(["it", *before, foreign, *after]) + ".", known()) == [foreign]


@pytest.mark.parametrize(
    ("text", "term", "never"),
    [
        ("A bucket held 2.3 million customer records.", "2.3 million customer", "million customer"),
        ("Two hundred lines make a plug-in.", "two hundred lines", "hundred lines"),
        ("Three governments cite it.", "three governments", "Three"),
        ("It burns a third less.", "third less", "third"),
        ("It costs $20 for two seats.", "two seats", "two"),
        # a version belongs to what it is a version of
        ("The code is under Apache 2.0 in full.", "Apache 2.0", "2.0 in"),
        ("It needs version 3 of the client.", "version 3", "3 of"),
        ("Python 3.11 runs it.", "Python 3.11", "3.11 runs"),
        # and a count to what it counts
        ("Sorting 40 million rows takes long.", "40 million rows", "Sorting 40"),
        ("It keeps Norway 40 days long.", "Norway 40", "40"),
        ("Apache 2.0 covers the weights.", "Apache 2.0", "2.0 covers"),
        ("Since version 3 it has a window.", "version 3", "3 it"),
        ("Nobody 40 years old uses it.", "40 years", "Nobody 40"),
        ("In summer GPT 4 was shown.", "GPT 4", "4 was"),
    ],
)
def test_a_number_keeps_all_of_itself_and_the_word_after_it(
    persona: Callable[[str], Persona], text: str, term: str, never: str
) -> None:
    """A part of it, or the number in front of another word, would be an invention."""
    names = grounds(with_fact(text), persona("builder"), ORDINARY).names
    assert term in names
    assert never not in names


def test_a_number_word_from_outside_is_found(persona: Callable[[str], Persona]) -> None:
    ground = grounds(with_fact("Three governments cite it."), persona("builder"), ORDINARY)
    assert ungrounded("since three governments cite it.", ground) == []
    assert ungrounded("since four governments cite it.", ground) == ["four"]
    assert ungrounded("since a third of them cite it.", ground) == ["third"]


# ------------------------------------------------------------------------------------------ one beat's own evidence


@pytest.fixture
def own(dossier: Dossier, persona: Callable[[str], Persona]) -> Callable[..., Grounds]:
    """What a builder's beat that cites these may name."""

    def of(*cites: str, dossier: Dossier = dossier) -> Grounds:
        return grounds(dossier, persona("builder"), ORDINARY, cites)

    return of


def test_a_beat_names_what_its_evidence_names(own: Callable[..., Grounds]) -> None:
    """E6: Hospitals in Norway store patient letters with it. The tool's own name and the persona's terms (API, SDK,
    CLI) may stand in any beat."""
    assert set(own("E6").names) == {"Lanternfish 1.2", "API", "SDK", "CLI", "Norway", "Hospitals"}
    assert set(own("E7").names) == {"Lanternfish 1.2", "API", "SDK", "CLI", "40 million rows", "9 seconds", "Sorting"}
    assert set(own("E6", "E7").names) == set(own("E6").names) | set(own("E7").names)
    assert set(own().names) == {"Lanternfish 1.2", "API", "SDK", "CLI"}
    assert {"patient", "letters", "store"} <= set(own("E6").words)
    assert not {"nightly", "rows", "parallel"} & set(own("E6").words)


def test_names_and_numbers_of_the_rest_of_the_dossier_are_found(own: Callable[..., Grounds]) -> None:
    said = "hospitals in Norway sort 40 million rows for $12 under Apache-2.0, next to Bramble."
    assert ungrounded(said, own("E6")) == ["40", "million", "$12", "Apache-2.0", "Bramble"]
    assert ungrounded(said, own("E4", "E5", "E6", "E7")) == ["Bramble"]
    assert ungrounded(said, own()) == ["Norway", "40", "million", "$12", "Apache-2.0", "Bramble"]
    assert ungrounded("Lanternfish 1.2 has an API, a CLI and an SDK.", own()) == []


def test_a_rival_may_be_named_where_the_evidence_names_it(own: Callable[..., Grounds]) -> None:
    """A rival of two words stays one name."""
    data = yaml.safe_load(DOSSIER) | {"rivals": ["Old Bramble", "Quaydb"]}
    data["evidence"][0]["text"] = "Queries run faster than those of Old Bramble."
    made = Dossier.model_validate(data)
    assert "Old Bramble" in own("E1", dossier=made).names
    assert not {"Old", "Bramble", "Quaydb"} & set(own("E1", dossier=made).names)
    assert "Old Bramble" not in own("E2", dossier=made).names
    assert ungrounded("it is faster than Old Bramble.", own("E1", dossier=made)) == []
    assert ungrounded("it is faster than Old Bramble.", own("E2", dossier=made)) == ["Old", "Bramble"]


def test_a_rival_is_not_named_by_a_word_that_starts_like_it(own: Callable[..., Grounds]) -> None:
    data = yaml.safe_load(DOSSIER) | {"rivals": ["Go"]}
    data["evidence"][0]["text"] = "Queries run faster than those of Google."
    assert "Go" not in own("E1", dossier=Dossier.model_validate(data)).names


def test_evidence_that_is_not_there_grounds_nothing(own: Callable[..., Grounds]) -> None:
    assert own("E77") == own()


@pytest.mark.parametrize("word", ["two", "four", "dozen", "hundreds", "half", "twice", "third", "percent", "tenfold"])
def test_a_number_word_is_a_number(own: Callable[..., Grounds], word: str) -> None:
    """No piece of Lanternfish's evidence has any of these; a fact that has it makes it fit to say."""
    said = f"it takes {word} letters."
    assert all(ungrounded(said, own(f"E{n}")) == [word] for n in range(1, 11))
    assert ungrounded(said, own("E1", dossier=with_fact(f"It takes {word} of them."))) == []


@pytest.mark.parametrize("word", ["one", "second", "seconds", "first", "many", "often"])
def test_words_that_only_sound_like_numbers_are_free(own: Callable[..., Grounds], word: str) -> None:
    assert ungrounded(f"it takes {word} letters.", own("E6")) == []


def test_a_number_word_that_starts_a_sentence_is_found(own: Callable[..., Grounds]) -> None:
    assert ungrounded("It runs. Four hospitals use it.", own("E6")) == ["Four"]
