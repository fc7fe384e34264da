"""Batched decoding and scoring under grammars, over any model that can extend a batch of cached rows.

One loop serves every engine that runs in this process, so that two engines differ in their arithmetic and in
nothing else. Three things make it fast on a CPU:

- a prefix that several requests share is computed once, and the rows fork from it;
- a later batch continues the rows of an earlier one where its prompts start alike (an agent's next step);
- tokens that the grammar leaves no choice about are appended without asking the model.

The random numbers of a request depend on its seed and key alone, never on what it was batched with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from panel.engines.codec import Codec
from panel.engines.rows import Extension, Floats, Lanes, Rows, families
from panel.requests import Completion, GenerateRequest, ScoreRequest, Scores

#: Rows in one forward pass: throughput is nearly flat beyond, memory is not.
MAX_ROWS = 32
#: Slots of the cache in one batch of drafts, all rows together: 46 kB each with the embedded model, and twice while it
#: grows.
MAX_CELLS = 5_000
#: Logits in one pass of scoring, in rows of the vocabulary: 200 kB each with the embedded model, and three times while
#: they are made into log-probabilities.
MAX_LOGITS = 256
#: Drafts that have finished stay in the cache until no more than this share of their batch goes on: taking a row out
#: copies all others, which costs about what a step does.
DROP_AT = 0.25

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
        prompt = codec.encode_prompt(request.prompt)
        lengths.append(len(prompt))
        candidates = [codec.encode(c) for c in request.candidates]
        single = [(k, c) for k, c in enumerate(candidates) if len(c) == 1]
        if single:
            jobs.append((index, prompt, single))
        jobs.extend((index, prompt, [(k, c)]) for k, c in enumerate(candidates) if len(c) > 1)
    out = [[0.0] * len(r.candidates) for r in requests]
    prompts = [prompt + asked[0][1][:-1] for _, prompt, asked in jobs]
    longest = max((len(asked[0][1]) for _, _, asked in jobs), default=1)
    for part in _parts(prompts, max(1, min(MAX_ROWS, MAX_LOGITS // longest))):
        chunk = [jobs[i] for i in part]
        logits, _ = rows.prefill([prompts[i] for i in part], [len(asked[0][1]) for _, _, asked in chunk])
        for (index, _, asked), values in zip(chunk, logits, strict=True):
            logprobs = log_softmax(values)
            for k, candidate in asked:
                out[index][k] = float(sum(logprobs[i, token] for i, token in enumerate(candidate)))
    return [Scores(tuple(values), length) for values, length in zip(out, lengths, strict=True)]


def _parts(prompts: Sequence[list[int]], most: int) -> list[list[int]]:
    """Indices of `prompts` in parts of about one size, of `most` at most.

    Prompts that share a prefix stay together, and lengths within a part are alike: a pass is padded to its longest.
    """
    wanted = -(-len(prompts) // max(1, -(-len(prompts) // most)))
    parts: list[list[int]] = []
    found = sorted(families(prompts), key=lambda f: (f[1] or len(prompts[f[0][0]]), prompts[f[0][0]]))
    for family, _ in found:
        for start in range(0, len(family), most):
            some = family[start : start + most]
            if parts and len(parts[-1]) < wanted and len(parts[-1]) + len(some) <= most:
                parts[-1] += some
            else:
                parts.append(some)
    return parts


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
        self.stops = codec.stops
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
            forced = [t for t in self.matcher.compute_ff_tokens() if t not in self.stops]
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
        if token in self.stops:
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
        for batch in _batches([drafts[p] for p in positions if not drafts[p].finish]):
            _decode(rows, codec, batch)
    return [d.completion(codec) for d in drafts]


def _batches(drafts: list[_Draft]) -> list[list[_Draft]]:
    """Batches of about one size and at most `MAX_ROWS`, where none is more than twice as long as another of its batch
    (the rows of a pass are padded to the longest). Conversations stay together: most of their tokens are cached."""
    alike: list[list[_Draft]] = []
    for draft in sorted(drafts, key=lambda d: (not d.request.continues, len(d.prompt), d.prompt)):
        first = alike[-1][0] if alike else None
        if (
            first
            and first.request.continues == draft.request.continues
            and (draft.request.continues or len(draft.prompt) <= 2 * len(first.prompt))
        ):
            alike[-1].append(draft)
        else:
            alike.append([draft])
    batches = []
    for group in alike:
        group.sort(key=lambda d: d.prompt)  # what starts alike stays together
        cells = len(group) * max(len(d.prompt) + d.request.sampling.max_tokens for d in group)
        parts = max(-(-len(group) // MAX_ROWS), 1 if group[0].request.continues else -(-cells // MAX_CELLS))
        batches += [group[len(group) * k // parts : len(group) * (k + 1) // parts] for k in range(parts)]
    return batches


def _decode(rows: Rows, codec: Codec, drafts: list[_Draft]) -> None:
    from llguidance import LLExecutor
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

    executor: Any = LLExecutor()
    bits = allocate_token_bitmask(len(drafts), codec.ll_tokenizer.vocab_size)
    logits, places = rows.prefill([d.prompt + d.pending for d in drafts], [1] * len(drafts))
    for draft in drafts:
        draft.pending = []
    held = list(zip(places, drafts, strict=True))
    ready = list(zip(drafts, logits, strict=True))
    while True:
        if ready:
            fill_next_token_bitmask_par(executor, [(draft.matcher, i) for i, (draft, _) in enumerate(ready)], bits)
        for i, (draft, values) in enumerate(ready):
            allowed = np.unpackbits(bits[i].view(np.uint8), bitorder="little").astype(bool)
            draft.choose(values[0], allowed[: values.shape[1]])
        if all(draft.finish for draft in drafts):
            return
        held, ready = _pass(rows, held, codec.stops[0])


def _pass(
    rows: Rows, held: Sequence[tuple[int, _Draft]], filler: int
) -> tuple[list[tuple[int, _Draft]], list[tuple[_Draft, Floats]]]:
    """Give the model the next tokens of every draft.

    A pass is padded to its longest row. So where some have many tokens to catch up with, which the grammar forces, all
    give as many as they have on average, and the others go on meanwhile.

    Args:
        held: drafts with their rows; those that have finished are let go when few are left, but for conversations that
            go on.

    Returns:
        The same with their new rows, and the drafts that may choose a token, each with its [1, V] logits.
    """
    few = sum(not draft.finish for _, draft in held) <= DROP_AT * len(held)
    kept = [(row, draft) for row, draft in held if not (few and draft.finish) or draft.request.continues]
    waiting = [len(draft.pending) for _, draft in kept if not draft.finish]
    width = sum(waiting) // len(waiting)
    passed = rows.extend([_extension(row, draft, width, filler) for row, draft in kept])
    ready = []
    for (_, draft), values in zip(kept, passed, strict=True):
        if not draft.finish:
            del draft.pending[:width]
            if not draft.pending:
                ready.append((draft, values))
    return [(row, draft) for row, (_, draft) in enumerate(kept)], ready


def _extension(row: int, draft: _Draft, width: int, filler: int) -> Extension:
    done = len(draft.prompt) + len(draft.tokens)
    if draft.finish:
        return Extension(row, done, [filler], ghost=True)
    some = draft.pending[:width]
    return Extension(row, done - len(draft.pending), some, tail=int(len(some) == len(draft.pending)))
