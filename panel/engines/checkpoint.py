"""A Hugging Face checkpoint as a PyTorch model: which class, which part of it, and what its layers attend to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from panel.engines.weights import safetensors_header
from panel.errors import SetupError

#: How transformers names the parts of a model for text and images, in checkpoints old and new, and what the same
#: part is called where the text part stands alone.
_TEXT_NAMES = {
    r"^(?:model\.)?language_model\.model\.": "model.",
    r"^(?:model\.)?language_model\.lm_head\.": "lm_head.",
    r"^model\.language_model\.": "model.",
}
_HANDLED = {"full_attention", "sliding_attention"}
#: Frequencies that change with the longest text of a batch: what a row says would depend on its neighbours.
_VARYING_ROPE = {"dynamic", "longrope"}


def load_checkpoint(folder: Path, *, dtype: Any, device: str) -> Any:
    """The causal language model of a folder; of a model for text and images, the part on text alone.

    Weights are read from safetensors, never from pickles; code that a repository carries is never run.

    Raises:
        SetupError: the folder cannot be loaded, weights are missing from it, or its layers keep something other than
            keys and values (state space models, chunks), which a row cannot go on from at any of its tokens.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    for name in ("torchao", "torch.utils._pytree"):  # imported by transformers; they complain of GPUs that are not here
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        text = config.get_text_config(decoder=True)
        check_layers(text, folder)
        loader, options = _loader(config, text, folder)
        model, about = loader.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False,
            attn_implementation=attention_of(text), output_loading_info=True, **options,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise SetupError(
            f"the model cannot be loaded ({' '.join(str(error).split())[:300]})",
            path=folder,
            fix="choose a folder with config.json and safetensors weights of a causal language model",
        ) from error
    missing = sorted(about["missing_keys"])
    if missing:
        raise SetupError(
            f"the weights lack {missing[0]} ({len(missing)} in all)",
            path=folder,
            fix="fetch the model again, or choose one whose weights are those of its config.json",
        )
    try:
        return model.to(device).eval()
    except RuntimeError as error:  # no such device, or no room on it
        raise SetupError(
            f"the model cannot be brought to {device} ({' '.join(str(error).split())[:200]})",
            field="--device",
            fix="use --device cpu, or a smaller model",
        ) from error


def _loader(config: Any, text: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The class that loads the model, and what it is told beside the folder."""
    import transformers

    if text is config:
        return transformers.AutoModelForCausalLM, {}
    known = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(text) not in known:
        raise ValueError(f"{config.model_type}: its text part, {text.model_type}, is no causal language model")
    # whole model and text part may each say whether the embedding is the output matrix too; the weights know
    names = {name for path in folder.glob("*.safetensors") for name in safetensors_header(path)}
    text.tie_word_embeddings = not any(name.endswith("lm_head.weight") for name in names)
    return known[type(text)], {"config": text, "key_mapping": _TEXT_NAMES}


def check_layers(text: Any, folder: Path) -> None:
    """Raise `SetupError` unless every layer attends to keys and values, each computed from its own place alone."""
    odd = sorted(set(getattr(text, "layer_types", None) or ()) - _HANDLED)
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = [rope, *rope.values()] if isinstance(rope, dict) else []
    odd += sorted({f"{kind['rope_type']} positions" for kind in kinds
                   if isinstance(kind, dict) and kind.get("rope_type") in _VARYING_ROPE})  # fmt: skip
    if odd:
        raise SetupError(
            f"its layers have {', '.join(odd)}; only full and sliding attention with fixed positions are handled",
            path=folder / "config.json",
            fix="choose a model of the Qwen3, SmolLM3, Ministral 3, Gemma 3 or Llama 3 family, or use a server",
        )


def attention_of(text: Any) -> str:
    """`sdpa`, or `eager` where scores are capped before the softmax, which sdpa cannot do."""
    return "eager" if getattr(text, "attn_logit_softcapping", None) else "sdpa"


def windows_of(text: Any) -> dict[str, int | None]:
    """Kind of layer → how many tokens back it sees, itself counted; None for all of them."""
    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    return {kind: window if kind == "sliding_attention" else None for kind in sorted(set(kinds))}
