"""Five families through the engine and the whole panel, on small random checkpoints of their architectures."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import families
from evals.families import FAMILIES
from panel.engines import identity, open_engine
from panel.engines.codec import Codec
from panel.engines.rows import Rows
from panel.errors import SetupError
from panel.requests import GenerateRequest, Grammar, Message, Sampling, ScoreRequest

pytestmark = pytest.mark.torch

NAMES = list(FAMILIES)
Built = Callable[[str], Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The folder of a family's checkpoint, made once."""
    root = tmp_path_factory.mktemp("families")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            families.build(FAMILIES[name], root / name)
        return root / name

    return folder


def plain_model(folder: Path) -> Any:
    """The checkpoint as transformers itself loads it."""
    import torch
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def plain_logits(model: Any, ids: Sequence[int]) -> Any:
    """[T, V] logits of one sequence in one pass: no cache, no batch, transformers' own masks."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor([list(ids)]), use_cache=False).logits[0].numpy()


def copy(folder: Path, target: Path, **changes: Any) -> Path:
    """The checkpoint with fields of its JSON files changed: `tokenizer_config={"chat_template": …}`."""
    shutil.copytree(folder, target)
    for name, fields in changes.items():
        path = target / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return target


# -------------------------------------------------------------------------------- batches of rows, as a plain pass


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_any_length_say_what_a_plain_pass_says(built: Built, name: str) -> None:
    """Prompts that share beginnings and that do not, rows that go on by unlike steps, and the same ones once more."""
    from panel.engines.checkpoint import load_checkpoint
    from panel.engines.transformers import TorchForward

    folder = built(name)
    model = load_checkpoint(folder, dtype=plain_model(folder).dtype, device="cpu")
    theirs = plain_model(folder)
    dice = random.Random(3)  # noqa: S311
    vocabulary = min(model.config.vocab_size, 2000)
    words = [[dice.randrange(10, vocabulary) for _ in range(90)] for _ in range(3)]
    prompts = [words[0][:40] + words[1][:n] for n in (3, 17, 29)] + [words[2][:n] for n in (9, 70)]
    rows = Rows(TorchForward(model))

    def agree(texts: list[list[int]], found: list[Any]) -> None:
        for text, logits in zip(texts, found, strict=True):
            expected = plain_logits(theirs, text)[-len(logits) :]
            assert np.abs(expected).max() > 0.5, "logits that are all but zero would prove nothing"
            np.testing.assert_allclose(logits, expected, atol=2e-4, rtol=2e-4)

    logits, held = rows.prefill(prompts, [1, 4, 1, 2, 1])
    agree(prompts, logits)
    texts = prompts
    for step in range(3):
        grown = [dice.choices(range(10, vocabulary), k=1 + (i * 7 + step * 50) % 61) for i in range(5)]
        texts = [text + more for text, more in zip(texts, grown, strict=True)]
        agree(texts, rows.extend([(row, more, 1 + step % 2) for row, more in zip(held, grown, strict=True)]))
    for row in held:
        rows.keep(row)
    again = [*texts[:3], texts[0] + [11, 12, 13], [*texts[1][:50], 14]]
    agree(again, rows.prefill(again, [1] * 5)[0])


@pytest.mark.parametrize("name", NAMES)
def test_scores_and_drafts_are_those_of_a_plain_pass(built: Built, name: str) -> None:
    engine, theirs = open_engine("transformers", str(built(name))), plain_model(built(name))
    codec: Codec = engine.codec  # type: ignore[attr-defined]
    facts = ["It runs.", "It runs in a sandbox, on every core of the machine, and it is free.", "Nobody audits it."]
    prompts = [f"Fact: {fact}\nFor developers, this is" for fact in (*facts, "The manual is long. " * 9)]
    requests = [ScoreRequest(f"weigh/{i}", p, (" good", " bad", " a curious thing")) for i, p in enumerate(prompts)]
    for request, scores in zip(requests, engine.score(requests), strict=True):
        for candidate, found in zip(request.candidates, scores.logprobs, strict=True):
            prompt, rest = codec.encode_prompt(request.prompt), codec.encode(candidate)
            logits = plain_logits(theirs, prompt + rest).astype(np.float64)
            logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            assert found == pytest.approx(sum(logprobs[len(prompt) - 1 + i, t] for i, t in enumerate(rest)), abs=1e-3)
    talk = (Message("system", "You are brief."), Message("user", "Say what it is."))
    drafts = [
        GenerateRequest(f"draft/{n}", talk, Grammar("words", '{"terms": ["WebAssembly 2"], "max_words": 8}'),
                        Sampling(0.7 * (n % 2), 0.95, 40), seed=n, opening="It is good that" * (n % 3))
        for n in range(6)
    ]  # fmt: skip
    together = engine.generate(drafts)
    assert [c.text for c in together] == [engine.generate([d])[0].text for d in drafts]
    for done in together:
        assert done.finish == "stop"
        assert done.text.startswith(" ")
        assert done.text.endswith(".")
        assert set(done.text.rstrip(".").replace(",", "").split()) <= engine.ordinary_words() | {"WebAssembly", "2"}


# ----------------------------------------------------------------------------------------------------- whole panel


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_panel(built: Built, name: str, tmp_path: Path, dossier: Any, other_dossier: Any) -> None:
    """Random weights write nonsense: what the checks refuse is quoted instead, so every review is scored."""
    from panel import run
    from panel.personas import load_personas
    from panel.prompts import Prompts
    from panel.records import Comparison
    from panel.render import to_json

    engine = open_engine("transformers", str(built(name)))
    outcome = run.compare([dossier, other_dossier], load_personas(), Prompts(), engine, out=tmp_path)
    record = Comparison.model_validate_json(to_json(outcome.record))
    reviews = [review for tool in record.tools for review in tool.reviews]
    assert len(reviews) == 8
    for review in reviews:
        assert review.status == "scored", review.reason
        assert review.provenance.model == name
        assert review.provenance.engine == "transformers"
        assert {p.evidence for p in review.pulls} == {f"E{n}" for n in range(1, 11)}
        assert review.quote == " ".join(beat.text for beat in review.beats)
        assert all(beat.cites or beat.silent for beat in review.beats)
    assert sum(any(beat.cites for beat in review.beats) for review in reviews) >= 4
    assert all(path.is_file() for path in outcome.pages.values())


# ------------------------------------------------------------------------------------------- what is in a checkpoint


@pytest.mark.parametrize("name", ["gemma3", "ministral3"])
def test_of_a_model_for_images_the_text_part_is_loaded(name: str, tmp_path: Path) -> None:
    """And nothing else: it says what the whole model says of text, and holds no weight of the eyes."""
    import torch
    import transformers

    from panel.engines.checkpoint import load_checkpoint

    folder = families.build_with_images(FAMILIES[name], tmp_path / name)
    whole = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    part = load_checkpoint(folder, dtype=torch.float32, device="cpu")
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())
    ids = list(range(20, 60))
    np.testing.assert_allclose(plain_logits(part, ids), plain_logits(whole, ids), atol=1e-5)
    engine = open_engine("transformers", str(folder))
    (scores,) = engine.score([ScoreRequest("weigh/0", "It is", (" good", " bad"))])
    assert np.isfinite(scores.logprobs).all()


def test_weights_that_are_missing_are_not_made_up(built: Built, tmp_path: Path) -> None:
    """transformers would draw them at random, and say so in a warning."""
    from safetensors.numpy import load_file, save_file

    folder = copy(built("llama3"), tmp_path / "holed")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SetupError, match=r"the weights lack model\.layers\.2\.mlp\.up_proj\.weight \(1 in all\)"):
        open_engine("transformers", str(folder))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("qwen3", {"layer_types": ["full_attention", "linear_attention"] * 2}, "linear_attention"),
        (
            "llama3",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "dynamic positions",
        ),
    ],
)
def test_what_a_batch_of_rows_would_get_wrong_is_refused(
    built: Built, tmp_path: Path, name: str, change: dict[str, Any], says: str
) -> None:
    folder = copy(built(name), tmp_path / "odd", config=change)
    with pytest.raises(SetupError, match=says):
        open_engine("transformers", str(folder))


def test_capped_scores_are_capped(built: Built, tmp_path: Path) -> None:
    """sdpa cannot cap scores before the softmax (Gemma 2 does): plain attention can, and its masks are added."""
    import torch
    import transformers

    from panel.engines.checkpoint import load_checkpoint
    from panel.engines.transformers import TorchForward

    folder = tmp_path / "capped"
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        **families.TINY, vocab_size=300, sliding_window=16, attn_logit_softcapping=0.5, initializer_range=0.3,
        query_pre_attn_scalar=16, layer_types=["sliding_attention", "full_attention"] * 2,
    )  # fmt: skip
    transformers.Gemma2ForCausalLM(config).save_pretrained(folder)
    model, theirs = load_checkpoint(folder, dtype=torch.float32, device="cpu"), plain_model(folder)
    assert model.config._attn_implementation == theirs.config._attn_implementation == "eager"
    prompts = [list(range(20, 60)), list(range(30, 45))]
    rows = Rows(TorchForward(model))
    for prompt, logits in zip(prompts, rows.prefill(prompts, [1, 1])[0], strict=True):
        np.testing.assert_allclose(logits, plain_logits(theirs, prompt)[-1:], atol=2e-4)
    copy(folder, tmp_path / "uncapped", config={"attn_logit_softcapping": 50.0})
    uncapped = plain_logits(plain_model(tmp_path / "uncapped"), prompts[0])
    assert np.abs(uncapped - plain_logits(theirs, prompts[0])).max() > 0.01


def test_pickled_weights_are_refused(built: Built, tmp_path: Path) -> None:
    folder = copy(built("llama3"), tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(SetupError, match="pickled weights only"):
        open_engine("transformers", str(folder))


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_openvino_says_what_to_do(built: Built, name: str) -> None:
    with pytest.raises(SetupError, match=r"holds no OpenVINO model.*--engine transformers"):
        open_engine("openvino", str(built(name)))


# ------------------------------------------------------------------------------------------- precision and device


@pytest.mark.parametrize("precision", ["bfloat16", "int8", "int4"])
def test_rounded_weights_are_another_model(built: Built, precision: str) -> None:
    if precision in ("int8", "int4"):
        pytest.importorskip("torchao")
    exact = open_engine("transformers", str(built("qwen3")))
    rounded = open_engine("transformers", str(built("qwen3")), precision=precision)
    assert rounded.info.model == f"qwen3 ({precision})"
    assert rounded.info.model_sha256 != exact.info.model_sha256
    request = ScoreRequest("weigh/0", "Fact: it runs on every core.\nThis is", (" good", " bad", " a", " the"))
    ours, theirs = (np.array(e.score([request])[0].logprobs) for e in (rounded, exact))
    assert 1e-5 < np.abs(ours - theirs).max() < 2.0


@pytest.mark.parametrize("name", NAMES)
def test_int8_runs_for_every_family(built: Built, name: str) -> None:
    pytest.importorskip("torchao")
    engine = open_engine("transformers", str(built(name)), precision="int8")
    (done,) = engine.generate(
        [GenerateRequest("draft/0", (Message("user", "Say it."),), Grammar("words", '{"terms": [], "max_words": 4}'))]
    )
    assert done.text.endswith(".")


def test_on_a_gpu_it_is_bfloat16_there(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU here: what would be asked of PyTorch is looked at, with the weights left where they are."""
    import torch

    asked: list[Any] = []
    monkeypatch.setattr(identity, "torch_device", lambda _: "cuda")
    real = torch.nn.Module.to
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, where: asked.append(where) or self)
    engine = open_engine("transformers", str(built("llama3")))
    assert asked == ["cuda"]
    assert engine.info.model == "llama3 (bfloat16, cuda)"
    monkeypatch.setattr(torch.nn.Module, "to", real)
    (scores,) = engine.score([ScoreRequest("weigh/0", "It is", (" good", " bad"))])
    assert np.isfinite(scores.logprobs).all()


def test_without_a_gpu_none_can_be_asked_for(built: Built) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SetupError, match=r"PyTorch sees no GPU here.*--device cpu"):
        open_engine("transformers", str(built("llama3")), device="cuda")
