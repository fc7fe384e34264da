"""The rows that a model holds in its cache: sharing prefixes, going on where an earlier batch stopped.

A row is one sequence; its tokens sit in slots of the cache. Rows of unlike length share slots, so a row's slots may
have holes, which the attention mask covers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from panel.requests import GenerateRequest, ScoreRequest

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Request = TypeVar("Request", GenerateRequest, ScoreRequest)

#: A batch continues cached rows while they hold at most this many slots per token of its longest prompt: slots that
#: belong to other rows are dead weight in every pass.
MAX_SLACK = 2.0
#: A shared prefix shorter than this many tokens is not worth a row of its own.
MIN_PREFIX = 12


class Forward(Protocol):
    """A causal language model with a cache of keys and values, B rows of S slots."""

    def reset(self) -> None:
        """Forget every row."""
        ...

    def extend(self, parents: Ints, ids: Ints, mask: Ints, positions: Ints, wanted: Ints) -> Floats:
        """Continue cached rows with new tokens.

        Args:
            parents: [B] the cached row that each new row continues (any number when nothing is cached).
            ids: [B, T] new tokens, padded on the right.
            mask: [B, S + T] 1 where a slot may be attended to.
            positions: [B, T] position of each new token in its own row.
            wanted: [R] indices into the flattened [B * T] of the positions whose logits are asked for.

        Returns:
            [R, V] logits.
        """
        ...


@dataclass
class _Row:
    """One cached row: its tokens, and the slots that hold them (in the same order)."""

    tokens: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Extension:
    """Keep the first `keep` tokens of cached row `parent`, then add `tokens`; logits of the last `tail` of them.

    A `ghost` only keeps its row alive through a pass that is about others: its token leaves no trace.
    """

    parent: int
    keep: int
    tokens: list[int]
    tail: int = 1
    ghost: bool = False


class Rows:
    """The rows that a `Forward` holds, and the arithmetic of extending them."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._rows: list[_Row] = []
        self._slots = 0

    def reset(self) -> None:
        self._forward.reset()
        self._rows, self._slots = [], 0

    def extend(self, extensions: Sequence[Extension]) -> list[Floats]:
        """Run one forward pass; returns for each extension its [tail, V] logits."""
        rows, longest = len(extensions), max(len(e.tokens) for e in extensions)
        ids = np.zeros((rows, longest), np.int64)
        positions = np.zeros((rows, longest), np.int64)
        mask = np.zeros((rows, self._slots + longest), np.int64)
        wanted: list[int] = []
        fresh: list[_Row] = []
        for b, extension in enumerate(extensions):
            parent = self._rows[extension.parent] if self._rows else _Row()
            n, keep = len(extension.tokens), extension.keep
            kept = parent.slots[:keep]
            added = list(range(self._slots, self._slots + n))
            ids[b, :n] = extension.tokens
            positions[b, :] = keep + np.minimum(np.arange(longest), n - 1)
            mask[b, kept] = 1
            mask[b, added] = 1
            wanted.extend(b * longest + n - extension.tail + k for k in range(extension.tail))
            fresh.append(parent if extension.ghost else _Row(parent.tokens[:keep] + extension.tokens, kept + added))
        parents = np.array([e.parent for e in extensions], np.int64)
        logits = self._forward.extend(parents, ids, mask, positions, np.array(wanted, np.int64))
        self._rows, self._slots = fresh, self._slots + longest
        cuts = np.cumsum([e.tail for e in extensions])[:-1]
        return list(np.split(logits, cuts))

    def prefill(self, prompts: Sequence[list[int]], tail: Sequence[int]) -> tuple[list[Floats], list[int]]:
        """Compute prompts, each distinct one once.

        Returns:
            The [tail, V] logits at the end of each prompt, and the row that holds it.
        """
        keys = [(tuple(prompt), last) for prompt, last in zip(prompts, tail, strict=True)]
        row_of = {key: row for row, key in enumerate(dict.fromkeys(keys))}
        logits = self._prefill([list(prompt) for prompt, _ in row_of], [last for _, last in row_of])
        return [logits[row_of[key]] for key in keys], [row_of[key] for key in keys]

    def _prefill(self, prompts: Sequence[list[int]], tail: Sequence[int]) -> list[Floats]:
        """One row per prompt; returns the [tail, V] logits at the end of each."""
        parents = [self._closest(p) for p in prompts]
        reused = sum(keep for _, keep in parents)
        room = self._slots <= MAX_SLACK * max(map(len, prompts))
        if not (room and reused * 2 > sum(map(len, prompts))):
            self.reset()
            prefixes = shared_prefixes(prompts)
            if prefixes:
                self.extend([Extension(0, 0, prefix) for prefix in prefixes])
            parents = [self._closest(p) for p in prompts]
        extensions = []
        for prompt, (parent, keep), last in zip(prompts, parents, tail, strict=True):
            keep = min(keep, len(prompt) - last)  # the logits asked for come from a pass, not from the cache
            extensions.append(Extension(parent, keep, prompt[keep:], last))
        return self.extend(extensions)

    def _closest(self, prompt: list[int]) -> tuple[int, int]:
        """The cached row that shares the longest prefix with `prompt`, and that prefix's length."""
        best = (0, 0)
        for index, row in enumerate(self._rows):
            shared = _common_prefix(row.tokens, prompt)
            if shared > best[1]:
                best = (index, shared)
        return best


class Lanes:
    """Cached rows over one set of weights: conversations that will go on have theirs, and everything else shares the
    others, so that weighing and drafting do not throw away what agents have said.

    Args:
        new_forward: makes a `Forward` with a cache of its own.
    """

    def __init__(self, new_forward: Callable[[], Forward]) -> None:
        self._new_forward = new_forward
        self._rows: dict[bool, Rows] = {}

    def families(self, requests: Sequence[Request]) -> list[tuple[Rows, list[int]]]:
        """For each family of requests (the first part of their keys) its rows and the positions of its requests."""
        found: dict[tuple[bool, str], list[int]] = {}
        for position, request in enumerate(requests):
            goes_on = isinstance(request, GenerateRequest) and request.continues
            found.setdefault((goes_on, request.key.split("/", 1)[0]), []).append(position)
        return [(self._of(goes_on), positions) for (goes_on, _), positions in sorted(found.items())]

    def _of(self, goes_on: bool) -> Rows:
        if goes_on not in self._rows:
            self._rows[goes_on] = Rows(self._new_forward())
        return self._rows[goes_on]


def _common_prefix(a: list[int], b: list[int]) -> int:
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    return next(i for i in range(limit) if a[i] != b[i])


def shared_prefixes(prompts: Sequence[list[int]]) -> list[list[int]]:
    """The prefix of each family of two prompts or more, see `families`.

    Where there are such families, a prompt without one brings all but its last tokens, so that what remains of every
    prompt is short: a pass is padded to its longest row.
    """
    found = families(prompts)
    prefixes = [prompts[family[0]][:shared] for family, shared in found if shared]
    if not prefixes:
        return []
    alone = [prompts[family[0]] for family, shared in found if not shared]
    return prefixes + [prompt[:-MIN_PREFIX] for prompt in alone if len(prompt) > 3 * MIN_PREFIX]


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
