"""Paged attention over blocks of ours computes what the model is defined to, whatever rows share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from panel.decide import decide
from panel.dossier import load_dossier
from panel.engines import open_engine, openvino
from panel.engines.identity import OPENVINO_SETTINGS
from panel.engines.local import LocalEngine
from panel.engines.openvino import PagedForward
from panel.engines.rows import Batch, Rows
from panel.errors import SetupError
from panel.personas import load_personas
from panel.prompts import Prompts
from panel.requests import ScoreRequest, Scores
from panel.weigh import weigh
from tests.engines import tiny_llama

CASES = Path(__file__).parents[2] / "evals" / "cases"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.converted(tmp_path_factory)


@pytest.fixture
def forward(folder: Path) -> PagedForward:
    import openvino as runtime

    core = runtime.Core()
    path = folder / "openvino_model.xml"
    return PagedForward(core.compile_model(openvino._paged(core.read_model(path), path), "CPU", OPENVINO_SETTINGS))


def agree(folder: Path, texts: list[list[int]], found: list[np.ndarray]) -> None:
    for text, logits in zip(texts, found, strict=True):
        expected = tiny_llama.llama_logits(folder, text)[-len(logits) :]
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(logits, expected, atol=5e-4)


def test_rows_say_what_llama_is_defined_to(folder: Path, forward: PagedForward) -> None:
    """Beginnings that end within a block, rows of one token and of a hundred in one pass, rows that go on and that are
    gone on with."""
    dice = random.Random(1)  # noqa: S311
    words = [dice.choices(range(3, 259), k=120) for _ in range(2)]
    prompts = [words[0][:45] + words[1][:n] for n in (1, 20, 66)] + [words[1][:n] for n in (1, 32, 33, 100)]
    rows = Rows(forward)
    logits, held = rows.prefill(prompts, [1, 4, 1, 1, 2, 1, 1])
    agree(folder, prompts, logits)
    texts = prompts
    for step in range(3):
        grown = [dice.choices(range(3, 259), k=1 + (i * 7 + step * 40) % 50) for i in range(len(texts))]
        texts = [text + more for text, more in zip(texts, grown, strict=True)]
        agree(folder, texts, rows.extend([(row, more, 1) for row, more in zip(held, grown, strict=True)]))
    for row in held:
        rows.keep(row)
    again = [texts[0] + [11, 12], [*texts[1][:50], 14], texts[2]]
    agree(folder, again, rows.prefill(again, [1, 1, 3])[0])


def test_blocks_keep_what_they_hold_when_there_are_more(folder: Path, forward: PagedForward) -> None:
    rows = Rows(forward)
    text = list(range(3, 80))
    _, (row,) = rows.prefill([text], [1])
    rows._reserve(3 * len(rows._users))
    agree(folder, [[*text, 9]], rows.extend([(row, [9], 1)]))


def test_padding_goes_where_nothing_is(folder: Path, forward: PagedForward) -> None:
    """70 tokens are made 80: by a row of its own, in a block that no row is ever given."""
    batch = Batch(
        ids=np.arange(3, 73), begins=np.array([0, 30, 70]), past=np.array([0, 0]), blocks=np.array([0, 1, 2]),
        table_begins=np.array([0, 1, 3]), wanted=np.array([29, 69]),
    )  # fmt: skip
    forward.reserve(3)
    padded = forward._padded(batch)
    assert (len(padded.ids), padded.begins[-1], padded.blocks[-1]) == (80, 80, 3)
    agree(folder, [list(range(3, 33)), list(range(33, 73))], list(np.split(forward.extend(batch), 2)))


def test_large_arrays_take_no_memory_before_they_are_written_to() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    array = openvino._aligned_zeros((1 << 14, 1 << 14), np.float32)
    assert array.ctypes.data % 64 == 0
    assert array[5, 5] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000, "a gigabyte is 262,144 pages"


def test_a_model_without_a_cache_of_its_own_is_refused(tmp_path: Path) -> None:
    import openvino as runtime
    import openvino.opset13 as ops

    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    ids.output(0).set_names({"input_ids"})
    model = runtime.Model([ops.convert(ids, "f32")], [ids])
    with pytest.raises(SetupError, match="not those of a stateful decoder"):
        openvino._paged(model, tmp_path / "openvino_model.xml")


class OneByOne:
    """An engine that is asked for one thing at a time, and starts with an empty cache each time."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self.info = engine.info

    def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return [self._alone(request) for request in requests]

    def _alone(self, request: ScoreRequest) -> Scores:
        self._engine._rows = None
        return self._engine.score([request])[0]


@pytest.mark.model
@pytest.mark.parametrize("tool", ["smolagents-2", "mistral-3b"])
def test_batched_and_one_by_one_decide_alike(tool: str) -> None:
    engine = open_engine("openvino", "embedded")
    assert isinstance(engine, LocalEngine)
    dossier, prompts = load_dossier(CASES / tool), Prompts()
    for persona in load_personas():
        together, alone = (
            decide(persona, dossier.evidence, weigh(asked, prompts, persona, dossier.evidence))  # type: ignore[arg-type]
            for asked in (engine, OneByOne(engine))
        )
        assert together[0] == alone[0]
        assert together[1] == pytest.approx(alone[1], abs=0.001)
