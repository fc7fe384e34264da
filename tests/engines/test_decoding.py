"""Batches, shared prefixes and kept rows change what is computed, and never what comes out."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from panel.engines.codec import Codec
from panel.engines.decoding import MAX_DRAFTS, MAX_LOGITS, generate, score
from panel.engines.local import LocalEngine
from panel.engines.rows import Batch, Rows
from panel.requests import Completion, EngineInfo, GenerateRequest, Grammar, Message, Sampling, ScoreRequest
from tests.engines.tiny import Model, TinyForward, write_tokenizer
from tests.engines.walks import admitted

LETTERS = Grammar("lark", 'start: /[a-z ]{3,30}/ "."\n')
CHOICES = Grammar("lark", 'start: "the " (a | b) " the end."\na: /[a-m]{2,5}/\nb: "x" /[0-9]{1,4}/\n')
FIXED = Grammar("lark", 'start: "the only answer there is."\n')


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    return Codec(write_tokenizer(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def model(codec: Codec) -> Model:
    return Model(codec.ll_tokenizer.vocab_size)


class Machine:
    """An engine's inside: rows over the tiny model."""

    def __init__(self, codec: Codec, model: Model) -> None:
        self.codec = codec
        self.forward = TinyForward(model)
        self.rows = Rows(self.forward)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        return generate(self.rows, self.codec, requests)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        return [list(s.logprobs) for s in score(self.rows, self.codec, requests)]


@pytest.fixture
def machine(codec: Codec, model: Model) -> Callable[[], Machine]:
    return lambda: Machine(codec, model)


def request(key: str, text: str = "Tell me.", **fields: object) -> GenerateRequest:
    messages = (Message("system", "You are brief, and you say what is so."), Message("user", text))
    defaults = {"grammar": LETTERS, "sampling": Sampling(0.8, 0.95, 40)}
    return GenerateRequest(key, messages, **(defaults | fields))  # type: ignore[arg-type]


def mixed() -> list[GenerateRequest]:
    """Requests as different as they come: families, lengths, grammars, temperatures, openings, seeds."""
    made = []
    for n in range(14):
        made.append(
            request(
                f"{('draft', 'step')[n % 2]}/{n}",
                "Say more. " * (n % 5) + f"Number {n}?",
                grammar=(LETTERS, CHOICES, FIXED)[n % 3],
                sampling=Sampling((0.0, 0.5, 1.0)[n % 3], 0.95, 40),
                opening="So" * (n % 2),
                seed=n // 7,
                continues=n % 4 == 1,
            )
        )
    return made


# ---------------------------------------------------------------------------- the same, whatever it is batched with


def test_one_by_one_or_together_in_any_order(machine: Callable[[], Machine]) -> None:
    requests = mixed()
    alone = [machine().generate([r])[0] for r in requests]
    assert len({c.text for c in alone}) > 8, "texts that are all alike would prove nothing"
    assert machine().generate(requests) == alone
    for seed in range(5):
        order = random.Random(seed).sample(range(len(requests)), len(requests))  # noqa: S311
        assert machine().generate([requests[i] for i in order]) == [alone[i] for i in order]


def test_an_engine_that_has_worked_before_answers_the_same(machine: Callable[[], Machine]) -> None:
    requests = mixed()
    fresh = machine().generate(requests)
    used = machine()
    for seed in range(4):
        dice = random.Random(seed)  # noqa: S311
        used.generate(dice.sample(requests, 5))
        used.score([ScoreRequest(f"draft/{k}", "Say more. " * k, (" a", " the")) for k in range(1, 5)])
        assert used.generate(requests) == fresh


def test_more_requests_than_are_written_side_by_side(machine: Callable[[], Machine]) -> None:
    requests = [request(f"draft/{n}", f"Number {n}") for n in range(MAX_DRAFTS + 8)]
    whole = machine()
    found = whole.generate(requests)
    assert found == [machine().generate([r])[0] for r in requests]
    assert whole.forward.widest == (MAX_DRAFTS + 8) // 2, "two parts of one size"


# ---------------------------------------------------------------------------------------------- as a plain loop does


def plain(codec: Codec, model: Model, r: GenerateRequest) -> tuple[str, float]:
    """The likeliest text under the grammar, the whole sequence computed anew for each token; its log-probability."""
    matcher = codec.matcher(r.grammar)
    prompt, tokens, total = codec.encode_chat(r.messages, r.opening), [], 0.0
    while True:
        forced = [t for t in matcher.compute_ff_tokens() if t not in codec.stops]
        matcher.consume_tokens(forced)
        tokens += forced
        if matcher.is_stopped():
            break
        logits = model.after([*prompt, *tokens]).astype(np.float64)
        token = max(admitted(codec, matcher), key=lambda t: (logits[t], -t))
        total += logits[token] - np.log(np.exp(logits).sum())
        if token in codec.stops:
            break
        matcher.consume_token(token)
        tokens.append(token)
    return codec.decode(tokens), float(total)


@pytest.mark.parametrize("grammar", [LETTERS, CHOICES], ids=["letters", "choices"])
def test_at_temperature_zero_it_is_the_likeliest_text(
    machine: Callable[[], Machine], codec: Codec, model: Model, grammar: Grammar
) -> None:
    requests = [request(f"draft/{n}", "Well? " * n, grammar=grammar, sampling=Sampling(0.0, 1.0, 60)) for n in range(6)]
    for r, completion in zip(requests, machine().generate(requests), strict=True):
        text, logprob = plain(codec, model, r)
        assert completion.text == text
        assert completion.logprob == pytest.approx(logprob, abs=1e-3)
        assert completion.finish == "stop"


def test_scores_are_those_of_a_plain_pass(machine: Callable[[], Machine], codec: Codec, model: Model) -> None:
    """Candidates of one token and of several, prompts that share a beginning and that do not, more than one batch."""
    shared = "Fact: it is so. " * 4
    requests = [
        ScoreRequest(f"weigh/{n}", (shared if n % 3 else "") + f"Number {n} is", (" a", " the", " it is", " so"))
        for n in range(MAX_DRAFTS)
    ]
    assert {len(codec.encode(c)) for c in requests[0].candidates} >= {1, 2}
    for r, found in zip(requests, machine().score(requests), strict=True):
        expected = []
        for candidate in r.candidates:
            tokens, total = codec.encode(r.prompt), 0.0
            for token in codec.encode(candidate):
                logits = model.after(tokens).astype(np.float64)
                total += logits[token] - np.log(np.exp(logits).sum())
                tokens.append(token)
            expected.append(total)
        assert found == pytest.approx(expected, abs=1e-3)


def test_scores_are_the_same_in_any_order(machine: Callable[[], Machine]) -> None:
    requests = [ScoreRequest(f"weigh/{n}", "Fact. " * (n % 7) + f"{n} is", (" a", " it is")) for n in range(20)]
    alone = [machine().score([r])[0] for r in requests]
    order = random.Random(3).sample(range(20), 20)  # noqa: S311
    assert machine().score([requests[i] for i in order]) == [alone[i] for i in order]


# ----------------------------------------------------------------------------------------------- what is computed


def test_a_shared_beginning_is_computed_once(machine: Callable[[], Machine], codec: Codec) -> None:
    """Eight prompts of some 500 tokens that differ at their ends: little more than one of them is computed."""
    long = "This is what they all begin with. " * 12
    requests = [request(f"draft/{n}", f"{long}{n}", sampling=Sampling(0.0, 1.0, 1)) for n in range(8)]
    length = len(codec.encode_chat(requests[0].messages))
    whole = machine()
    whole.generate(requests)
    assert length < whole.forward.computed < 2 * length


def test_the_next_step_of_a_conversation_continues_its_rows(machine: Callable[[], Machine], codec: Codec) -> None:
    """Four agents, four steps; what is computed stays near the length of the conversations, and does not grow with
    the square of their steps. Each step says what it would say without a cache."""
    kept = machine()
    talks = [request(f"step/{n}", "First. " * (4 + n), continues=True) for n in range(4)]
    prompts = 0
    for step in range(4):
        fresh = machine().generate(talks)
        assert kept.generate(talks) == fresh
        prompts += sum(len(codec.encode_chat(talk.messages)) for talk in talks)
        talks = [
            replace(
                talk,
                key=f"step/{n}/{step}",
                messages=(*talk.messages, Message("assistant", done.text), Message("user", f"And then, {n}?")),
            )
            for n, (talk, done) in enumerate(zip(talks, fresh, strict=True))
        ]
    assert kept.forward.computed < 0.75 * prompts


def test_a_conversation_outlasts_what_comes_between(machine: Callable[[], Machine], codec: Codec) -> None:
    """An agent weighs and drafts between two steps; its conversation is still there after that."""
    kept = machine()
    talk = request("step/a", "First. " * 20, continues=True)
    done = kept.generate([talk])[0]
    kept.score([ScoreRequest(f"weigh/{n}", f"Fact number {n} is", (" a",)) for n in range(6)])
    kept.generate([request("draft/a", "Draft it. " * 5)])
    talk = replace(talk, messages=(*talk.messages, Message("assistant", done.text), Message("user", "And?")))
    before = kept.forward.computed
    again = kept.generate([talk])[0]
    assert kept.forward.computed - before - again.completion_tokens < 40 < len(codec.encode_chat(talk.messages)) / 4


def test_what_is_written_again_is_not_read_again(machine: Callable[[], Machine]) -> None:
    """The prompt of a draft that is asked for once more, with another seed, costs one token."""
    kept = machine()
    first = [request(f"draft/{n}", f"Number {n}. " + "Say more. " * 9) for n in range(4)]
    kept.generate(first)
    before = kept.forward.computed
    found = kept.generate([replace(r, seed=1) for r in first])
    assert kept.forward.computed - before <= sum(1 + c.completion_tokens for c in found)


def test_a_grammar_with_one_sentence_needs_no_model(machine: Callable[[], Machine]) -> None:
    whole = machine()
    for continues in (False, True):
        (found,) = whole.generate([request("draft/x", grammar=FIXED, continues=continues)])
        assert found.text == "the only answer there is."
        assert found.forced_tokens == found.completion_tokens > 0
        assert (found.logprob, found.finish) == (0.0, "stop")
    assert whole.forward.computed == 0


def test_what_the_grammar_forces_is_not_asked_for(machine: Callable[[], Machine]) -> None:
    whole = machine()
    (found,) = whole.generate([request("draft/x", grammar=CHOICES)])
    chosen = found.completion_tokens - found.forced_tokens
    assert found.forced_tokens >= len("the ")
    assert whole.forward.passes <= chosen + 2


def test_nothing_is_padded_whoever_has_more_to_say(machine: Callable[[], Machine], codec: Codec) -> None:
    """What one draft is made to say goes beside what the others choose, and all leave when they have finished."""
    long = Grammar("lark", 'start: /[a-m]/ " and then there is nothing more to be said of it all " /[a-m]{30}/ "."\n')
    free = Grammar("lark", 'start: /[a-m]{60}/ "."\n')
    sampling = Sampling(1.0, 1.0, 120)
    drafts = [request(f"draft/{n}", grammar=(free, long)[n == 3], sampling=sampling) for n in range(8)]
    whole = machine()
    found = whole.generate(drafts)
    assert found == [machine().generate([draft])[0] for draft in drafts]
    assert found[3].forced_tokens > 20
    assert whole.forward.computed <= len(codec.encode_chat(drafts[0].messages)) + sum(
        c.completion_tokens for c in found
    )


def test_no_more_logits_at_once_than_memory_is_meant_for(machine: Callable[[], Machine]) -> None:
    sentence = " and so on" * (MAX_LOGITS // 12)
    requests = [ScoreRequest(f"support/{n}", f"Number {n}:", (f"{sentence} {n}.",)) for n in range(9)]
    whole = machine()
    assert whole.score(requests) == [machine().score([r])[0] for r in requests]
    assert MAX_LOGITS / 2 < whole.forward.most_wanted <= MAX_LOGITS


# -------------------------------------------------------------------------------------------------------- sampling


def test_the_seed_and_the_key_fix_what_is_drawn(machine: Callable[[], Machine]) -> None:
    def draw(key: str, seed: int) -> str:
        return machine().generate([request(key, seed=seed, sampling=Sampling(1.0, 1.0, 40))])[0].text

    assert draw("draft/a", 0) == draw("draft/a", 0)
    assert len({draw("draft/a", seed) for seed in range(5)}) > 1
    assert len({draw(f"draft/{key}", 0) for key in range(5)}) > 1


def test_at_temperature_zero_neither_matters(machine: Callable[[], Machine]) -> None:
    texts = {
        machine().generate([request(f"draft/{n}", seed=n, sampling=Sampling(0.0, 1.0, 40))])[0].text for n in range(4)
    }
    assert len(texts) == 1


def test_a_narrow_top_p_leaves_only_the_likeliest(machine: Callable[[], Machine]) -> None:
    greedy = machine().generate([request("draft/a", sampling=Sampling(0.0, 1.0, 40))])[0].text
    for seed in range(4):
        assert machine().generate([request("draft/a", seed=seed, sampling=Sampling(1.0, 1e-9, 40))])[0].text == greedy


def test_draws_follow_the_distribution(machine: Callable[[], Machine], codec: Codec, model: Model) -> None:
    """One letter of two, 600 times: the share of the first is its probability, within four standard errors."""
    grammar = Grammar("lark", 'start: "q" | "k"\n')
    requests = [request(f"draft/{n}", grammar=grammar, sampling=Sampling(1.0, 1.0, 5)) for n in range(600)]
    texts = [c.text for c in machine().generate(requests)]
    logits = model.after(codec.encode_chat(requests[0].messages))
    q, k = (float(logits[codec.encode(letter)[0]]) for letter in "qk")
    p = 1 / (1 + np.exp(k - q))
    assert 0.02 < p < 0.98, "a draw that is all but certain would prove nothing"
    assert texts.count("q") / 600 == pytest.approx(p, abs=4 * (p * (1 - p) / 600) ** 0.5)


# ------------------------------------------------------------------------------------------------------------ ends


def test_a_text_that_does_not_end_is_cut(machine: Callable[[], Machine]) -> None:
    endless = Grammar("lark", "start: /[b-y]{50}/\n")
    (found,) = machine().generate([request("draft/a", grammar=endless, sampling=Sampling(0.0, 1.0, 7))])
    assert (found.finish, found.completion_tokens) == ("length", 7)
    assert len(found.text) >= 7


def test_the_opening_is_read_and_not_repeated(machine: Callable[[], Machine], codec: Codec) -> None:
    with_opening, without = machine().generate([request("draft/a", opening="So it is that"), request("draft/a")])
    assert not with_opening.text.startswith("So")
    assert with_opening.prompt_tokens == without.prompt_tokens + len(codec.encode("So it is that"))
    assert with_opening.text != without.text


# --------------------------------------------------------------------------------------------------------- threads


def test_an_engine_works_in_one_thread_whoever_asks(codec: Codec, model: Model, machine: Callable[[], Machine]) -> None:
    """A runtime keeps working memory for every thread that calls it; and no two batches may share a cache at a time."""
    seen: set[int] = set()

    class Noting(TinyForward):
        def reserve(self, blocks: int) -> None:
            seen.add(threading.get_ident())
            super().reserve(blocks)

        def extend(self, batch: Batch) -> Any:
            seen.add(threading.get_ident())
            return super().extend(batch)

    engine = LocalEngine(EngineInfo("tiny", "1", "m", "0"), codec, lambda: Noting(model))
    requests = mixed()
    found: dict[int, Completion] = {}

    def agent(n: int) -> None:
        found[n] = engine.generate([requests[n]])[0]
        engine.score([ScoreRequest(f"weigh/{n}", f"Number {n} is", (" a",))])

    threads = [threading.Thread(target=agent, args=(n,)) for n in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(len(requests))] == machine().generate(requests)
    assert len(seen) == 1


def test_after_an_error_nothing_of_it_is_left(codec: Codec, model: Model, machine: Callable[[], Machine]) -> None:
    class Failing(TinyForward):
        fails = False

        def extend(self, batch: Batch) -> Any:
            if self.fails and self.passes > 3:
                raise MemoryError
            return super().extend(batch)

    made: list[Failing] = []
    engine = LocalEngine(
        EngineInfo("tiny", "1", "m", "0"),
        codec,
        lambda: made.append(Failing(model)) or made[-1],  # type: ignore[func-returns-value]
    )
    requests = mixed()
    engine.generate(requests[:2])
    made[0].fails = True
    with pytest.raises(MemoryError):
        engine.generate(requests)
    assert engine.generate(requests) == machine().generate(requests)
    assert len(made) == 2


def test_a_prompt_that_is_asked_twice_is_computed_once(machine: Callable[[], Machine], codec: Codec) -> None:
    texts = [f"Number {n}. " + "Say more. " * 9 for n in range(3)]
    requests = [request(f"draft/{n}", texts[n % 3], sampling=Sampling(0.9, 1.0, 1)) for n in range(12)]
    few, many = machine(), machine()
    few.generate(requests[:3])
    many.generate(requests)
    assert many.forward.computed <= few.forward.computed + 12
