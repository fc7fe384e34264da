"""The embedded model, before anything is merged into it, answers as its publisher's file does on either engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from panel.engines.embedded import BASE, embedded_folder
from tests.engines import tiny_llama


@pytest.fixture(scope="module")
def real() -> Path:
    """The published weights, without our adapter; `make test` pulls them before the tests start."""
    return embedded_folder(BASE)


@pytest.mark.model
def test_the_conversion_is_faithful(real: Path) -> None:
    """−0.261 is what transformers gives for the file as it is, −0.49 what openvino-genai makes of it by itself."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(real / "tokenizer.json"))
    logits = tiny_llama.openvino_logits(real, tokenizer.encode("The capital of France is").ids)
    assert tiny_llama.log_softmax(logits[-1])[tokenizer.token_to_id("ĠParis")] == pytest.approx(-0.258, abs=0.003)


@pytest.mark.model
def test_the_tokenizer_is_openvinos(real: Path) -> None:
    import openvino_genai
    from tokenizers import Tokenizer

    ours, theirs = Tokenizer.from_file(str(real / "tokenizer.json")), openvino_genai.Tokenizer(str(real))
    for text in (
        "<|im_start|>user\nHello world, it's $18.43!<|im_end|>",
        "naïve café — “quotes” 3.14 v2.0-beta\n\n  x\tfoo",
        "don't I'll we've 12345 apples, 日本語 and 👍🏽",
    ):
        assert ours.encode(text).ids == list(theirs.encode(text, add_special_tokens=False).input_ids.data[0])


@pytest.mark.torch
@pytest.mark.model
def test_transformers_and_openvino_agree(real: Path) -> None:
    """All log-probabilities of a text of 512 tokens: near its end as near its start."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = (Path(__file__).parents[2] / "panel" / "errors.py").read_text(encoding="utf-8") * 2
    ids = AutoTokenizer.from_pretrained(real).encode(text)[:512]
    model = AutoModelForCausalLM.from_pretrained(real, dtype=torch.float32, use_safetensors=True).eval()
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1).numpy()
    ours = tiny_llama.log_softmax(tiny_llama.openvino_logits(real, ids))
    assert np.abs(theirs - ours).max() < 5e-4
    assert (theirs.argmax(-1) == ours.argmax(-1)).mean() > 0.998
