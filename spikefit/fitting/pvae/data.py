"""Counts as windows for a Poisson VAE: with true context, and with a row that says which bins are inside the segment."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.pvae.network import PVAE
from spikefit.spikes import Counts

CORE_BINS = 250  # explained bins of a window; the context beside it is what is computed in vain


def windows_of(counts: Counts, model: PVAE, *, core_bins: int = CORE_BINS) -> Windows:
    """All bins of some counts as windows for a model, on its device.

    The last row of a batch is 1 inside the window's segment and 0 outside, where counts are 0, too.
    """
    values = counts.counts.T
    if values.dtype != np.uint8:
        values = values.astype(np.int16 if values.max(initial=0) < 2**15 else np.int32)
    rows = np.concatenate([values, np.ones((1, counts.n_bins), dtype=values.dtype)])
    offsets = counts.segment_offsets
    return Windows(
        torch.from_numpy(rows).to(model.log_prior.device),
        offsets,
        np.stack([offsets[:-1], offsets[1:]], axis=1),
        context=(model.reach, model.reach),
        core_bins=core_bins,
    )


def parts(batch: WindowBatch) -> tuple[Float[Tensor, "window unit padded"], Float[Tensor, "window 1 padded"]]:
    """Counts of a batch, and which bins are inside the segment."""
    return batch.counts[:, :-1], batch.counts[:, -1:]
