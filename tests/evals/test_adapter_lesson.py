"""Packing sequences that start alike saves time and changes nothing: not the states, and not the two losses."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from evals.adapter.lesson import BeatExample, Fact, Lesson, _common
from panel.records import PERSONA_SLUGS
from tests.engines import tiny

pytestmark = pytest.mark.torch

#: 32-bit floats: the same sums in another order.
BOUND = 1e-5


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    """A Llama of two blocks with random weights, and an adapter that is random too (a fresh one adds nothing)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tiny.write_tokenizer(tmp_path_factory.mktemp("tiny"))
    torch.manual_seed(3)
    sizes: dict[str, Any] = {
        "vocab_size": 288, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.3,
        "tie_word_embeddings": True,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
    made = Lesson(folder, rank=2, alpha=4, dropout=0.5, seed=0)
    for name, parameter in made.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    # the tiny tokenizer has a token per byte: " good" and " bad" start alike
    made._labels = [made.codec.encode(letter)[0] for letter in "gb"]
    assert made._labels[0] != made._labels[1]
    made.model.eval()  # as is, half of what the adapter adds would be left out at random
    return made


def alone(lesson: Lesson, sequence: list[int]) -> Any:
    """[tokens, width] hidden states of one sequence, by itself and by the model's own reckoning of positions."""
    import torch

    with torch.no_grad():
        return lesson._decoder(input_ids=torch.tensor([sequence]))[0][0]


def packed(lesson: Lesson, rows: list[list[list[int]]], shared: list[int] | None = None) -> Any:
    """The states and places of `rows`; of each, as much is shared as can be, unless it is said otherwise."""
    import torch

    with torch.no_grad():
        return lesson._states(rows, [_common(row) for row in rows] if shared is None else shared)


def head(lesson: Lesson) -> Any:
    return lesson._head.detach()


# Row 1: three sequences that share 1 2 3; the third is all but a prefix of the first. Row 2: two that share nothing.
# Row 3: one by itself. Row 4: two the same. So the rows are padded, and by unlike lengths.
ROWS = [
    [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 9], [1, 2, 3, 4]],
    [[20, 21], [22, 23, 24, 25, 26, 27, 28, 29, 30, 31]],
    [[40, 41, 42, 43, 44]],
    [[50, 51, 52], [50, 51, 52]],
]


def test_packed_states_are_those_of_each_sequence_alone(lesson: Lesson) -> None:
    states, places = packed(lesson, ROWS)
    # 3 shared and 4 + 1 + 1; none shared, 2 + 10; 4 shared and 1; 2 shared and 1 + 1
    assert [[len(place) for place in row] for row in places] == [[4, 1, 1], [2, 10], [1], [1, 1]]
    assert states.shape == (4, 12, 32)
    assert_as_alone(lesson, ROWS, states, places)


@pytest.mark.parametrize("shared", [[0, 0, 0, 0], [1, 0, 3, 2], [3, 0, 0, 1]])
def test_how_much_is_shared_cannot_show(lesson: Lesson, shared: list[int]) -> None:
    states, places = packed(lesson, ROWS, shared)
    lengths = [[len(s) - n for s in row] for row, n in zip(ROWS, shared, strict=True)]
    assert [[len(place) for place in row] for row in places] == lengths
    assert_as_alone(lesson, ROWS, states, places)


def assert_as_alone(lesson: Lesson, rows: Any, states: Any, places: Any) -> None:
    import torch

    for b, row in enumerate(rows):
        taken = [column for place in places[b] for column in place]
        assert len(set(taken)) == len(taken)
        for sequence, place in zip(row, places[b], strict=True):
            expected = alone(lesson, sequence)
            start = len(sequence) - len(place)
            assert torch.allclose(states[b, place], expected[start:], atol=BOUND)
            assert torch.allclose(states[b, :start], expected[:start], atol=BOUND)  # the shared prefix


def test_what_stands_beside_a_sequence_cannot_show(lesson: Lesson) -> None:
    """The states of [1, 2, 3, 9] are the same beside other rests, in another order, and in a wider row."""
    import torch

    states, places = packed(lesson, [[[1, 2, 3, 9], [1, 2, 3, 4, 5]]])
    others, elsewhere = packed(lesson, [[[1, 2, 3, 200, 201, 202], [1, 2, 3, 9]], [list(range(30)), [0, 7]]])
    assert torch.allclose(states[0, places[0][0]], others[0, elsewhere[0][1]], atol=BOUND)
    assert not torch.allclose(states[0, places[0][0]], states[0, places[0][1]][:1], atol=0.1)


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [
        ([[1, 2, 3], [1, 2, 4]], 2),
        ([[1, 2, 3], [4, 5, 6]], 0),
        ([[1, 2, 3, 4], [1, 2]], 1),  # one that is the start of another keeps a token of its own
        ([[1, 2], [1, 2]], 1),
        ([[1, 2, 3, 4]], 3),
        ([[7], [7, 8]], 0),
        ([[1, 2, 3, 9], [1, 2, 4, 9], [1, 2, 3, 9]], 2),  # alike again after a difference
    ],
)
def test_what_sequences_start_with(sequences: list[list[int]], expected: int) -> None:
    assert _common(sequences) == expected


# ---------------------------------------------------------------------------------------------------- the losses


def test_the_weighing_loss_worked_out_one_by_one(lesson: Lesson) -> None:
    """Cross-entropy of sigmoid(log-odds) against 1, 1/2 or 0, for four readers of each fact; of softmax over the
    vocabulary the odds of two words are the difference of their logits."""
    import torch

    facts = [Fact("docs", "It runs.", (1, 0, -1, 1)), Fact("pricing", "A seat costs 9 dollars.", (-1, -1, 0, 0))]
    good, bad = lesson._labels
    losses = []
    for fact in facts:
        for persona, sign in zip(lesson.personas, fact.signs, strict=True):
            prompt = f"Fact ({fact.kind}): {fact.text}\nFor {persona.audience}, this is"
            logits = head(lesson) @ alone(lesson, lesson.codec.encode(prompt))[-1]
            p = torch.sigmoid(logits[good] - logits[bad]).item()
            target = (sign + 1) / 2
            losses.append(-(target * torch.tensor(p).log() + (1 - target) * torch.tensor(1 - p).log()).item())
    assert [persona.slug for persona in lesson.personas] == list(PERSONA_SLUGS)
    assert lesson.weighing_loss(facts).item() == pytest.approx(sum(losses) / 8, abs=1e-4)


EXAMPLES = [
    BeatExample("builder", [1, 2, 3, 4], [60, 61, 62]),
    BeatExample("builder", [1, 2, 3, 5, 6], [63]),
    BeatExample("builder", [1, 2, 7], [60, 64, 65, 66, 2]),
]


@pytest.mark.parametrize(
    "examples",
    [
        EXAMPLES,
        EXAMPLES[:2],
        EXAMPLES[:1],  # the last batch of a persona may hold one
        [EXAMPLES[0], BeatExample("builder", [1, 2, 3, 4], [60, 70])],  # two answers to one prompt
    ],
    ids=["three", "two", "one", "one prompt"],
)
def test_the_drafting_loss_worked_out_one_by_one(lesson: Lesson, examples: list[BeatExample]) -> None:
    """The mean over all tokens of the answers, each after its own prompt and the answer so far."""
    import torch

    losses = []
    for example in examples:
        states = alone(lesson, example.prompt + example.answer)
        chances = (states @ head(lesson).T).log_softmax(-1)
        first = len(example.prompt) - 1
        losses += [-chances[first + n, token].item() for n, token in enumerate(example.answer)]
    assert len(losses) == sum(len(example.answer) for example in examples)
    with torch.no_grad():
        assert lesson.drafting_loss(examples).item() == pytest.approx(sum(losses) / len(losses), abs=1e-4)


def test_only_the_adapter_learns(lesson: Lesson) -> None:
    loss = lesson.weighing_loss([Fact("docs", "It runs.", (1, 1, -1, 0))]) + lesson.drafting_loss(EXAMPLES)
    loss.backward()
    moved = {name for name, parameter in lesson.model.named_parameters() if parameter.grad is not None}
    lesson.model.zero_grad()
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
    parts += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    assert moved == {
        f"base_model.model.model.layers.{n}.{part}.lora_{factor}.default.weight"
        for n, part, factor in itertools.product(range(2), parts, "AB")
    }
