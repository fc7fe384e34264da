"""Blocks are shared, copied, evicted and grown, and every row still says what it would say by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from panel.engines import rows as module
from panel.engines.rows import MAX_CELLS, MAX_NEW, MIN_PREFIX, Row, Rows, cells, families, shared_prefixes
from tests.engines.tiny import Model, TinyForward

MODEL = Model(50)


@pytest.fixture
def forward() -> TinyForward:
    return TinyForward(MODEL)


@pytest.fixture
def rows(forward: TinyForward) -> Rows:
    return Rows(forward)


def agree(texts: Sequence[Sequence[int]], found: Sequence[np.ndarray]) -> None:
    for text, logits in zip(texts, found, strict=True):
        for back, line in enumerate(reversed(logits)):
            np.testing.assert_array_equal(line, MODEL.after(text[: len(text) - back]))


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


# --------------------------------------------------------------------------------------------------------- sharing


def test_a_shared_beginning_is_held_once(rows: Rows, forward: TinyForward) -> None:
    beginning = [7, 8, 9] * 20
    prompts = [[*beginning, n, n + 1] for n in range(10)]
    logits, held = rows.prefill(prompts, [1] * 10)
    agree(prompts, logits)
    assert forward.computed == len(beginning) + 2 * 10
    full = len(beginning) // forward.block_size
    assert len({tuple(row.blocks[:full]) for row in held}) == 1
    assert len({block for row in held for block in row.blocks}) == full + 10


def test_a_block_is_copied_before_it_is_written_to_and_only_where_another_holds_it(
    rows: Rows, forward: TinyForward
) -> None:
    """A prefix of 15 blocks of 4 tokens and 2 more: each row that goes on from it needs the last block for itself."""
    beginning = list(range(40)) + [3] * 22
    prompts = [[*beginning, 40 + n] for n in range(3)]
    _, held = rows.prefill(prompts, [1] * 3)
    assert forward.copied == 3
    found = rows.extend([(row, [n], 1) for n, row in enumerate(held)])
    assert forward.copied == 3, "what is one row's own is not copied"
    agree([[*prompt, n] for n, prompt in enumerate(prompts)], found)


def test_the_same_prompt_twice_is_two_rows(rows: Rows, forward: TinyForward) -> None:
    prompt = list(range(30))
    logits, (one, other) = rows.prefill([prompt, prompt], [1, 1])
    assert forward.computed == 30
    np.testing.assert_array_equal(logits[0], logits[1])
    agree([[*prompt, 1], [*prompt, 2, 3]], rows.extend([(one, [1], 1), (other, [2, 3], 2)]))
    agree([[*prompt, 1, 5], [*prompt, 2, 3, 4]], rows.extend([(one, [5], 1), (other, [4], 1)]))


def test_a_prompt_that_a_kept_row_holds_whole_costs_its_last_token(rows: Rows, forward: TinyForward) -> None:
    prompt = list(range(30))
    _, (row,) = rows.prefill([prompt], [1])
    rows.keep(row)
    before = forward.computed
    agree([prompt], rows.prefill([prompt], [1])[0])
    assert forward.computed == before + 1


def test_a_row_is_kept_as_far_as_it_is_of_use(rows: Rows) -> None:
    _, (row,) = rows.prefill([list(range(30))], [1])
    rows.extend([(row, [1] * 20, 1)])
    free = len(rows._free)
    rows.keep(row, 30)
    assert len(rows._free) == free + 5, "of 13 blocks of 4 tokens, 8 hold the first 30 tokens"
    assert row.tokens == list(range(30))


def test_what_another_kept_row_starts_with_is_not_kept_twice(rows: Rows) -> None:
    _, (one,) = rows.prefill([list(range(30))], [1])
    rows.keep(one)
    _, (other,) = rows.prefill([list(range(20))], [1])
    rows.keep(other)
    assert rows._kept == [one]


# -------------------------------------------------------------------------------------------------- room and pieces


def used(rows: Rows) -> int:
    return len(rows._users) - len(rows._free)


def test_kept_rows_give_way_the_one_longest_unused_first(rows: Rows) -> None:
    each = MAX_CELLS // 4 - 8
    texts = [[n] * each for n in range(4)]
    for text in texts:
        rows.keep(rows.prefill([text], [1])[1][0])
    rows.drop(rows.prefill([[*texts[0], 9]], [1])[1][0])  # the first is needed again
    size = len(rows._users)
    _, (row,) = rows.prefill([[20] * each], [1])
    assert len(rows._users) == size, "no more room than before"
    assert [kept.tokens[0] for kept in rows._kept] == [2, 3, 0]
    rows.drop(row)


def test_rows_in_use_make_it_grow_and_lose_nothing(rows: Rows, forward: TinyForward) -> None:
    texts = [[n] * (MAX_CELLS // 3) for n in range(5)]
    _, held = rows.prefill(texts, [1] * 5)
    assert len(forward.tokens) > 5 * (MAX_CELLS // 3)
    agree([[*text, 7] for text in texts], rows.extend([(row, [7], 1) for row in held]))


def test_what_is_dropped_is_free_again(rows: Rows) -> None:
    _, held = rows.prefill([[1, 2, 3] * 9 + [n] for n in range(6)], [1] * 6)
    for row in held:
        rows.drop(row)
    for row in list(rows._kept):
        rows._kept.remove(row)
        rows.drop(row)
    assert used(rows) == 0
    assert set(rows._users) == {0}


def test_long_prompts_are_read_in_pieces(rows: Rows, forward: TinyForward) -> None:
    """Logits that are asked for may lie on both sides of a cut."""
    prompts = [[n, *dice(n).choices(range(50), k=700 + 400 * n)] for n in range(3)]
    tail = [5, 1, 3]
    agree(prompts, rows.prefill(prompts, tail)[0])
    assert forward.most_new == MAX_NEW
    (row,) = rows.prefill([[9] * (MAX_NEW - 2)], [1])[1]
    more = dice(1).choices(range(50), k=MAX_NEW + 4)
    (logits,) = rows.extend([(row, more, 7)])
    agree([[9] * (MAX_NEW - 2) + more], [logits])


def test_anything_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts out of a few beginnings, rows that go on, are kept, cut or dropped, in a cache that is too small."""
    monkeypatch.setattr(module, "MAX_CELLS", 240)
    monkeypatch.setattr(module, "MAX_NEW", 50)
    for seed in range(20):
        at = dice(seed)
        rows = Rows(TinyForward(MODEL))
        beginnings = [at.choices(range(50), k=at.randrange(5, 60)) for _ in range(3)]
        going: list[tuple[Row, list[int]]] = []
        for _ in range(25):
            prompts = [
                at.choice(beginnings)[: at.randrange(1, 70)] + at.choices(range(50), k=at.randrange(1, 9))
                for _ in range(at.randrange(1, 7))
            ]
            tail = [at.randrange(1, len(prompt) + 1) for prompt in prompts]
            logits, held = rows.prefill(prompts, tail)
            agree(prompts, logits)
            going += zip(held, prompts, strict=True)
            for _ in range(2):
                more = [at.choices(range(50), k=at.randrange(1, 12)) for _ in going]
                found = rows.extend([(row, new, 1) for (row, _), new in zip(going, more, strict=True)])
                going = [(row, text + new) for (row, text), new in zip(going, more, strict=True)]
                agree([text for _, text in going], found)
            at.shuffle(going)
            while len(going) > 3:
                row, text = going.pop()
                if at.random() < 0.3:
                    rows.drop(row)
                else:
                    rows.keep(row, at.choice([None, at.randrange(1, len(text) + 1)]))
        assert sum(rows._users) == sum(len(row.blocks) for row in [*rows._kept, *(row for row, _ in going)])
        assert sorted(rows._free) == [block for block, users in enumerate(rows._users) if not users]


# -------------------------------------------------------------------------------------------------- shared prefixes


def test_prefixes_worked_by_hand() -> None:
    """Two families, of 30 and of 40 tokens, and one prompt that stands alone."""
    a, b = list(range(100, 130)), list(range(200, 240))
    prompts = [[*a, 1], [*b, 1, 2], [7] * 50, [*a, 2], [*b, 3], [*a, 3, 4]]
    assert shared_prefixes(prompts) == [a, b]
    assert families(prompts) == [([2], 0), ([0, 3, 5], 30), ([1, 4], 40)]
    assert shared_prefixes([p[: MIN_PREFIX - 1] for p in ([*a, 1], [*a, 2])]) == []
    assert shared_prefixes([[*a, 1]]) == []
    assert shared_prefixes([a, a]) == [a]
    assert families([]) == shared_prefixes([]) == []
    assert cells(sorted(prompts)) == [50, 31, 1, 2, 42, 1]
    assert cells([]) == []


def test_families_are_those_that_save_most() -> None:
    """Four facts asked about four times each, all of one kind: four prefixes of 20 tokens save 4 × 3 × 20 = 240, the
    one of 12 that all sixteen share 15 × 12 = 180."""
    kind = list(range(12))
    prompts = [[*kind, *range(100 * fact, 100 * fact + 8), 7, audience] for fact in range(4) for audience in range(4)]
    assert [sorted(family) for family, _ in families(prompts)] == [list(range(n, n + 4)) for n in (0, 4, 8, 12)]
    assert {shared for _, shared in families(prompts)} == {21}
