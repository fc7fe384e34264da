"""A tokenizer of some three hundred tokens, and a model whose every logit can be worked out from its whole context.

The model's logits after a sequence are `BIGRAM[last token] + MOOD[Σ (token + 1) · (position + 1) mod 97]`, in
sixty-fourths, so that all arithmetic is exact: a cache that mixes up one slot, one position or one row changes them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from panel.engines.rows import Batch

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
END = CONTROL.index("<|im_end|>")
MERGES = ["Ġ t", "h e", "Ġt he", "Ġ a", "i n", "Ġ i", "Ġi t", "Ġ s", "o o"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tokenizer(folder: Path) -> Path:
    """Byte-level pairs: the 256 bytes, some merged ones (` the`, ` a`, ` it`), three control tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    names = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    names += [first + second for first, second in merges]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


class Model:
    """The weights: two tables of whole numbers."""

    def __init__(self, vocabulary: int) -> None:
        dice = np.random.default_rng(7)
        self.bigram = dice.integers(-256, 256, (vocabulary, vocabulary))
        self.mood = dice.integers(-256, 256, (97, vocabulary))

    def after(self, tokens: Sequence[int]) -> Any:
        """[V] logits after a plain sequence: what any way of batching must come to."""
        sequence = np.array(tokens)
        mood = int(((sequence + 1) * np.arange(1, len(sequence) + 1)).sum()) % 97
        return ((self.bigram[sequence[-1]] + self.mood[mood]) / 64).astype(np.float32)


class TinyForward:
    """`panel.engines.rows.Forward` over a `Model`, whose blocks hold tokens. Counts what it computes.

    A slot that was never written, or written for another place in its row, is noticed: it holds the wrong position.
    """

    block_size = 4

    def __init__(self, model: Model) -> None:
        self.model = model
        self.passes = self.computed = self.widest = self.copied = self.most_wanted = self.most_new = 0
        self.tokens = self.positions = np.zeros(0, np.int64)

    def reserve(self, blocks: int) -> None:
        more = np.full(blocks * self.block_size - len(self.tokens), -1)
        self.tokens, self.positions = np.append(self.tokens, more), np.append(self.positions, more)

    def copy(self, sources: Any, targets: Any) -> None:
        assert len(set(targets.tolist())) == len(targets)
        self.copied += len(targets)
        for held in (self.tokens, self.positions):
            blocks = held.reshape(-1, self.block_size)
            blocks[targets] = blocks[sources]

    def extend(self, batch: Batch) -> Any:
        lengths = np.diff(batch.begins)
        assert batch.begins[0] == batch.table_begins[0] == 0
        assert (batch.begins[-1], batch.table_begins[-1]) == (len(batch.ids), len(batch.blocks))
        assert (lengths > 0).all()
        self.passes, self.computed = self.passes + 1, self.computed + len(batch.ids)
        self.widest, self.most_new = max(self.widest, len(lengths)), max(self.most_new, len(batch.ids))
        self.most_wanted = max(self.most_wanted, len(batch.wanted))
        rows = []
        for n, (past, length) in enumerate(zip(batch.past, lengths, strict=True)):
            table = batch.blocks[batch.table_begins[n] : batch.table_begins[n + 1]]
            assert len(table) == -(-(past + length) // self.block_size)
            slots = (table[:, None] * self.block_size + np.arange(self.block_size)).reshape(-1)[: past + length]
            self.tokens[slots[past:]] = batch.ids[batch.begins[n] : batch.begins[n + 1]]
            self.positions[slots[past:]] = np.arange(past, past + length)
            rows.append(slots)
        out = []
        for index in batch.wanted:  # after all rows have been written: one that wrote over another's slot is found out
            n = int(np.searchsorted(batch.begins, index, side="right")) - 1
            seen = rows[n][: batch.past[n] + index - batch.begins[n] + 1]
            assert (self.positions[seen] == np.arange(len(seen))).all(), "a slot of another place, or never written"
            out.append(self.model.after(self.tokens[seen]))
        return np.stack(out) if out else np.zeros((0, len(self.model.bigram)), np.float32)
