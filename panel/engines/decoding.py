"""Batched decoding and scoring under grammars, over any model that can extend a batch of cached rows.

One loop serves every engine that runs in this process, so that two engines differ in their arithmetic and in
nothing else. Three things make it fast on a CPU:

- what several requests start with is computed once, and held once (see rows.py);
- a later batch goes on with the rows of an earlier one where its prompts start alike: an agent's next step, a draft
  that is written again;
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
from panel.engines.rows import MAX_CELLS, Floats, Rows, cells
from panel.requests import Completion, GenerateRequest, ScoreRequest, Scores

#: Drafts written side by side: a step hardly costs more for one of them, and their logits are 200 kB each with the
#: embedded model.
MAX_DRAFTS = 48
#: Logits in one pass of scoring, in rows of the vocabulary: 200 kB each with the embedded model, and three times while
#: they are made into log-probabilities.
MAX_LOGITS = 256

# ------------------------------------------------------------------------------------------------------- score


def score(rows: Rows, codec: Codec, requests: Sequence[ScoreRequest]) -> list[Scores]:
    """Log-probability of every candidate after its prompt, exactly: the candidate's own tokens are read off the
    model's distribution, one row per candidate of several tokens, one row for all candidates of one token."""
    # asked twice, computed once: two tools share their personas' content-free facts
    distinct = {(request.prompt, request.candidates): request for request in requests}
    answers = dict(zip(distinct, _score(rows, codec, list(distinct.values())), strict=True))
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
    for part in _parts(prompts, 2 * rows.block_size, max(1, MAX_LOGITS // longest)):
        chunk = [jobs[i] for i in part]
        logits, held = rows.prefill([prompts[i] for i in part], [len(asked[0][1]) for _, _, asked in chunk])
        for row in held:
            rows.drop(row)
        for (index, _, asked), values in zip(chunk, logits, strict=True):
            logprobs = log_softmax(values)
            for k, candidate in asked:
                out[index][k] = float(sum(logprobs[i, token] for i, token in enumerate(candidate)))
    return [Scores(tuple(values), length) for values, length in zip(out, lengths, strict=True)]


def _parts(prompts: Sequence[list[int]], growth: int, most: int) -> list[list[int]]:
    """Indices of `prompts` in parts of about one size, of `most` prompts and `MAX_CELLS` tokens at most where there is
    more than one in a part. What starts alike stays together, and counts once.

    Args:
        growth: tokens that each takes up beside its prompt; two blocks of them are the one where it leaves what it
            shares and the one where it ends, neither of which is full.
    """
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
    ends = np.cumsum([new + growth for new in cells([prompts[i] for i in order])])
    number = max(-(-len(order) // most), -(-int(ends[-1]) // MAX_CELLS)) if order else 0
    return [order[len(order) * k // number : len(order) * (k + 1) // number] for k in range(number)]


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


def generate(rows: Rows, codec: Codec, requests: Sequence[GenerateRequest]) -> list[Completion]:
    """Complete every request under its grammar."""
    drafts = [_Draft(request, codec) for request in requests]
    asking = [draft for draft in drafts if not draft.finish]  # a grammar with one sentence needs no model
    longest = max((draft.request.sampling.max_tokens for draft in asking), default=0)
    for part in _parts([draft.prompt for draft in asking], longest + 2 * rows.block_size, MAX_DRAFTS):
        _decode(rows, codec, [asking[i] for i in part])
    return [d.completion(codec) for d in drafts]


def _decode(rows: Rows, codec: Codec, drafts: list[_Draft]) -> None:
    from llguidance import LLExecutor
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

    executor: Any = LLExecutor()
    bits = allocate_token_bitmask(len(drafts), codec.ll_tokenizer.vocab_size)
    logits, held = rows.prefill([d.prompt + d.pending for d in drafts], [1] * len(drafts))
    going = list(zip(drafts, held, strict=True))
    while going:
        fill_next_token_bitmask_par(executor, [(draft.matcher, i) for i, (draft, _) in enumerate(going)], bits)
        for i, ((draft, _), values) in enumerate(zip(going, logits, strict=True)):
            allowed = np.unpackbits(bits[i].view(np.uint8), bitorder="little").astype(bool)
            draft.pending = []
            draft.choose(values[0], allowed[: values.shape[1]])
        for draft, row in going:
            if draft.finish:
                # the prompt of a draft may be asked again, its text will not
                rows.keep(row, None if draft.request.continues else len(draft.prompt))
        going = [(draft, row) for draft, row in going if not draft.finish]
        if going:
            logits = rows.extend([(row, draft.pending, 1) for draft, row in going])
