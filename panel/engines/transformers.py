"""Any Hugging Face causal model through PyTorch, on a CPU or a GPU (the `torch` extra)."""

from __future__ import annotations

from typing import Any

import numpy as np

from panel.engines.codec import Codec
from panel.engines.hub import ResolvedModel
from panel.engines.identity import transformers_identity
from panel.engines.local import LocalEngine, give_memory_back
from panel.engines.rows import Floats, Ints
from panel.errors import SetupError


def open_transformers(resolved: ResolvedModel) -> LocalEngine:
    """Load the safetensors checkpoint of a model's folder: 32-bit floats on a CPU, bfloat16 on a GPU.

    Pickled weights are never read.

    Raises:
        SetupError: torch is not installed, or the folder cannot be loaded.
    """
    identity = transformers_identity(resolved)
    import torch
    import transformers

    give_memory_back()
    folder = resolved.folder
    codec = Codec(folder)
    device = identity.settings["device"]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the model cannot be loaded ({error})",
            path=folder,
            fix="choose a folder with config.json and safetensors weights",
        ) from error
    model.to(device).eval()
    return LocalEngine(identity.info, codec, lambda: _TorchForward(model))


class _TorchForward:
    """`Forward` over a `DynamicCache`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None

    def reset(self) -> None:
        self._cache = None

    def extend(self, parents: Ints, ids: Ints, mask: Ints, positions: Ints, wanted: Ints) -> Floats:
        import torch
        from transformers import DynamicCache

        device = self._model.device
        if self._cache is None:
            self._cache = DynamicCache(config=self._model.config)
        else:
            self._cache.batch_select_indices(torch.from_numpy(parents).to(device))
        width = ids.shape[1]
        columns, places = np.unique(wanted % width, return_inverse=True)
        with torch.inference_mode():
            output = self._model(
                input_ids=torch.from_numpy(ids).to(device),
                attention_mask=torch.from_numpy(mask).to(device),
                position_ids=torch.from_numpy(positions).to(device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=torch.from_numpy(columns).to(device),
            )
        chosen = output.logits[torch.from_numpy(wanted // width).to(device), torch.from_numpy(places).to(device)]
        logits: Floats = chosen.float().cpu().numpy()
        return logits
