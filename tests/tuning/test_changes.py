"""What differs between two personas is named by its field, once, and word by word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from panel.records import Calibration, Candidates, Example, Persona
from panel.tuning.changes import Change, changes, word_changes

Named = Callable[[str], Persona]


def after(persona: Persona, **fields: Any) -> Persona:
    return persona.model_copy(update=fields)


def test_the_same_is_no_change(persona: Named) -> None:
    builder = persona("builder")
    assert changes(builder, builder) == []
    assert changes(builder, after(builder, calibration=Calibration(fitted=True, intercept=2.0))) == []


def test_a_weight_is_named_by_its_kind(persona: Named) -> None:
    builder = persona("builder")
    (change,) = changes(builder, after(builder, lens={**builder.lens, "docs": 0.4}))
    assert change == Change("lens.docs", "1.2", "0.4")
    assert change.reach == "verdict"


def test_each_field_says_what_it_reaches(persona: Named) -> None:
    builder = persona("builder")
    other = Example(fact="Another fact altogether.", label="good")
    reach = {
        "voice": ({"voice": "Short."}, "quote"),
        "audience": ({"audience": "a developer"}, "verdict"),
        "examples.1": ({"examples": (other, *builder.examples[1:])}, "verdict without an adapter"),
        "terms.1": ({"terms": ("GPU", *builder.terms[1:])}, "quote"),
        "candidates.audience.1": ({"candidates": Candidates(audience=("anyone",))}, "nothing"),
    }
    for field, (fields, expected) in reach.items():
        (change,) = changes(builder, after(builder, **fields))
        assert (change.field, change.reach) == (field, expected)


def test_an_example_put_in_between_is_one_change(persona: Named) -> None:
    builder = persona("builder")
    new = Example(fact="Another fact altogether.", label="good")
    longer = after(builder, examples=(builder.examples[0], new, *builder.examples[1:]))
    assert changes(builder, longer) == [Change("examples.2", "", "good: Another fact altogether.")]
    assert changes(longer, builder) == [Change("examples.2", "good: Another fact altogether.", "")]


def test_a_beat_is_named_and_may_be_gone(persona: Named) -> None:
    builder = persona("builder")
    first = builder.beats[0]
    asked = after(first, question="Why?")  # type: ignore[arg-type]
    (change,) = changes(builder, after(builder, beats=(asked, *builder.beats[1:])))
    assert (change.field, change.after) == (f"beats.{first.name}.question", "Why?")
    (gone,) = changes(builder, after(builder, beats=builder.beats[1:]))
    assert (gone.field, gone.after) == (f"beats.{first.name}", "")


def test_words_are_kept_gone_or_new() -> None:
    found = word_changes("The quick brown fox", "The slow brown fox sleeps")
    assert [(run.before.strip(), run.after.strip(), run.changed) for run in found] == [
        ("The", "The", False),
        ("quick", "slow", True),
        ("brown fox", "brown fox", False),
        ("", "sleeps", True),
    ]
    assert not any(run.changed for run in word_changes("The  quick\nfox", "The quick fox "))


@given(st.text(alphabet="ab .\n", max_size=30), st.text(alphabet="ab .\n", max_size=30))
def test_both_texts_can_be_read_out_of_the_words(before: str, after: str) -> None:
    found = word_changes(before, after)
    assert "".join(run.after for run in found) == after
    assert "".join(run.before for run in found) == before
