"""Conversations as one model was trained to read them, and the tokens that end its turn.

Every family marks its turns in its own way, and says so in a Jinja template beside its tokenizer. Templates differ in
more than marks, and each difference is met here once, when the model is opened:

- some refuse a system turn (Gemma) or leave it out: its text then goes before the first user turn;
- some refuse two turns of one role in a row: they are joined;
- some let the model think first (Qwen3, SmolLM3): thinking is switched off, and a block left open is closed;
- some write today's date: they are told a fixed one, or a rerun tomorrow would not give the same record;
- the token that ends a turn is often another than the one that ends a text (`<|eot_id|>` and `<|end_of_text|>`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panel.errors import SetupError
from panel.requests import Message

Turn = dict[str, str]

#: What templates are told of the day. transformers hands a template plain values only, so the function that asks for
#: the date is replaced within the template.
_DAY = {"%d": "01", "%m": "01", "%Y": "2025", "%y": "25", "%b": "Jan", "%B": "January", "%a": "Wed", "%A": "Wednesday"}
_REPLACED = "".join(f" | replace({mark!r}, {text!r})" for mark, text in _DAY.items())
_FIXED_DAY = "{%- macro strftime_now(format) -%}{{ format" + _REPLACED + " }}{%- endmacro -%}"
_VALUES = {"enable_thinking": False, "date_string": "01 Jan 2025"}
_LEFT_OPEN = re.compile(r"<think>\s*\Z")
_PROBES = ("the first probe", "the second probe", "the third probe", "the fourth probe")


class ChatTemplate:
    """The chat template of a tokenizer, and what it does not take.

    Args:
        tokenizer: transformers' tokenizer, with a `chat_template`.
        folder: where it comes from, for errors.

    Raises:
        SetupError: the template cannot be rendered, or leaves out what it is given.
    """

    def __init__(self, tokenizer: Any, folder: Path) -> None:
        self._tokenizer = tokenizer
        try:
            template = str(tokenizer.get_chat_template())
        except ValueError as error:  # several templates, none of them the default
            raise SetupError(
                f"its chat template cannot be chosen ({' '.join(str(error).split())})",
                path=folder / "tokenizer_config.json",
                fix="name one of its templates `default`",
            ) from error
        self._template = _FIXED_DAY + template
        self.takes_system = self._keeps(_conversation(system=True))
        if not self.takes_system and not self._keeps(_conversation(system=False)):
            raise SetupError(
                f"its chat template cannot be used ({self._problem()})",
                path=folder / "tokenizer_config.json",
                fix="choose an instruction-tuned model whose template takes user and assistant turns",
            )

    def render(self, messages: Sequence[Message]) -> str:
        """The text of a conversation, up to the point where the assistant speaks."""
        return self._render(self._arranged(messages))

    def end_of_turn(self) -> str:
        """What the template writes after the assistant's words, up to the next user's; "" where it is not clear."""
        turns = _conversation(system=False)
        text = self._render(turns)
        _, _, after = text.partition(turns[1]["content"])
        return after.partition(turns[2]["content"])[0]

    def _arranged(self, messages: Sequence[Message]) -> list[Turn]:
        """`messages` as the template takes them: no system turn where it refuses one, no two turns of one role."""
        turns: list[Turn] = []
        before = ""  # what the system said, for the next user turn
        for message in messages:
            role, content = message.role, message.content
            if role == "system" and not self.takes_system:
                before = _joined(before, content)
                continue
            if role == "user" and before:
                content, before = _joined(before, content), ""
            if turns and turns[-1]["role"] == role:
                turns[-1]["content"] = _joined(turns[-1]["content"], content)
            else:
                turns.append({"role": role, "content": content})
        if before:
            turns.append({"role": "user", "content": before})
        return turns

    def _render(self, turns: list[Turn]) -> str:
        text = str(
            self._tokenizer.apply_chat_template(
                turns, chat_template=self._template, tokenize=False, add_generation_prompt=True, **_VALUES
            )
        )
        if _LEFT_OPEN.search(text):
            text = f"{text.rstrip()}\n\n</think>\n\n"
        return text

    def _keeps(self, turns: list[Turn]) -> bool:
        """Whether the template takes these turns and writes all that they say."""
        try:
            text = self._render(turns)
        except Exception:  # whatever a template's author had it raise
            return False
        return all(turn["content"] in text for turn in turns)

    def _problem(self) -> str:
        try:
            self._render(_conversation(system=False))
        except Exception as error:
            return " ".join(str(error).split()) or type(error).__name__
        return "it leaves out what a turn says"


def _conversation(*, system: bool) -> list[Turn]:
    roles = ("system", "user", "assistant", "user")
    turns = [{"role": role, "content": probe} for role, probe in zip(roles, _PROBES, strict=True)]
    return turns if system else turns[1:]


def _joined(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first else second


def stop_tokens(tokenizer: Any, template: ChatTemplate, folder: Path) -> tuple[int, ...]:
    """The ids of all tokens that end an answer: what the template writes after one, then those that the tokenizer,
    generation_config.json and config.json name as `eos_token_id` (a number or a list).

    Raises:
        SetupError: there is none.
    """
    found: list[int] = []
    ending = tokenizer.encode(template.end_of_turn().lstrip(), add_special_tokens=False)
    if ending and ending[0] in _control_ids(tokenizer):
        found.append(ending[0])
    if tokenizer.eos_token_id is not None:
        found.append(tokenizer.eos_token_id)
    for name in ("generation_config.json", "config.json"):
        found += _named_ids(folder / name)
    known = tuple(dict.fromkeys(index for index in found if 0 <= index < len(tokenizer)))
    if not known:
        raise SetupError(
            "nothing says which token ends an answer",
            path=folder / "generation_config.json",
            field="eos_token_id",
            fix="add the field, as the model's publisher has it",
        )
    return known


def _control_ids(tokenizer: Any) -> set[int]:
    return {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}


def _named_ids(path: Path) -> list[int]:
    """`eos_token_id` of a JSON file as a list; empty where there is no such file or field."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(content, dict):
        return []
    text = content.get("text_config")
    value = content.get("eos_token_id", text.get("eos_token_id") if isinstance(text, dict) else None)
    values = value if isinstance(value, list) else [value]
    return [number for number in values if isinstance(number, int) and not isinstance(number, bool)]
