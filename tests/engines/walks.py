"""Random walks through a grammar: what a model that knows nothing could write under it."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import numpy as np

from panel.engines.codec import Codec
from panel.requests import Grammar


def admitted(codec: Codec, matcher: Any) -> list[int]:
    """The tokens that the grammar admits now."""
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

    bits = allocate_token_bitmask(1, codec.ll_tokenizer.vocab_size)
    fill_next_token_bitmask(matcher, bits, 0)
    return [int(i) for i in np.flatnonzero(np.unpackbits(bits[0].view(np.uint8), bitorder="little"))]


def walk(
    codec: Codec, grammar: Grammar, seed: int, *, common: Collection[int] = (), limit: int = 2000
) -> tuple[str, list[int]]:
    """A text that the grammar admits whole, and its tokens.

    Args:
        common: tokens to take only half of the time where there are others: in a grammar of twenty thousand words
            and three names, the names would hardly be seen.
    """
    dice = random.Random(seed)  # noqa: S311
    matcher = codec.matcher(grammar)
    tokens: list[int] = []
    while not matcher.is_stopped():
        assert len(tokens) < limit, f"no end in sight: {codec.decode(tokens)!r}"
        choices = admitted(codec, matcher)
        assert choices, f"a dead end after {codec.decode(tokens)!r}"
        rare = [t for t in choices if t not in common]
        token = dice.choice(rare if rare and dice.random() < 0.5 else choices)
        if token in codec.stops:
            break
        assert matcher.consume_token(token), matcher.get_error()
        tokens.append(token)
    assert matcher.is_accepting()
    return codec.decode(tokens), tokens


def admits(codec: Codec, grammar: Grammar, text: str) -> bool:
    """Whether the grammar admits exactly `text`, in the tokens that a model would use for it."""
    matcher = codec.matcher(grammar)
    return all(matcher.consume_token(token) for token in codec.encode(text)) and bool(matcher.is_accepting())
