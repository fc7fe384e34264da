"""Any Hugging Face causal model through PyTorch, on a CPU or a GPU (the `torch` extra)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from panel.engines.checkpoint import load_checkpoint, windows_of
from panel.engines.codec import Codec
from panel.engines.hub import ResolvedModel
from panel.engines.identity import transformers_identity
from panel.engines.local import LocalEngine, give_memory_back
from panel.engines.precision import QUANTISED
from panel.engines.rows import Batch, Floats, Ints

#: Tokens of padding that cost less than one pass more: a pass reads all weights, whatever it computes.
SMALL = 48


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
    """`Forward` over any causal model of transformers, whatever its attention.

    Keys and values stay in slots (torch_blocks.py), from which each layer gathers those of the rows of a pass: that
    costs what transformers' own cache costs, which is copied whole with each token. Masks are made here, from
    positions, and a layer with a window is given all of the text.
    """

    block_size = 16

    def __init__(self, model: Any) -> None:
        from panel.engines.torch_blocks import BlockCache

        self._model = model
        self._windows = windows_of(model.config)
        self._eager = model.config._attn_implementation == "eager"
        self._cache = BlockCache(model.config.num_hidden_layers)

    def reserve(self, blocks: int) -> None:
        self._cache.reserve(blocks * self.block_size)

    def copy(self, sources: Ints, targets: Ints) -> None:
        import torch

        within = np.arange(self.block_size)
        slots = ((blocks[:, None] * self.block_size + within).reshape(-1) for blocks in (sources, targets))
        with torch.inference_mode():
            self._cache.copy(*map(self._there, slots))

    def extend(self, batch: Batch) -> Floats:
        row_of = np.searchsorted(batch.begins, batch.wanted, side="right") - 1
        found: list[tuple[Ints, Floats]] = []
        for rows in alike(np.diff(batch.begins)):
            places = np.flatnonzero(np.isin(row_of, rows))
            found.append((places, self._pass(batch, rows, row_of[places], batch.wanted[places])))
        order = np.argsort(np.concatenate([places for places, _ in found]))
        logits: Floats = np.concatenate([some for _, some in found])[order]
        return logits

    def _pass(self, batch: Batch, rows: Ints, row_of: Ints, wanted: Ints) -> Floats:
        """Compute some rows of a batch, padded to the longest of them; `row_of` says whose token each wanted one is."""
        import torch

        past, lengths = batch.past[rows], np.diff(batch.begins)[rows]
        within = np.arange(lengths.max())
        real = within < lengths[:, None]
        ids = np.zeros(real.shape, np.int64)
        ids[real] = np.concatenate([batch.ids[batch.begins[row] : batch.begins[row + 1]] for row in rows])
        positions = past[:, None] + np.minimum(within, lengths[:, None] - 1)
        slots = self._slots(batch, rows, int((past + lengths).max()))
        columns, places = np.unique(wanted - batch.begins[row_of], return_inverse=True)
        with torch.inference_mode():
            at = self._there(positions)
            write = np.take_along_axis(slots, positions, axis=1)[real]
            self._cache.aim(self._there(slots), self._there(write), self._there(real))
            output = self._model(
                input_ids=self._there(ids),
                attention_mask=self._masks(at, slots.shape[1]),
                position_ids=at,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=self._there(columns if len(columns) else np.zeros(1, np.int64)),
            )
        chosen = output.logits[self._there(np.searchsorted(rows, row_of)), self._there(places)]
        logits: Floats = chosen.float().cpu().numpy()
        return logits

    def _there(self, array: npt.NDArray[Any]) -> Any:
        import torch

        return torch.from_numpy(array).to(self._model.device)

    def _slots(self, batch: Batch, rows: Ints, longest: int) -> Ints:
        """[rows, longest] the slot of each position of some rows; any slot beyond a row's end."""
        at = np.arange(longest)
        slots = np.zeros((len(rows), longest), np.int64)
        for n, row in enumerate(rows):
            table = batch.blocks[batch.table_begins[row] : batch.table_begins[row + 1]]
            slots[n] = table[np.minimum(at // self.block_size, len(table) - 1)] * self.block_size + at % self.block_size
        return slots

    def _masks(self, positions: Any, longest: int) -> Any:
        """[B, 1, T, longest] for each kind of layer, from the positions [B, T] of the new tokens; the mask alone where
        all layers are of one kind."""
        import torch

        distance = positions[:, None, :, None] - torch.arange(longest, device=positions.device)
        masks = {
            kind: self._additive((distance >= 0) if window is None else (distance >= 0) & (distance < window))
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


def alike(lengths: Ints) -> list[Ints]:
    """Divide rows into passes of like length, so that no more than a quarter of one is padding, or `SMALL` tokens."""
    parts: list[list[int]] = []
    real = 0
    for row in np.argsort(lengths, kind="stable"):
        length = int(lengths[row])
        if parts and (len(parts[-1]) + 1) * length - (real + length) <= max(SMALL, (real + length) // 3):
            parts[-1].append(int(row))
            real += length
        else:
            parts.append([int(row)])
            real = length
    return [np.array(sorted(part)) for part in parts]
