"""Text to tokens and back: the tokenizer, its chat template, and the grammars that speak of its tokens."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panel.errors import EngineError, SetupError
from panel.requests import Grammar, Message


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
        self.eos_id: int = self.tokenizer.eos_token_id
        control = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        special = sorted(control | set(self.tokenizer.all_special_tokens), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special))) if special else None
        self.words: dict[str, int] = _ordinary_words(self.tokenizer.get_vocab())
        self._matcher_prototypes: dict[Grammar, Any] = {}
        self._ll: Any = None

    # ------------------------------------------------------------------------------------------------ tokens

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; marks that steer the model (`<|im_end|>`) are read as nothing."""
        return list(self.tokenizer.encode(self.defuse(text), add_special_tokens=False))

    def encode_chat(self, messages: Sequence[Message], opening: str = "") -> list[int]:
        """Token ids of a conversation, up to the point where the assistant speaks, and its opening words."""
        turns = [{"role": m.role, "content": self.defuse(m.content)} for m in messages]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer.encode(text + self.defuse(opening), add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

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
        prototype = self._matcher_prototypes.get(grammar)
        if prototype is None:
            prototype = self._compile(grammar)
            if len(self._matcher_prototypes) >= 256:
                self._matcher_prototypes.clear()
            self._matcher_prototypes[grammar] = prototype
        return prototype.deep_copy()

    @property
    def ll_tokenizer(self) -> Any:
        if self._ll is None:
            from llguidance.hf import from_tokenizer

            self._ll = from_tokenizer(self.tokenizer, eos_token=self.eos_id)
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
    words: dict[str, int] = {}
    for word in known:
        for space in "Ġ▁":
            index = vocab.get(space + word, len(vocab))
            capitalised = vocab.get(space + word.capitalize(), len(vocab))
            upper = vocab.get(space + word.upper(), len(vocab)) if len(word) > 1 else len(vocab)
            if index < min(capitalised, upper):
                words[word] = index
    return words


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
