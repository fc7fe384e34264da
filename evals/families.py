"""Small random checkpoints of the families that people run, each with a tokenizer and a template in its own format.

The weights say nothing; what is real is all around them: the architecture (windows, positions, norms, shared or own
output matrices), the marks of turns, the tokens that end one, how a space is spelled, and how many more logits there
are than tokens. The templates are ours, in the formats that the families publish.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VOCABULARY = 2400

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# a heading of its own, with the date, before what the system says
_SMOLLM3 = (
    '<|im_start|>system\nToday: {{ strftime_now("%d %B %Y") }}\n'
    "Reasoning: {{ '/think' if enable_thinking else '/no_think' }}\n\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}<|im_end|>\n"
    "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n{% endif %}{% endif %}"
)
_LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}{% endfor %}"
)
_GEMMA3 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + _ALTERNATE
    + "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_MINISTRAL3 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "[SYSTEM_PROMPT]{{ messages[0].content }}[/SYSTEM_PROMPT]{% set messages = messages[1:] %}{% endif %}"
    + _ALTERNATE
    + "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """What a family's checkpoints have in common.

    Attributes:
        config: makes transformers' configuration, given the sizes.
        special: control tokens, in the order of their ids; `plain_marks` are added and not called special.
        eos: what tokenizer_config.json calls the end; `stops` what generation_config.json lists.
        padding: logits beyond the tokenizer's ids; negative where the tokenizer has ids that the model has not.
        byte_fallback: SentencePiece's spelling (▁, <0x0A>) in the place of byte-level pairs (Ġ).
    """

    name: str
    config: Callable[..., Any]
    template: str
    special: tuple[str, ...]
    eos: str
    stops: tuple[str, ...]
    bos: str = ""
    plain_marks: tuple[str, ...] = ()
    padding: int = 0
    byte_fallback: bool = False
    end_of_turn: str = ""
    sizes: dict[str, Any] = field(default_factory=dict)


def _qwen3(**sizes: Any) -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(**sizes, tie_word_embeddings=True)


def _smollm3(**sizes: Any) -> Any:
    from transformers import SmolLM3Config

    return SmolLM3Config(**sizes, no_rope_layer_interval=2, tie_word_embeddings=True)


def _ministral3(**sizes: Any) -> Any:
    from transformers import Ministral3Config

    # positions beyond the original ones, and queries that grow with them, within a short text
    rope = {
        "rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 32,
        "max_position_embeddings": 4096, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.1,
    }  # fmt: skip
    return Ministral3Config(**sizes, rope_parameters=rope, tie_word_embeddings=False)


def _gemma3(**sizes: Any) -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        **sizes, sliding_window=16, query_pre_attn_scalar=sizes["head_dim"], final_logit_softcapping=30.0,
        layer_types=[("sliding_attention", "full_attention")[i % 2] for i in range(sizes["num_hidden_layers"])],
    )  # fmt: skip


def _llama3(**sizes: Any) -> Any:
    from transformers import LlamaConfig

    rope = {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    }  # fmt: skip
    return LlamaConfig(**sizes, rope_parameters=rope, tie_word_embeddings=True)


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "qwen3", _qwen3, _CHATML, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>",
            ("<|im_end|>", "<|endoftext|>"), plain_marks=("<think>", "</think>"), padding=61, end_of_turn="<|im_end|>",
        ),
        Family(
            "smollm3", _smollm3, _SMOLLM3, ("<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"),
            "<|im_end|>", ("<|im_end|>",), plain_marks=("<think>", "</think>"), end_of_turn="<|im_end|>",
        ),
        Family(
            "ministral3", _ministral3, _MINISTRAL3,
            ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), "</s>", ("</s>",),
            bos="<s>", end_of_turn="</s>",
        ),
        Family(
            "gemma3", _gemma3, _GEMMA3, ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
            "<eos>", ("<eos>", "<end_of_turn>"), bos="<bos>", padding=-1, byte_fallback=True,
            end_of_turn="<end_of_turn>",
        ),
        Family(
            "llama3", _llama3, _LLAMA3,
            ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
             "<|eot_id|>"),
            "<|end_of_text|>", ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"), bos="<|begin_of_text|>",
            end_of_turn="<|eot_id|>",
        ),
    )
}  # fmt: skip

#: Small enough for a second, large enough that every part of an architecture has something to do.
TINY = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 4096,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ tokenizers


@cache
def _corpus() -> tuple[str, ...]:
    """Text of ours: personas, prompts, the cases that reviewers are fitted on."""
    files = [*ROOT.glob("personas/*.md"), *ROOT.glob("prompts/*.j2"), *ROOT.glob("evals/cases/*/dossier.yaml")]
    return tuple(path.read_text(encoding="utf-8") for path in sorted(files))


def write_tokenizer(family: Family, folder: Path, *, vocabulary: int = VOCABULARY) -> int:
    """A tokenizer with `vocabulary` pairs learned from our own text; returns how many ids it has."""
    from tokenizers import AddedToken

    tokenizer = _byte_fallback(family, vocabulary) if family.byte_fallback else _byte_level(family, vocabulary)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in family.special])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in family.plain_marks])
    if family.padding < 0:
        tokenizer.add_special_tokens([AddedToken(f"<image_{n}>", special=True) for n in range(-family.padding)])
    if family.bos:
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, tokenizer.token_to_id(family.bos))]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": family.eos, "chat_template": family.template}
    if family.bos:
        config["bos_token"] = family.bos
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return int(tokenizer.get_vocab_size(with_added_tokens=True))


def _byte_level(family: Family, vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=vocabulary, show_progress=False, special_tokens=list(family.special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )  # fmt: skip
    return tokenizer


def _byte_fallback(family: Family, vocabulary: int) -> Any:
    """As Gemma's: a space is ▁ and no boundary of its own, what no token spells is spelled in bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.Replace(" ", "▁")
    learned.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[a-zA-Z]+|▁?[^a-zA-Z▁]|▁"), "isolated")
    learned.train_from_iterator(_corpus(), trainers.BpeTrainer(vocab_size=vocabulary, show_progress=False))
    found = json.loads(learned.to_str())["model"]
    names = [*family.special, *(f"<0x{byte:02X}>" for byte in range(256))]
    names += [name for name, _ in sorted(found["vocab"].items(), key=lambda item: item[1])]
    vocab = {name: index for index, name in enumerate(dict.fromkeys(names))}
    unknown = "<unk>"
    merges = [tuple(pair) for pair in found["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token=unknown, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


# ----------------------------------------------------------------------------------------------------- checkpoints


def build(family: Family, folder: Path, *, seed: int = 0, spread: float = 0.3, **sizes: Any) -> Path:
    """A checkpoint as `save_pretrained` writes it, with weights drawn from a normal distribution of width `spread`.

    `sizes` replace those of `TINY`; `logits` is how many there are, where that is not what the family has.
    """
    import torch
    import transformers

    ids = write_tokenizer(family, folder)
    config = family.config(
        vocab_size=sizes.pop("logits", ids + family.padding), initializer_range=spread, **{**TINY, **sizes}
    )
    _name_tokens(config, family, folder)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    _save(model, family, folder)
    return folder


def build_with_images(family: Family, folder: Path, *, seed: int = 0) -> Path:
    """The same as the text part of a model for text and images (Gemma 3 from 4B on, Ministral 3)."""
    import torch
    import transformers

    ids = write_tokenizer(family, folder)
    text = family.config(vocab_size=ids + family.padding, initializer_range=0.3, **TINY)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
             "image_size": 28, "patch_size": 14}  # fmt: skip
    if family.name == "gemma3":
        text.final_logit_softcapping = None  # the whole model does not cap, the text part would
        vision: Any = transformers.SiglipVisionConfig(**small)
        config: Any = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
        kind: Any = transformers.Gemma3ForConditionalGeneration
    else:
        vision = transformers.PixtralVisionConfig(**small, head_dim=16)
        config = transformers.Mistral3Config(text_config=text, vision_config=vision)
        kind = transformers.Mistral3ForConditionalGeneration
    _name_tokens(config, family, folder)
    torch.manual_seed(seed)
    _save(kind(config), family, folder)
    return folder


def _name_tokens(config: Any, family: Family, folder: Path) -> None:
    """The ids that a configuration names: defaults of the real vocabularies lie far beyond ours."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        part.eos_token_id = tokenizer.token_to_id(family.eos)
        part.bos_token_id = tokenizer.token_to_id(family.bos) if family.bos else None
        part.pad_token_id = 0


def _save(model: Any, family: Family, folder: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model.generation_config.eos_token_id = [tokenizer.token_to_id(name) for name in family.stops]
    model.generation_config.bos_token_id = tokenizer.token_to_id(family.bos) if family.bos else None
    model.save_pretrained(folder, safe_serialization=True)
