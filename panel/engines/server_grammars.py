"""Our grammars in the forms that servers take, and the check of every answer against the grammar itself.

    GBNF          llama.cpp's notation, which vLLM reads too
    JSON schema   for everyone else; it may admit more than the grammar does (see `Grammar.schema`)
    the check     llguidance over single bytes; sentences by a walk over their words

The 5,000 ordinary words go into a sentence's grammar as a prefix tree. As a flat list of alternatives llama.cpp keeps
5,000 of them open at every word, and a token takes seconds; as a tree it keeps some thirty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from panel.errors import EngineError
from panel.requests import Grammar

#: Strings that steer a model, in the templates of the families that servers run. The server's tokenizer is not ours to
#: ask, and a dossier must not end the turn that quotes it.
_CONTROL = re.compile(
    r"<\|[^<>|\n]{1,40}\|>|<｜[^<>\n]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|<[be]os>|<pad>|<unk>|\[/?INST\]|<</?SYS>>"
    r"|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|</?think>"
)


def defuse(text: str) -> str:
    """`text` without the marks of chat templates."""
    while _CONTROL.search(text):  # removing one may join the halves of another
        text = _CONTROL.sub("", text)
    return text


# ------------------------------------------------------------------------------------------------------------ GBNF


def gbnf(grammar: Grammar, opening: str, ordinary: Collection[str]) -> str:
    """`opening` and then what the grammar admits.

    Raises `EngineError` for a grammar that this cannot say; tool calls, quotations and sentences it can.
    """
    start = f"{quoted(opening)} " if opening else ""
    if grammar.kind == "words":
        sentence = json.loads(grammar.text)
        more = sentence["max_words"] - 1
        words = _tree({*ordinary, *sentence["terms"]}, quoted, " ")
        return f'root ::= {start}item (","? item){{0,{more}}} "."\nitem ::= " " word\nword ::= {words}\n'
    if grammar.kind == "lark":
        rules = [_rule(line) for line in grammar.text.splitlines() if line.strip()]
        return f"root ::= {start}start\n" + "".join(f"{name} ::= {body}\n" for name, body in rules)
    raise EngineError("a JSON schema has no GBNF here", hint="give the grammar as Lark")


def quoted(text: str) -> str:
    """`text` as a literal."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[a-z_][a-z0-9_]*|[()?|])')


def _rule(line: str) -> tuple[str, str]:
    """One rule of the Lark that we write: strings, names, groups, `|`, `?`, and `%json` up to the end of the line."""
    name, _, body = line.partition(":")
    name, body = _name(name), body.strip()
    if body.startswith("%json "):
        return name, _json_value(json.loads(body.removeprefix("%json ")))
    out, at = [], 0
    while at < len(body):
        token = _TOKEN.match(body, at)
        if token is None:
            raise EngineError(f"this part of a grammar cannot be sent to a server: {body[at : at + 40]!r}")
        text, at = token[1], token.end()
        out.append(quoted(json.loads(text)) if text[0] == '"' else text if text in "()?|" else _name(text))
    return name, " ".join(out).replace(" ?", "?")


def _name(name: str) -> str:
    return name.strip().replace("_", "-")


def _json_value(schema: dict[str, Any]) -> str:
    """A choice, a whole number between bounds, or a string of bounded length."""
    if "enum" in schema:
        return " | ".join(quoted(json.dumps(value, ensure_ascii=False)) for value in schema["enum"])
    if schema.get("type") == "integer":
        values = {str(n) for n in range(schema["minimum"], schema["maximum"] + 1)}
        return _tree(values, quoted, " ")
    if schema.get("type") == "string":
        return f'"\\"" [^"\\\\\\x00-\\x1F\\x7F]{{0,{schema.get("maxLength", 100)}}} "\\""'
    raise EngineError(f"this value cannot be asked of a server: {json.dumps(schema)[:80]}")


def _tree(words: Collection[str], literal: Any, joint: str) -> str:
    """Alternatives that share their beginnings: lap, late, latest → "la" ("p" | "te" ("st")?)."""
    root: dict[str, Any] = {}
    for word in words:
        node = root
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}

    def written(node: dict[str, Any]) -> str:
        choices = []
        for letter, below in sorted(node.items()):
            text = letter
            while text and len(below) == 1 and "" not in below:
                (letter, below) = next(iter(below.items()))
                text += letter
            rest = written(below) if text else ""
            if text:
                choices.append(literal(text) + (joint + rest if rest else ""))
        if not choices:
            return ""
        return f"({(joint + '|' + joint).join(choices)})" + ("?" if "" in node else "")

    return written(root)


# ----------------------------------------------------------------------------------------------------- JSON schema


def schema(grammar: Grammar, opening: str, ordinary: Collection[str]) -> str:
    """A JSON schema whose answers `readings` turns into text: the grammar's own, or a string with a pattern."""
    if grammar.kind == "json_schema":
        return grammar.text
    if grammar.kind == "words":
        sentence = json.loads(grammar.text)
        word = _tree({*ordinary, *sentence["terms"]}, escaped, "")
        more = sentence["max_words"] - 1
        pattern = f"^{escaped(opening)} {word}(,? {word}){{0,{more}}}\\.$"
        text = {"type": "string", "pattern": pattern}
        return json.dumps({"type": "object", "properties": {"text": text}, "required": ["text"],
                           "additionalProperties": False}, ensure_ascii=False)  # fmt: skip
    return grammar.schema or "{}"


def escaped(text: str) -> str:
    """`text` as a regular expression of ECMA-262, which knows fewer escapes than Python's `re.escape` writes."""
    return re.sub(r"[\\^$.|?*+()\[\]{}]", r"\\\g<0>", text)


def readings(content: str, opening: str) -> Iterator[str]:
    """What an answer may mean, the plainest reading first; each without the opening.

    As it stands; as JSON, written our way; the text in it; and each without the fence that chat models put around it.
    """
    fence = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", content, re.S)
    for text in [content, content.strip(), *([fence[1].strip()] if fence else [])]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            yield _without(text, opening)
            continue
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            yield _without(value["text"], opening)
        yield text
        yield json.dumps(value, ensure_ascii=False)


def _without(text: str, opening: str) -> str:
    """What follows the opening, also where a server let the model leave it out."""
    bare = text if not opening else text.strip()
    if not opening or bare.startswith(opening):
        return bare[len(opening) :]
    return f" {bare}"


# ------------------------------------------------------------------------------------------------------- the check


class Check:
    """What one grammar admits, decided on this side."""

    def __init__(self, grammar: Grammar, ordinary: Collection[str]) -> None:
        self._sentence = json.loads(grammar.text) if grammar.kind == "words" else None
        self._ordinary = ordinary
        self._matcher = None if self._sentence else _matcher(grammar)

    def only(self) -> str | None:
        """The text, where the grammar admits no other: no model need be asked for it."""
        if self._matcher is None:
            return None
        matcher, text = self._matcher.deep_copy(), b""
        while forced := bytes(matcher.compute_ff_bytes()):
            matcher.consume_tokens(list(forced))
            text += forced
        return text.decode("utf-8") if matcher.is_stopped() else None

    def admits(self, text: str) -> bool:
        """Whether `text` is one of the grammar's, whole."""
        if self._sentence is not None:
            return text.endswith(".") and len(text) - 1 in self._ends(text)
        data = text.encode("utf-8")
        matcher = self._matcher.deep_copy()  # type: ignore[union-attr]
        return bool(matcher.try_consume_tokens(list(data)) == len(data) and matcher.is_accepting())

    def beginning(self, text: str) -> str | None:
        """Of a sentence that was cut off, the part up to its last whole word; None where there is none."""
        ends = self._ends(text) if self._sentence is not None else {}
        return text[: max(ends)] if ends else None

    def _ends(self, text: str) -> dict[int, int]:
        """Where words may end, counted from the start of `text`, with the fewest words that get there."""
        assert self._sentence is not None  # noqa: S101 - the two callers see to it
        terms, most = self._sentence["terms"], self._sentence["max_words"]
        ends: dict[int, int] = {}
        open_at = {0: 0}
        while open_at:
            at = min(open_at)
            count = open_at.pop(at)
            start = at + 1 if at and text.startswith(",", at) else at
            if count >= most or not text.startswith(" ", start):
                continue
            start += 1
            plain = re.compile(r"[\w'’-]+").match(text, start)
            word = plain[0] if plain else ""
            found = {start + len(word)} if word in self._ordinary else set()
            for end in found | {start + len(term) for term in terms if text.startswith(term, start)}:
                if end > start and (end == len(text) or text[end] in " ,."):
                    ends[end] = open_at[end] = min(count + 1, ends.get(end, most))
        return ends


@lru_cache(maxsize=256)
def _matcher(grammar: Grammar) -> Any:
    """llguidance over bytes: tokens of a server's model are not known, and need not be."""
    from llguidance import LLMatcher

    compile_ = LLMatcher.grammar_from_lark if grammar.kind == "lark" else LLMatcher.grammar_from_json_schema
    matcher = LLMatcher(_bytes(), compile_(grammar.text), log_level=0)
    problem = matcher.get_error()
    if problem:
        raise EngineError(f"the grammar does not compile: {problem}", hint=grammar.text[:300])
    return matcher


@lru_cache(maxsize=1)
def _bytes() -> Any:
    from llguidance import LLTokenizer

    return LLTokenizer("byte")
