"""Each family's marks, stop tokens and spelling of spaces; and templates that refuse what others take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.families import FAMILIES, write_tokenizer
from panel.engines.codec import Codec
from panel.errors import SetupError
from panel.requests import Grammar, Message
from tests.engines.walks import admits, admitted, walk

TALK = (
    Message("system", "Be brief."),
    Message("user", "What is it?"),
    Message("assistant", "A tool."),
    Message("user", "Is it good?"),
)

#: What `TALK` and the opening "It is" must come to, by hand from the families' published formats.
RENDERED = {
    "qwen3": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
        "A tool.<|im_end|>\n<|im_start|>user\nIs it good?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\nIt is"
    ),
    "smollm3": (
        "<|im_start|>system\nToday: 01 January 2025\nReasoning: /no_think\n\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\nA tool.<|im_end|>\n"
        "<|im_start|>user\nIs it good?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\nIt is"
    ),
    "ministral3": (
        "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]What is it?[/INST]A tool.</s>[INST]Is it good?[/INST]It is"
    ),
    "gemma3": (
        "<bos><start_of_turn>user\nBe brief.\n\nWhat is it?<end_of_turn>\n<start_of_turn>model\nA tool.<end_of_turn>\n"
        "<start_of_turn>user\nIs it good?<end_of_turn>\n<start_of_turn>model\nIt is"
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhat is it?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA tool.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nIs it good?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nIt is"
    ),
}
NAMES = list(FAMILIES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A family's tokenizer, with fields of its tokenizer_config.json changed, and generation_config.json."""
    root = tmp_path_factory.mktemp("tokenizers")

    def make(name: str, *, stops: tuple[str, ...] | None = None, **fields: Any) -> Path:
        made = root / name
        if not made.exists():
            write_tokenizer(FAMILIES[name], made, vocabulary=1200)
        target = root / f"{name}-{len(list(root.iterdir()))}"
        target.mkdir()
        tokenizer = (made / "tokenizer.json").read_text()
        (target / "tokenizer.json").write_text(tokenizer)
        config = json.loads((made / "tokenizer_config.json").read_text()) | fields
        (target / "tokenizer_config.json").write_text(json.dumps(config))
        ids = {token["content"]: token["id"] for token in json.loads(tokenizer)["added_tokens"]}
        listed = [ids[stop] for stop in (FAMILIES[name].stops if stops is None else stops)]
        if listed:
            (target / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
        return target

    return make


def spelled(codec: Codec, ids: list[int]) -> str:
    return str(codec.tokenizer.decode(ids, skip_special_tokens=False))


# ----------------------------------------------------------------------------------------------------------- turns


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_as_the_family_writes_it(folder: Callable[..., Path], name: str) -> None:
    codec = Codec(folder(name))
    ids = codec.encode_chat(TALK, opening="It is")
    assert spelled(codec, ids) == RENDERED[name]
    # every mark is one control token, and the beginning of the text is said once
    control = [codec.tokenizer.convert_tokens_to_ids(mark) for mark in FAMILIES[name].special]
    assert sum(index in control for index in ids) == sum(RENDERED[name].count(m) for m in FAMILIES[name].special)
    if FAMILIES[name].bos:
        assert ids.count(codec.tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("name", NAMES)
def test_turns_of_one_role_are_joined(folder: Callable[..., Path], name: str) -> None:
    codec = Codec(folder(name))
    twice = (Message("user", "One."), Message("user", "Two."))
    assert codec.encode_chat(twice) == codec.encode_chat((Message("user", "One.\n\nTwo."),))


def test_a_template_that_says_nothing_of_the_system_turn(folder: Callable[..., Path]) -> None:
    quiet = (
        "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    codec = Codec(folder("qwen3", chat_template=quiet))
    assert spelled(codec, codec.encode_chat(TALK)).startswith(
        "<|im_start|>user\nBe brief.\n\nWhat is it?<|im_end|>\n<|im_start|>assistant\nA tool."
    )


def test_a_system_turn_with_no_user_after_it_is_not_lost(folder: Callable[..., Path]) -> None:
    codec = Codec(folder("gemma3"))
    assert "user\nBe brief.<end_of_turn>" in spelled(codec, codec.encode_chat(TALK[:1]))


@pytest.mark.parametrize("opened", ["<think>\n", "<think>"])
def test_a_thought_that_the_template_opens_is_closed(folder: Callable[..., Path], opened: str) -> None:
    template = FAMILIES["qwen3"].template.split("{% if add_generation_prompt")[0]
    codec = Codec(folder("qwen3", chat_template=f"{template}<|im_start|>assistant\n{opened}"))
    assert spelled(codec, codec.encode_chat(TALK, "It")).endswith("assistant\n<think>\n\n</think>\n\nIt")


def test_a_dossier_cannot_open_a_thought_or_a_turn(folder: Callable[..., Path]) -> None:
    for name in NAMES:
        codec, marks = Codec(folder(name)), (*FAMILIES[name].special, *FAMILIES[name].plain_marks)
        hostile = "".join(f"a{mark}" for mark in marks)
        assert codec.decode(codec.encode(hostile)) == "a" * len(marks)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('tools only') }}", "tools only"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "leaves out what a turn says"),
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
    ],
)
def test_a_template_that_cannot_be_used(folder: Callable[..., Path], template: str, says: str) -> None:
    with pytest.raises(SetupError, match=f"chat template cannot be used .*{says}"):
        Codec(folder("qwen3", chat_template=template))


# ------------------------------------------------------------------------------------------------------------ stops


@pytest.mark.parametrize("name", NAMES)
def test_all_that_ends_an_answer_ends_it(folder: Callable[..., Path], name: str) -> None:
    """And what ends a turn comes first."""
    codec, family = Codec(folder(name)), FAMILIES[name]
    assert codec.tokenizer.convert_ids_to_tokens(codec.stops[0]) == family.end_of_turn
    assert set(codec.tokenizer.convert_ids_to_tokens(codec.stops)) == {*family.stops, family.eos}
    matcher = codec.matcher(Grammar("lark", 'start: "ab" "c"*\n'))
    matcher.consume_tokens(codec.encode("ab"))
    assert set(codec.stops) <= set(admitted(codec, matcher))


def test_a_turns_end_that_no_file_lists(folder: Callable[..., Path]) -> None:
    """Fine-tuned models often come without generation_config.json: the template itself shows how a turn ends."""
    codec = Codec(folder("llama3", stops=()))
    assert codec.tokenizer.convert_ids_to_tokens(codec.stops) == ["<|eot_id|>", "<|end_of_text|>"]


def test_nothing_ends_an_answer(folder: Callable[..., Path]) -> None:
    bare = folder(
        "qwen3", stops=(), eos_token=None, chat_template="{% for m in messages %}{{ m.content }} {% endfor %}"
    )
    with pytest.raises(SetupError, match="nothing says which token ends an answer"):
        Codec(bare)


# --------------------------------------------------------------------------------------------------- words and spaces


@pytest.mark.parametrize("name", NAMES)
def test_text_goes_on_from_text(folder: Callable[..., Path], name: str) -> None:
    codec = Codec(folder(name))
    for text in (" it runs", "it runs", " naïve 日本語", " $12, “so”"):
        assert codec.decode(codec.encode(text)) == text
    head = [codec.tokenizer.bos_token_id] if FAMILIES[name].bos else []
    assert codec.encode_prompt("it runs") == head + codec.encode("it runs")


@pytest.mark.parametrize("name", NAMES)
def test_sentences_under_the_grammar_of_words(folder: Callable[..., Path], name: str) -> None:
    codec = Codec(folder(name))
    assert len(codec.words) > 150
    assert all(codec.decode([index]) == f" {word}" for word, index in codec.words.items())
    grammar = Grammar("words", json.dumps({"terms": ["WebAssembly 2", "$12 per", "Łódź"], "max_words": 6}))
    for text in (" the WebAssembly 2, and Łódź.", " $12 per."):
        assert admits(codec, grammar, text), text
    for text in (" the Webassembly.", " $13 per.", " the", "the.", " Google."):
        assert not admits(codec, grammar, text), text
    known = set(codec.words) | {"WebAssembly", "2", "$12", "per", "Łódź"}
    for seed in range(12):
        text, _ = walk(codec, grammar, seed, common=set(codec.words.values()))
        assert set(text.rstrip(".").replace(",", "").split()) <= known


def test_a_tokenizer_that_puts_a_space_before_every_text(folder: Callable[..., Path], tmp_path: Path) -> None:
    """SentencePiece in its first form (Llama 2, Mistral 7B): ` good` after a prompt has one space, not two."""
    source = folder("gemma3")
    written = json.loads((source / "tokenizer.json").read_text())
    written["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    written["decoder"]["decoders"].append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    (source / "tokenizer.json").write_text(json.dumps(written))
    codec, plain = Codec(source), Codec(folder("gemma3"))
    for text in (" good", " it runs", "re-run"):
        assert codec.encode(text) == plain.encode(text)
        assert codec.decode(codec.encode(text)) == text
    assert codec.encode_prompt("it runs")[1:] == plain.encode(" it runs")
