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

    def logits(self, tokens: Any, positions: Any) -> Any:
        """[V] logits after `tokens`, which stand at `positions`; the last one has the highest."""
        mood = int(((tokens + 1) * (positions + 1)).sum()) % 97
        last = int(tokens[int(np.argmax(positions))])
        return ((self.bigram[last] + self.mood[mood]) / 64).astype(np.float32)

    def after(self, tokens: Sequence[int]) -> Any:
        """[V] logits after a plain sequence: what any way of batching must come to."""
        return self.logits(np.array(tokens), np.arange(len(tokens)))


class TinyForward:
    """`panel.engines.rows.Forward` over a `Model`, with a cache of tokens and positions. Counts what it computes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.passes = self.computed = self.holes = self.widest = self.resized = self.most_wanted = 0
        self.reset()

    def reset(self) -> None:
        self._tokens = np.zeros((0, 0), np.int64)
        self._positions = np.zeros((0, 0), np.int64)

    def extend(self, parents: Any, ids: Any, mask: Any, positions: Any, wanted: Any) -> Any:
        rows, new = ids.shape
        slots = self._tokens.shape[1]
        assert parents.shape == (rows,)
        assert positions.shape == ids.shape
        assert mask.shape == (rows, slots + new)
        assert np.isin(mask, (0, 1)).all()
        self.resized += bool(slots) and rows != len(self._tokens)
        self.most_wanted = max(self.most_wanted, len(wanted))
        if slots:
            assert (parents >= 0).all()
            assert (parents < len(self._tokens)).all()
            self._tokens = np.concatenate([self._tokens[parents], ids], axis=1)
            self._positions = np.concatenate([self._positions[parents], positions], axis=1)
        else:
            self._tokens, self._positions = ids.copy(), positions.copy()
        self.passes, self.computed = self.passes + 1, self.computed + ids.size
        self.widest = max(self.widest, rows)
        out = []
        for index in wanted:
            row, place = divmod(int(index), new)
            seen = np.flatnonzero(mask[row, : slots + place + 1])  # causal: nothing after itself
            self.holes += len(seen) < slots + place + 1
            where = self._positions[row, seen]
            # A row that is only kept alive is given the end mark, anywhere; nobody looks at what comes out of that.
            assert ids[row, place] == END or sorted(where) == list(range(len(seen))), (
                "a position is missing, or there twice"
            )
            out.append(self.model.logits(self._tokens[row, seen], where))
        return np.stack(out)
