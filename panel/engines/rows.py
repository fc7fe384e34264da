"""The rows that a model holds in its cache: what several of them start with is computed once, and held once.

A row is one sequence. Its keys and values lie in blocks of a few tokens each, listed in the row's block table, as in
PagedAttention (Kwon et al., 2023, arXiv 2309.06180). Rows that start alike share blocks; a block that others need as it
is gets copied before it is written to. Rows of any length go through the model together, and nothing is padded.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

#: Tokens that the cache has room for at first, 46 kB each with the embedded model. Rows that nobody goes on with stay
#: until their place is needed; where those in use need more, it grows.
MAX_CELLS = 6_656
#: New tokens in one pass: longer prompts are read in pieces, and what a pass works with stays within bounds.
MAX_NEW = 1_024
#: A shared prefix shorter than this many tokens is not worth a row of its own.
MIN_PREFIX = 12


@dataclass(frozen=True)
class Batch:
    """What one pass computes: B rows, each with some tokens in the cache and some new ones.

    Attributes:
        ids: [N] new tokens, row after row.
        begins: [B + 1] where each row's new tokens begin in `ids`, and N.
        past: [B] how many tokens of each row are cached: the position of its first new one.
        blocks: [M] the rows' block tables, one after the other, with room for the new tokens.
        table_begins: [B + 1] where each row's table begins in `blocks`, and M.
        wanted: [R] indices into `ids`, ascending, of the tokens after which logits are asked for.
    """

    ids: Ints
    begins: Ints
    past: Ints
    blocks: Ints
    table_begins: Ints
    wanted: Ints


class Forward(Protocol):
    """A causal language model with a cache of keys and values in numbered blocks."""

    #: Tokens in a block.
    block_size: int

    def reserve(self, blocks: int) -> None:
        """Have room for at least so many blocks; those that there are keep what they hold."""
        ...

    def copy(self, sources: Ints, targets: Ints) -> None:
        """Copy what blocks hold, all of it read before anything is written."""
        ...

    def extend(self, batch: Batch) -> Floats:
        """Compute the new tokens, put their keys and values into the blocks, and return [R, V] logits."""
        ...


@dataclass(eq=False)
class Row:
    """One sequence: the tokens whose keys and values are cached, and the blocks that hold them."""

    tokens: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)


class Rows:
    """The rows of one `Forward`. Those that are being written belong to who asked for them; those that were handed back
    with `keep` may be gone on with by anyone, until their blocks are needed.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self.block_size = forward.block_size
        self._users: list[int] = []  # of each block, how many rows hold it
        self._free: list[int] = []  # a heap: low numbers first, so that memory once touched is used again
        self._kept: list[Row] = []  # the one that was needed longest ago comes first
        self._reserve(MAX_CELLS // self.block_size)

    def prefill(self, prompts: Sequence[list[int]], tail: Sequence[int]) -> tuple[list[Floats], list[Row]]:
        """Compute prompts, each distinct one once.

        Returns:
            The [tail, V] logits at the end of each prompt, and a row of its own for each.
        """
        keys = [(tuple(prompt), last) for prompt, last in zip(prompts, tail, strict=True)]
        distinct = {key: n for n, key in enumerate(dict.fromkeys(keys))}
        self._compute_prefixes([list(prompt) for prompt, _ in distinct])
        extensions = []
        for prompt, last in distinct:
            row = self._fork(list(prompt[:-last]))  # the logits asked for come from a pass, not from the cache
            extensions.append((row, list(prompt[len(row.tokens) :]), last))
        logits = self.extend(extensions)
        rows: list[Row] = []
        for key, first in zip(keys, (distinct[key] for key in keys), strict=True):
            row = extensions[first][0]
            rows.append(self._share(row, len(key[0])) if any(row is other for other in rows) else row)
        return [logits[distinct[key]] for key in keys], rows

    def extend(self, extensions: Sequence[tuple[Row, list[int], int]]) -> list[Floats]:
        """Add tokens to rows, at least one to each; returns the [tail, V] logits at the end of each."""
        for row, tokens, _ in extensions:
            self._make_room(row, len(tokens))
        self._copy_shared([(row, len(tokens)) for row, tokens, _ in extensions])
        found: list[list[Floats]] = [[] for _ in extensions]
        for part in _pieces([len(tokens) for _, tokens, _ in extensions]):
            pieces = [(extensions[n][0], extensions[n][1][start:stop]) for n, start, stop in part]
            counts = [max(0, stop - max(start, len(extensions[n][1]) - extensions[n][2])) for n, start, stop in part]
            logits = self._forward.extend(self._batch(pieces, counts))
            for (n, _, _), some in zip(part, np.split(logits, np.cumsum(counts)[:-1]), strict=True):
                found[n].append(some)
            for row, tokens in pieces:
                row.tokens = row.tokens + tokens
        return [some[0] if len(some) == 1 else np.concatenate(some) for some in found]

    def keep(self, row: Row, tokens: int | None = None) -> None:
        """Hand back a row that others may go on with, or its first `tokens` tokens."""
        if tokens is not None:
            self._cut(row, tokens)
        if any(other.tokens[: len(row.tokens)] == row.tokens for other in self._kept):
            self.drop(row)
        else:
            self._kept.append(row)

    def drop(self, row: Row) -> None:
        """Hand back a row that nobody will go on with."""
        self._release(row.blocks)
        row.tokens, row.blocks = [], []

    # ------------------------------------------------------------------------------------------------ sharing

    def _compute_prefixes(self, prompts: Sequence[list[int]]) -> None:
        """Compute what families of prompts start with, and keep it."""
        extensions = []
        for prefix in shared_prefixes(prompts):
            row = self._fork(prefix)
            if len(prefix) - len(row.tokens) >= MIN_PREFIX:
                extensions.append((row, prefix[len(row.tokens) :], 0))
            else:
                self.drop(row)
        if extensions:
            self.extend(extensions)
            for row, _, _ in extensions:
                self.keep(row)

    def _fork(self, tokens: list[int]) -> Row:
        """A new row that holds as much of the beginning of `tokens` as any kept row does."""
        best, shared = None, 0
        for row in self._kept:
            if len(row.tokens) > shared and row.tokens[: shared + 1] == tokens[: shared + 1]:
                best, shared = row, _common_prefix(row.tokens, tokens)
        if best is None:
            return Row()
        self._kept.remove(best)
        self._kept.append(best)
        return self._share(best, shared)

    def _share(self, row: Row, tokens: int) -> Row:
        blocks = row.blocks[: -(-tokens // self.block_size)]
        for block in blocks:
            self._users[block] += 1
        return Row(row.tokens[:tokens], blocks)

    def _copy_shared(self, rows: Sequence[tuple[Row, int]]) -> None:
        """Give each row a copy of the block that it will write to first, where another row holds that block too."""
        pairs = []
        for row, new in rows:
            full, begun = divmod(len(row.tokens), self.block_size)
            if begun and new and self._users[row.blocks[full]] > 1:
                target = self._take()
                self._release([row.blocks[full]])
                pairs.append((row.blocks[full], target))
                row.blocks[full] = target
        if pairs:
            sources, targets = np.array(pairs, np.int64).T
            self._forward.copy(sources, targets)

    # ------------------------------------------------------------------------------------------------- blocks

    def _make_room(self, row: Row, new: int) -> None:
        missing = -(-(len(row.tokens) + new) // self.block_size) - len(row.blocks)
        row.blocks = row.blocks + [self._take() for _ in range(missing)]

    def _take(self) -> int:
        """A block for one more row. Kept rows give way; where there are none, the cache grows by a half."""
        while not self._free:
            if self._kept:
                self.drop(self._kept.pop(0))
            else:
                self._reserve(len(self._users) * 3 // 2 + 1)
        block = heapq.heappop(self._free)
        self._users[block] = 1
        return block

    def _reserve(self, blocks: int) -> None:
        self._forward.reserve(blocks)
        self._free += range(len(self._users), blocks)
        heapq.heapify(self._free)
        self._users += [0] * (blocks - len(self._users))

    def _cut(self, row: Row, tokens: int) -> None:
        held = -(-tokens // self.block_size)
        self._release(row.blocks[held:])
        row.tokens, row.blocks = row.tokens[:tokens], row.blocks[:held]

    def _release(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            self._users[block] -= 1
            if not self._users[block]:
                heapq.heappush(self._free, block)

    def _batch(self, pieces: Sequence[tuple[Row, list[int]]], counts: Sequence[int]) -> Batch:
        size = self.block_size
        past = [len(row.tokens) for row, _ in pieces]
        tables = [row.blocks[: -(-(n + len(new)) // size)] for n, (row, new) in zip(past, pieces, strict=True)]
        begins = np.cumsum([0, *(len(new) for _, new in pieces)])
        wanted = [np.arange(end - n, end) for end, n in zip(begins[1:], counts, strict=True)]
        return Batch(
            ids=np.fromiter(itertools.chain.from_iterable(new for _, new in pieces), np.int64),
            begins=begins,
            past=np.array(past, np.int64),
            blocks=np.fromiter(itertools.chain.from_iterable(tables), np.int64),
            table_begins=np.cumsum([0, *map(len, tables)]),
            wanted=np.concatenate(wanted),
        )


def _pieces(lengths: Sequence[int]) -> Iterator[list[tuple[int, int, int]]]:
    """Divide rows of new tokens into passes of `MAX_NEW` at most: (row, start, stop) of the pieces in each."""
    part: list[tuple[int, int, int]] = []
    room = MAX_NEW
    for row, length in enumerate(lengths):
        start = 0
        while start < length:
            if not room:
                yield part
                part, room = [], MAX_NEW
            stop = min(length, start + room)
            part.append((row, start, stop))
            room -= stop - start
            start = stop
    if part:
        yield part


def _common_prefix(a: list[int], b: list[int]) -> int:
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    return next(i for i in range(limit) if a[i] != b[i])


def cells(prompts: Sequence[list[int]]) -> list[int]:
    """Of prompts in sorted order: how many tokens each adds to what those before it hold already."""
    return [
        len(prompt) - (_common_prefix(before, prompt) if before else 0)
        for before, prompt in itertools.pairwise([[], *prompts])
    ]


def shared_prefixes(prompts: Sequence[list[int]]) -> list[list[int]]:
    """The prefix of each family of two prompts or more, see `families`."""
    return [prompts[family[0]][:shared] for family, shared in families(prompts) if shared]


def families(prompts: Sequence[list[int]]) -> list[tuple[list[int], int]]:
    """Divide prompts into families so that computing each family's common prefix once saves most.

    Returns:
        For each family the indices of its prompts, in their sorted order, and the length of its prefix: at least
        `MIN_PREFIX`, or 0 for a prompt that stands alone.
    """
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
    common = [_common_prefix(prompts[a], prompts[b]) for a, b in itertools.pairwise(order)]

    def best(start: int, stop: int) -> tuple[int, list[tuple[int, int, int]]]:
        """Tokens saved in sorted places start to stop (without), and the families (start, stop, prefix)."""
        if stop - start == 1:
            return 0, [(start, stop, 0)]
        cut = min(range(start, stop - 1), key=lambda k: common[k])
        saved_left, left = best(start, cut + 1)
        saved_right, right = best(cut + 1, stop)
        together = (stop - start - 1) * common[cut]
        if common[cut] >= MIN_PREFIX and together >= saved_left + saved_right:
            return together, [(start, stop, common[cut])]
        return saved_left + saved_right, left + right

    found = best(0, len(order))[1] if order else []
    return [(order[start:stop], shared) for start, stop, shared in found]
