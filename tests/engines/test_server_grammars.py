"""Grammars in the forms that servers take, and the check that no answer gets around."""

from __future__ import annotations

import json
import random
import re

import pytest

from panel.engines.codec import Codec
from panel.engines.server_grammars import Check, _tree, defuse, escaped, gbnf, quoted, readings, schema
from panel.errors import EngineError
from panel.grounding import grounds, quotation_grammar, sentence_grammar
from panel.records import Dossier, Persona
from panel.requests import Grammar
from tests.engines.walks import walk

WORDS = frozenset("a the log logs year keeps for late latest lap".split())


def sentence(*terms: str, max_words: int = 4) -> Grammar:
    return Grammar("words", json.dumps({"terms": list(terms), "max_words": max_words}))


# ---------------------------------------------------------------------------------------------------------- GBNF


def test_words_share_their_beginnings() -> None:
    assert _tree(["lap", "late", "latest", "up"], quoted, " ") == '("la" ("p" | "te" ("st")?) | "up")'
    assert _tree(["a", "ab", "abc"], quoted, " ") == '("a" ("b" ("c")?)?)'
    assert _tree(["C++", "C"], escaped, "") == "(C(\\+\\+)?)"


@pytest.mark.parametrize("seed", range(20))
def test_a_tree_of_words_says_the_words_and_nothing_else(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311

    def word() -> str:
        return "".join(dice.choice("ab.*(") for _ in range(dice.randint(1, 4)))

    words = {word() for _ in range(dice.randint(1, 12))}
    tree = re.compile(_tree(words, escaped, ""))
    assert all(tree.fullmatch(w) for w in words)
    assert {w for w in (word() for _ in range(300)) if tree.fullmatch(w)} <= words


def test_a_sentence() -> None:
    assert gbnf(sentence("C++", '"x"\\'), 'It "keeps"', {"a", "an"}) == (
        'root ::= "It \\"keeps\\"" item (","? item){0,3} "."\nitem ::= " " word\n'
        'word ::= ("\\"x\\"\\\\" | "C++" | "a" ("n")?)\n'
    )


def test_values_of_every_type_that_tools_have() -> None:
    lark = (
        "start: a\n"
        'a: "[" (", " a_1)? a_2 | a_3\n'
        'a_1: %json {"type": "string", "enum": ["x y", "größe"]}\n'
        'a_2: %json {"type": "integer", "minimum": 1, "maximum": 12}\n'
        'a_3: %json {"type": "string", "maxLength": 60}\n'
    )
    assert gbnf(Grammar("lark", lark), "", ()) == (
        "root ::= start\nstart ::= a\n"
        'a ::= "[" ( ", " a-1 )? a-2 | a-3\n'
        'a-1 ::= "\\"x y\\"" | "\\"größe\\""\n'
        'a-2 ::= ("1" ("0" | "1" | "2")? | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9")\n'
        'a-3 ::= "\\"" [^"\\\\\\x00-\\x1F\\x7F]{0,60} "\\""\n'
    )


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("lark", "start: /[a-z]+/\n"),
        Grammar("lark", 'start: "a"+\n'),
        Grammar("lark", 'start: %json {"type": "number"}\n'),
        Grammar("json_schema", "{}"),
    ],
)
def test_what_cannot_be_said_is_an_error(grammar: Grammar) -> None:
    """Better than a grammar that means something else."""
    with pytest.raises(EngineError):
        gbnf(grammar, "", ())


def test_schemas_of_the_other_grammars() -> None:
    assert schema(Grammar("json_schema", '{"type": "null"}'), "", ()) == '{"type": "null"}'
    assert schema(Grammar("lark", "start: x", '{"type": "object"}'), "", ()) == '{"type": "object"}'


def test_only_what_must_be_escaped_is() -> None:
    assert escaped("a-b c&d #1 (x) $5.") == "a-b c&d #1 \\(x\\) \\$5\\."


# ----------------------------------------------------------------------------------------------------- the check


@pytest.mark.parametrize(
    ("text", "admitted"),
    [
        (" keeps logs.", True),
        (" keeps logs, for a.", True),
        (" Lanternfish 1.2, for.", True),
        (" keeps logs for 1.2.", True),
        (" keeps logs for Lanternfish 1.2.", True),
        (" keeps logs for a year.", False),  # five words
        (" keeps.", True),
        (" keeps", False),
        (" keeps logs. the.", False),
        ("keeps logs.", False),
        (" keeps  logs.", False),
        (" keeps,logs.", False),
        (" keeps ,logs.", False),
        (" keeps logs,.", False),
        (" Keeps logs.", False),
        (" keeps logsfor.", False),
        (" keeps Lanternfish.", False),
        (" keeps Lanternfish 1.20.", False),
        (" keeps 1.25.", False),
        (" keeps a\nlog.", False),
        (" keeps 1.2..", False),
        (".", False),
        (" .", False),
        ("", False),
    ],
)
def test_sentences(text: str, admitted: bool) -> None:
    assert Check(sentence("Lanternfish 1.2", "1.2"), WORDS).admits(text) == admitted


def test_the_fewest_words_count() -> None:
    """`a log` as one term or as two words, four times over."""
    check = Check(sentence("a log"), WORDS)
    assert check.admits(" a log a log a log a log.")
    assert not check.admits(" a log a log a log a log a log.")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (" keeps logs for a ye", " keeps logs for a"),
        (" keeps logs,", " keeps logs"),
        (" keeps", " keeps"),
        (" Nothing", None),
        ("", None),
    ],
)
def test_the_whole_words_of_a_sentence_that_was_cut_off(text: str, whole: str | None) -> None:
    assert Check(sentence(max_words=9), WORDS).beginning(text) == whole


def test_long_sentences_are_checked_in_no_time() -> None:
    """Every word may be one term, two, or three: a check that tried all readings would not end."""
    check = Check(sentence("a", "a a", "a a a", max_words=400), WORDS)
    assert check.admits(" a" * 400 + ".")
    assert not check.admits(" a" * 400 + "!")


@pytest.mark.parametrize("seed", range(6))
def test_what_the_local_engines_can_write_is_admitted(
    codec: Codec, dossier: Dossier, personas: tuple[Persona, ...], seed: int
) -> None:
    """Both decide by the same grammar: theirs by tokens, this one by letters."""
    ground = grounds(dossier, personas[seed % 4], frozenset(codec.words), [f"E{seed + 1}"])
    drawn = sentence_grammar(ground, codec.words)
    text, _ = walk(codec, drawn, seed, common=set(codec.words.values()))
    assert Check(drawn, frozenset(codec.words)).admits(text), text
    pattern = json.loads(schema(drawn, "", codec.words))["properties"]["text"]["pattern"]
    assert re.fullmatch(pattern, text)


def test_a_quotation_has_one_wording() -> None:
    assert Check(quotation_grammar("Size, or “Größe”, counts.", ()), WORDS).only() == " size, or “Größe”, counts."
    assert Check(sentence("C++"), WORDS).only() is None
    assert Check(Grammar("lark", 'start: "a" | "b"\n'), WORDS).only() is None
    assert Check(Grammar("lark", 'start: "a" "b"?\n'), WORDS).only() is None


def test_a_json_schema_is_checked_too() -> None:
    check = Check(Grammar("json_schema", '{"type": "object", "properties": {"n": {"type": "integer"}}}'), WORDS)
    assert check.admits('{"n": 3}')
    assert not check.admits('{"n": "3"}')
    assert not check.admits('{"n": 3')


def test_a_grammar_that_does_not_compile() -> None:
    with pytest.raises(EngineError, match="does not compile"):
        Check(Grammar("lark", "start: nowhere\n"), WORDS)


# ------------------------------------------------------------------------------------------------------- readings


def test_the_plainest_reading_comes_first() -> None:
    assert next(readings("It runs.", "It")) == " runs."
    assert next(readings("runs.", "It")) == " runs."
    assert next(readings(" runs.", "")) == " runs."
    assert next(readings('{"text": "It runs."}', "It")) == " runs."
    assert " runs." in readings("```\nIt runs.\n```", "It")
    assert '{"a": [1, "ü"]}' in readings('{"a":[1,"\\u00fc"]}', "")
    assert list(readings("[" * 100_000, ""))  # nothing that a server sends may break the reading


@pytest.mark.parametrize("text", ["1 < 2 and 3 > 2", "<b>bold</b>", "an [INSTALL] step", "a | b", "x <| y"])
def test_plain_text_is_left_alone(text: str) -> None:
    assert defuse(text) == text
