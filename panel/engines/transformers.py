"""Any Hugging Face causal model through PyTorch, on a CPU or a GPU (the `torch` extra)."""

from __future__ import annotations

from typing import Any

import numpy as np

from panel.engines.checkpoint import load_checkpoint, windows_of
from panel.engines.codec import Codec
from panel.engines.hub import ResolvedModel
from panel.engines.identity import transformers_identity
from panel.engines.local import LocalEngine, give_memory_back
from panel.engines.precision import QUANTISED
from panel.engines.rows import Floats, Ints


def open_transformers(resolved: ResolvedModel, *, precision: str = "auto", device: str = "auto") -> LocalEngine:
    """Load the safetensors checkpoint of a model's folder.

    Args:
        precision: `auto` is 32-bit floats on a CPU and bfloat16 on a GPU; see `panel.engines.precision`.
        device: `auto` is a GPU where PyTorch sees one.

    Raises:
        SetupError: torch is not installed, the folder cannot be loaded, or the machine has no such device.
    """
    identity = transformers_identity(resolved, precision, device)
    place, chosen = identity.settings["device"], identity.settings["precision"]
    import torch

    give_memory_back()
    codec = Codec(resolved.folder)
    dtype = torch.bfloat16 if chosen == "bfloat16" else torch.float32
    model = load_checkpoint(resolved.folder, dtype=dtype, device=place)
    if chosen in QUANTISED:
        from panel.engines.quantise_torch import quantise

        quantise(model, chosen)
    return LocalEngine(identity.info, codec, lambda: TorchForward(model))


class TorchForward:
    """`Forward` over keys and values that every layer keeps whole.

    transformers' own masks and sliding caches count slots, and slots of ours may be holes: a window would be too
    short by the holes in it. So the masks are made here, from positions, and a layer with a window keeps all.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._windows = windows_of(model.config)
        self._eager = model.config._attn_implementation == "eager"
        self.reset()

    def reset(self) -> None:
        self._cache: Any = None
        self._positions: Any = None  # [B, S], of each slot

    def extend(self, parents: Ints, ids: Ints, mask: Ints, positions: Ints, wanted: Ints) -> Floats:
        import torch
        from transformers import DynamicCache

        device = self._model.device
        fresh = torch.from_numpy(positions).to(device)
        if self._cache is None:
            self._cache, self._positions = DynamicCache(), fresh
        else:
            chosen_rows = torch.from_numpy(parents).to(device)
            self._cache.batch_select_indices(chosen_rows)
            self._positions = torch.cat([self._positions[chosen_rows], fresh], dim=1)
        width = ids.shape[1]
        columns, places = np.unique(wanted % width, return_inverse=True)
        with torch.inference_mode():
            output = self._model(
                input_ids=torch.from_numpy(ids).to(device),
                attention_mask=self._masks(torch.from_numpy(mask).to(device).bool(), fresh),
                position_ids=fresh,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=torch.from_numpy(columns).to(device),
            )
        chosen = output.logits[torch.from_numpy(wanted // width).to(device), torch.from_numpy(places).to(device)]
        logits: Floats = chosen.float().cpu().numpy()
        return logits

    def _masks(self, seen: Any, fresh: Any) -> Any:
        """[B, 1, T, S + T] for each kind of layer, from the slots of a row [B, S + T] and its new positions [B, T];
        the mask alone where all layers are of one kind."""
        import torch

        slots, new = seen.shape[1], fresh.shape[1]
        order = torch.arange(slots, device=seen.device)
        causal = order[None, :] <= order[slots - new :, None]
        full = (seen[:, None, :] & causal[None])[:, None]
        distance = fresh[:, :, None] - self._positions[:, None, :]
        masks = {
            kind: self._additive(full if window is None else full & (distance < window)[:, None])
            for kind, window in self._windows.items()
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _additive(self, mask: Any) -> Any:
        """What the model's attention takes: sdpa a mask of booleans, eager one that is added to the scores."""
        import torch

        if not self._eager:
            return mask
        dtype = self._model.dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
