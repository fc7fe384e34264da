"""Keys and values of a PyTorch model in numbered slots, given to its layers as transformers' caches give them."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class Slots(DynamicLayer):  # type: ignore[misc,unused-ignore]
    """One layer's keys and values, [slots, heads, head_dim] each; made when the layer first has something to keep."""

    keys: Any
    values: Any
    is_initialized: bool

    def __init__(self) -> None:
        super().__init__()
        self.slots = 0
        self.read: Any = None
        self.write: Any = None
        self.new: Any = None

    def reserve(self, slots: int) -> None:
        """Have room for that many; those that there are keep what they hold."""
        missing, self.slots = slots - self.slots, slots
        if self.is_initialized:
            self.keys, self.values = (
                torch.cat([held, held.new_zeros((missing, *held.shape[1:]))]) for held in (self.keys, self.values)
            )

    def copy(self, sources: Any, targets: Any) -> None:
        if self.is_initialized:
            for held in (self.keys, self.values):
                held[targets] = held[sources]

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (
            new.new_zeros((self.slots, new.shape[1], new.shape[3])) for new in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Put the real ones of [B, heads, T, head_dim] new keys and values into their slots.

        Returns:
            [B, heads, S, head_dim] of every position of every row, in order.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        for held, states in ((self.keys, key_states), (self.values, value_states)):
            held[self.write] = states.transpose(1, 2)[self.new]
        return self.keys[self.read].transpose(1, 2), self.values[self.read].transpose(1, 2)

    def get_seq_length(self) -> int:
        return 0 if self.read is None else int(self.read.shape[1] - self.new.shape[1])


class BlockCache(Cache):  # type: ignore[misc,unused-ignore]
    """`Slots` for every layer, told before each pass which of them it is about."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[Slots() for _ in range(layers)])

    def aim(self, read: Any, write: Any, new: Any) -> None:
        """Before a pass.

        Args:
            read: [B, S] the slot of every position of every row, the new ones among them.
            write: [N] the slots of the new tokens, row after row.
            new: [B, T] which of the new tokens are real.
        """
        for layer in self.layers:
            layer.read, layer.write, layer.new = read, write, new

    def reserve(self, slots: int) -> None:
        for layer in self.layers:
            layer.reserve(slots)

    def copy(self, sources: Any, targets: Any) -> None:
        for layer in self.layers:
            layer.copy(sources, targets)
