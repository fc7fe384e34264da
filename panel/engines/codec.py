"""Text to tokens and back: the tokenizer, its chat template, and the grammars that speak of its tokens."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panel.engines.chat import ChatTemplate, stop_tokens
from panel.errors import EngineError, SetupError
from panel.requests import Grammar, Message

#: Marks that steer a model although its tokenizer does not call them special.
_MARKS = {"<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"}
#: Compiled grammars that are kept, of about a megabyte each: those of a batch, for when some of it is written again.
MAX_GRAMMARS = 64
#: One token in any vocabulary, with nothing that joins it to a space that follows.
_ANCHOR = "="


class Codec:
    """The tokenizer of one model folder.

    Args:
        folder: holds `tokenizer.json` and `tokenizer_config.json` (with the chat template).

    Raises:
        SetupError: the folder has no tokenizer that can be loaded, or no chat template.
    """

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise SetupError(
                f"the tokenizer cannot be loaded ({error})",
                path=folder,
                fix="choose a model folder with tokenizer.json and tokenizer_config.json",
            ) from error
        if not self.tokenizer.chat_template:
            raise SetupError(
                "the tokenizer has no chat template",
                path=folder / "tokenizer_config.json",
                fix="choose an instruction-tuned model, whose tokenizer_config.json has a chat_template",
            )
        self._template = ChatTemplate(self.tokenizer, folder)
        #: the tokens that end an answer; what ends a turn comes first
        self.stops: tuple[int, ...] = stop_tokens(self.tokenizer, self._template, folder)
        added = self.tokenizer.added_tokens_decoder.values()
        control = {token.content for token in added if token.special or token.content in _MARKS}
        special = sorted(control | set(self.tokenizer.all_special_tokens), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special))) if special else None
        self._head = _head(self.tokenizer)
        # SentencePiece in its first form puts a space before every text, and takes one away after decoding
        first = self.tokenizer.convert_ids_to_tokens(self._encoded("a"))[0]
        self._anchor = self._encoded(_ANCHOR) if first.startswith("▁") else []
        self.words: dict[str, int] = _ordinary_words(self.tokenizer.get_vocab())
        self._matchers: dict[Grammar, Any] = {}
        self._ll: Any = None

    # ------------------------------------------------------------------------------------------------ tokens

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text that goes on from another; marks that steer the model (`<|im_end|>`) are read as
        nothing."""
        defused = self.defuse(text)
        if self._anchor:
            ids = self._encoded(_ANCHOR + defused)
            if ids[: len(self._anchor)] == self._anchor:
                return ids[len(self._anchor) :]
        return self._encoded(defused)

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of plain text that starts a sequence: where the tokenizer puts a token before it (`<bos>`), so do
        we."""
        return self._head + self._encoded(self.defuse(text))

    def encode_chat(self, messages: Sequence[Message], opening: str = "") -> list[int]:
        """Token ids of a conversation, up to the point where the assistant speaks, and its opening words."""
        turns = [Message(m.role, self.defuse(m.content)) for m in messages]
        return self._encoded(self._template.render(turns) + self.defuse(opening))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens that go on from others; a space at its start stays."""
        text = self.tokenizer.decode(
            [*self._anchor, *ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text).removeprefix(_ANCHOR) if self._anchor else str(text)

    def _encoded(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def defuse(self, text: str) -> str:
        """`text` without the strings that the tokenizer would take for control tokens.

        A dossier that contains `<|im_end|>` must not end the turn that quotes it.
        """
        if self._special is None:
            return text
        while self._special.search(text):  # removing one may join the halves of another
            text = self._special.sub("", text)
        return text

    # ---------------------------------------------------------------------------------------------- grammars

    def matcher(self, grammar: Grammar) -> Any:
        """A fresh llguidance matcher; a grammar is compiled once and copied after that."""
        prototype = self._matchers.pop(grammar, None) or self._compile(grammar)
        self._matchers[grammar] = prototype  # the latest is the last
        if len(self._matchers) > MAX_GRAMMARS:
            del self._matchers[next(iter(self._matchers))]
        return prototype.deep_copy()

    @property
    def ll_tokenizer(self) -> Any:
        if self._ll is None:
            from llguidance.hf import from_tokenizer

            self._ll = from_tokenizer(self.tokenizer, eos_token=list(self.stops))
        return self._ll

    def _compile(self, grammar: Grammar) -> Any:
        from llguidance import LLMatcher

        if grammar.kind == "json_schema":
            source = LLMatcher.grammar_from_json_schema(grammar.text)
        elif grammar.kind == "lark":
            source = LLMatcher.grammar_from_lark(grammar.text)
        else:
            source = LLMatcher.grammar_from_lark(words_lark(self.words, **json.loads(grammar.text)))
        matcher = LLMatcher(self.ll_tokenizer, source, log_level=0)
        problem = matcher.get_error()
        if problem:
            raise EngineError(f"the grammar does not compile: {problem}", hint=grammar.text[:300])
        return matcher


def words_lark(ordinary: dict[str, int], terms: Sequence[str], max_words: int) -> str:
    """The grammar of a sentence of ordinary words, which are tokens, and of terms, which are text.

    An ordinary word that a term starts with (`sand`, where `sandbox` is a term) is matched as text as well, so that
    the model may go on from it either way.
    """
    starts = {term[:n] for term in terms for n in range(1, len(term))}
    texts = [*terms, *(word for word in ordinary if word in starts and word not in terms)]
    tokens = [index for word, index in ordinary.items() if word not in starts and word not in terms]
    choices = "|".join(re.escape(text).replace("/", r"\/") for text in sorted(texts, key=lambda t: (-len(t), t)))
    item = f"<[{_ranges(tokens)}]>" + (" | TERM" if choices else "")
    term = f"TERM: / ({choices})/\n" if choices else ""
    return f'start: item (","? item){{0,{max_words - 1}}} "."\nitem: {item}\n{term}'


def _ordinary_words(vocab: dict[str, int]) -> dict[str, int]:
    """The words of ordinary_words.txt that are one token with the space before them, keyed by the word.

    A byte-pair vocabulary is learned in order of frequency, so of two spellings the commoner has the lower id. A
    word whose capitalised twin is commoner (`python`, `google`, `monday`) is a name written small, and stays out.
    """
    known = Path(__file__).parents[1].joinpath("ordinary_words.txt").read_text(encoding="utf-8").split()
    # byte-level vocabularies write the space as Ġ, SentencePiece's as ▁
    space = max("Ġ▁", key=lambda mark: sum(mark + word in vocab for word in known))
    never = len(vocab) + max(vocab.values(), default=0)
    words: dict[str, int] = {}
    for word in known:
        index = vocab.get(space + word, never)
        capitalised = vocab.get(space + word.capitalize(), never)
        upper = vocab.get(space + word.upper(), never) if len(word) > 1 else never
        if index < min(capitalised, upper):
            words[word] = index
    return words


def _head(tokenizer: Any) -> list[int]:
    """The tokens that a tokenizer puts before every text: none, or the one that begins a sequence."""
    plain = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a", add_special_tokens=True)
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return list(whole[:start])
    return []


def _ranges(ids: Any) -> str:
    """Sorted ids as llguidance token ranges: `3,7-9`."""
    out: list[str] = []
    start = previous = -2
    for index in [*sorted(ids), -2]:
        if index == previous + 1 and index >= 0:
            previous = index
            continue
        if start >= 0:
            out.append(str(start) if start == previous else f"{start}-{previous}")
        start = previous = index
    return ",".join(out)
