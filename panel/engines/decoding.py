"""Batched decoding under grammars, over any model that can extend a batch of cached rows.

One loop serves every engine that runs in this process, so that two engines differ in their arithmetic and in
nothing else. Three things make it fast on a CPU:

- a prefix that several requests share is computed once, and the rows fork from it;
- a later batch continues the rows of an earlier one where its prompts start alike (an agent's next step);
- tokens that the grammar leaves no choice about are appended without asking the model.

The random numbers of a request depend on its seed and key alone, never on what it was batched with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from panel.engines.codec import Codec
from panel.requests import Completion, GenerateRequest, ScoreRequest, Scores

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Request = TypeVar("Request", GenerateRequest, ScoreRequest)

#: Rows in one forward pass: throughput is flat beyond, memory is not.
MAX_ROWS = 32
#: A batch continues cached rows while they hold at most this many slots per token of its longest prompt: slots that
#: belong to other rows are dead weight in every pass.
MAX_SLACK = 2.0
#: A shared prefix shorter than this many tokens is not worth a pass of its own.
MIN_PREFIX = 24


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
class _Extension:
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

    def extend(self, extensions: Sequence[_Extension]) -> list[Floats]:
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

    def prefill(self, prompts: Sequence[list[int]], tail: Sequence[int]) -> list[Floats]:
        """Make one row per prompt; returns the [tail, V] logits at the end of each."""
        parents = [self._closest(p) for p in prompts]
        reused = sum(keep for _, keep in parents)
        room = self._slots <= MAX_SLACK * max(map(len, prompts))
        if not (room and reused * 2 > sum(map(len, prompts))):
            self.reset()
            prefixes = shared_prefixes(prompts)
            if prefixes:
                self.extend([_Extension(0, 0, prefix) for prefix in prefixes])
            parents = [self._closest(p) for p in prompts]
        extensions = []
        for prompt, (parent, keep), last in zip(prompts, parents, tail, strict=True):
            keep = min(keep, len(prompt) - last)  # the logits asked for come from a pass, not from the cache
            extensions.append(_Extension(parent, keep, prompt[keep:], last))
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
    """Cached rows by family of requests, over one set of weights: weighing does not throw away the agents'
    conversations, and neither do drafts.

    Args:
        new_forward: makes a `Forward` with a cache of its own.
    """

    def __init__(self, new_forward: Callable[[], Forward]) -> None:
        self._new_forward = new_forward
        self._rows: dict[str, Rows] = {}

    def rows(self, key: str) -> Rows:
        """The rows of the family that the request `key` belongs to."""
        family = key.split("/", 1)[0]
        if family not in self._rows:
            self._rows[family] = Rows(self._new_forward())
        return self._rows[family]

    def families(self, requests: Sequence[Request]) -> list[tuple[Rows, list[int]]]:
        """For each family its rows and the positions of its requests."""
        found: dict[str, list[int]] = {}
        for position, request in enumerate(requests):
            found.setdefault(request.key.split("/", 1)[0], []).append(position)
        return [(self.rows(family), positions) for family, positions in sorted(found.items())]


def _common_prefix(a: list[int], b: list[int]) -> int:
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    return next(i for i in range(limit) if a[i] != b[i])


def shared_prefixes(prompts: Sequence[list[int]]) -> list[list[int]]:
    """The prefixes of at least `MIN_PREFIX` tokens that two prompts or more share, one per family of prompts.

    Where there are such families, a prompt without one brings all but its last tokens, so that what remains of every
    prompt is short: a pass is padded to its longest row.
    """
    prefixes: list[list[int]] = []
    alone: list[list[int]] = []
    family: list[int] = []
    members = 0
    for prompt in [*sorted(prompts), []]:
        shared = _common_prefix(family, prompt)
        if members and shared >= max(MIN_PREFIX, len(family) // 2):
            family, members = family[:shared], members + 1
            continue
        if members > 1:
            prefixes.append(family)
        elif members and len(family) > 3 * MIN_PREFIX:
            alone.append(family[:-MIN_PREFIX])
        family, members = prompt, 1
    return prefixes + alone if prefixes else []


# ------------------------------------------------------------------------------------------------------- score


def score(lanes: Lanes, codec: Codec, requests: Sequence[ScoreRequest]) -> list[Scores]:
    """Log-probability of every candidate after its prompt, exactly: the candidate's own tokens are read off the
    model's distribution, one row per candidate of several tokens, one row for all candidates of one token."""
    answers: dict[tuple[str, tuple[str, ...]], Scores] = {}
    for rows, positions in lanes.families(requests):
        # asked twice, computed once: two tools share their personas' content-free facts
        distinct = {(requests[p].prompt, requests[p].candidates): requests[p] for p in positions}
        answers.update(zip(distinct, _score(rows, codec, list(distinct.values())), strict=True))
    return [answers[request.prompt, request.candidates] for request in requests]


def _score(rows: Rows, codec: Codec, requests: Sequence[ScoreRequest]) -> list[Scores]:
    jobs: list[tuple[int, list[int], list[tuple[int, list[int]]]]] = []
    lengths: list[int] = []
    for index, request in enumerate(requests):
        prompt = codec.encode(request.prompt)
        lengths.append(len(prompt))
        candidates = [codec.encode(c) for c in request.candidates]
        single = [(k, c) for k, c in enumerate(candidates) if len(c) == 1]
        if single:
            jobs.append((index, prompt, single))
        jobs.extend((index, prompt, [(k, c)]) for k, c in enumerate(candidates) if len(c) > 1)
    out = [[0.0] * len(r.candidates) for r in requests]
    jobs.sort(key=lambda job: job[1])  # neighbours share prefixes
    for chunk in _even(jobs):
        prompts = [prompt + asked[0][1][:-1] for _, prompt, asked in chunk]
        logits = rows.prefill(prompts, [len(asked[0][1]) for _, _, asked in chunk])
        for (index, _, asked), values in zip(chunk, logits, strict=True):
            logprobs = log_softmax(values)
            for k, candidate in asked:
                out[index][k] = float(sum(logprobs[i, token] for i, token in enumerate(candidate)))
    return [Scores(tuple(values), length) for values, length in zip(out, lengths, strict=True)]


Item = TypeVar("Item")


def _even(items: list[Item]) -> list[list[Item]]:
    """`items` in as few parts of at most `MAX_ROWS` as will do, all of about one size."""
    parts = -(-len(items) // MAX_ROWS)
    size = -(-len(items) // parts) if parts else 1
    return [items[start : start + size] for start in range(0, len(items), size)]


def log_softmax(logits: Floats) -> Floats:
    """[R, V] logits to log-probabilities."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


# ---------------------------------------------------------------------------------------------------- generate


class _Draft:
    """One completion on its way: its matcher, its random numbers, its tokens."""

    def __init__(self, request: GenerateRequest, codec: Codec) -> None:
        self.request = request
        self.matcher = codec.matcher(request.grammar)
        self.eos_id = codec.eos_id
        self.prompt = codec.encode_chat(request.messages, request.opening)
        digest = hashlib.sha256(f"{request.seed}\x00{request.key}".encode()).digest()
        self.random = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
        self.tokens: list[int] = []
        self.forced = 0
        self.logprob = 0.0
        self.finish: str = ""
        self.pending: list[int] = []  # tokens that the cache has not seen
        self.take_forced()

    def take_forced(self) -> None:
        """Append what the grammar leaves no choice about."""
        while not self.finish:
            if self.matcher.is_stopped():
                self.finish = "stop"
                return
            forced = [t for t in self.matcher.compute_ff_tokens() if t != self.eos_id]
            if not forced:
                if len(self.tokens) >= self.request.sampling.max_tokens:
                    self.finish = "length"
                return
            self.matcher.consume_tokens(forced)
            self.tokens += forced
            self.pending += forced
            self.forced += len(forced)

    def choose(self, logits: Floats, allowed: npt.NDArray[np.bool_]) -> None:
        """Draw one token from the `allowed` part of [V] `logits`."""
        ids = np.flatnonzero(allowed)
        values = logits[ids].astype(np.float64)
        sampling = self.request.sampling
        if sampling.temperature <= 0:
            pick = int(np.argmax(values))
        else:
            weights = np.exp((values - values.max()) / sampling.temperature)
            weights /= weights.sum()
            order = np.argsort(-weights, kind="stable")
            keep = order[: int(np.searchsorted(np.cumsum(weights[order]), sampling.top_p)) + 1]
            mass = np.cumsum(weights[keep])
            pick = int(keep[min(int(np.searchsorted(mass, self.random.random() * mass[-1])), len(keep) - 1)])
        token = int(ids[pick])
        top = float(logits.max())
        self.logprob += float(logits[token]) - top - float(np.log(np.exp(logits - top).sum()))
        if token == self.eos_id:
            self.finish = "stop"
            return
        self.matcher.consume_token(token)
        self.tokens.append(token)
        self.pending.append(token)
        self.take_forced()

    def completion(self, codec: Codec) -> Completion:
        return Completion(
            text=codec.decode(self.tokens),
            prompt_tokens=len(self.prompt),
            completion_tokens=len(self.tokens),
            forced_tokens=self.forced,
            logprob=self.logprob,
            finish="stop" if self.finish == "stop" else "length",
        )


def generate(lanes: Lanes, codec: Codec, requests: Sequence[GenerateRequest]) -> list[Completion]:
    """Complete every request under its grammar, family by family."""
    drafts = [_Draft(request, codec) for request in requests]
    for rows, positions in lanes.families(requests):
        # a grammar with one sentence needs no model
        for batch in _batches([drafts[p] for p in positions if not drafts[p].finish or drafts[p].request.continues]):
            _decode(rows, codec, batch)
    return [d.completion(codec) for d in drafts]


def _batches(drafts: list[_Draft]) -> list[list[_Draft]]:
    """At most `MAX_ROWS` at a time, prompts that start alike together, none much longer than its neighbours (the
    rows of a pass are padded to the longest)."""
    batches: list[list[_Draft]] = []
    for draft in sorted(drafts, key=lambda d: (_size_class(d), d.prompt)):
        last = batches[-1] if batches else []
        if last and len(last) < MAX_ROWS and _size_class(last[0]) == _size_class(draft):
            last.append(draft)
        else:
            batches.append([draft])
    return batches


def _size_class(draft: _Draft) -> int:
    """Prompts of one class differ in length by less than a factor of two. Conversations stay together: most of their
    tokens are cached, and what they leave in the cache should be one batch."""
    return 0 if draft.request.continues else len(draft.prompt).bit_length()


def _decode(rows: Rows, codec: Codec, drafts: list[_Draft]) -> None:
    from llguidance import LLExecutor
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

    executor: Any = LLExecutor()
    bits = allocate_token_bitmask(len(drafts), codec.ll_tokenizer.vocab_size)
    if all(d.finish for d in drafts):
        return  # the grammar left no choice anywhere; their prompts will be computed when one of them has to choose
    logits = rows.prefill([d.prompt + d.pending for d in drafts], [1] * len(drafts))
    active = [d for d in drafts if not d.finish]
    logits = [v for v, d in zip(logits, drafts, strict=True) if not d.finish]
    held = drafts  # whose rows the cache holds, in its order
    while True:
        fill_next_token_bitmask_par(executor, [(d.matcher, i) for i, d in enumerate(active)], bits)
        for i, draft in enumerate(active):
            draft.pending = []
            allowed = np.unpackbits(bits[i].view(np.uint8), bitorder="little").astype(bool)
            values = logits[i][0]
            draft.choose(values, allowed[: len(values)])
        active = [d for d in active if not d.finish]
        if not active:
            return
        kept = [(i, d) for i, d in enumerate(held) if not d.finish or d.request.continues]
        passed = rows.extend([_next_extension(i, d, codec.eos_id) for i, d in kept])
        held = [d for _, d in kept]
        logits = [v for v, d in zip(passed, held, strict=True) if not d.finish]


def _next_extension(row: int, draft: _Draft, eos_id: int) -> _Extension:
    done = len(draft.prompt) + len(draft.tokens)
    if draft.finish:
        return _Extension(row, done, [eos_id], ghost=True)
    return _Extension(row, done - len(draft.pending), draft.pending)
