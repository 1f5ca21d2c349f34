"""What a trained posterior expects of the hidden units, bin by bin."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.loop import JUDGE_BATCH_BINS, JUDGE_SEED
from spikefit.fitting.objective import hard_draws
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.likelihood import posterior_mean
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.self_encoder import ForwardSelfPosterior

MEAN_DRAWS = 32  # behind a posterior mean that has no closed form

Array = NDArray[np.float64]


@torch.no_grad()
def posterior_counts(model: POGLMNetwork, windows: Windows) -> tuple[NDArray[np.int64], Array]:
    """Posterior expected hidden counts of a model of one restart, in the windows' scored bins; (bin,), (bin, hidden).

    Where the posterior reads its own spikes they are averages over draws, always the same ones.
    """
    bins, rows = [], []
    generator = torch.Generator(model.basis.device).manual_seed(JUDGE_SEED)
    per_batch = max(1, JUDGE_BATCH_BINS // max(1, windows.core))
    at = 0
    for batch in windows.batches(per_batch):
        log_rate = _log_rates(model, batch, generator)[:, :, 0, :, model.n_lags :]
        expected = posterior_mean(log_rate, model.family, model.max_count).double().mean(0).cpu().numpy()
        for one in expected:
            start, length = int(windows.starts[at]), int(windows.lengths[at])
            bins.append(np.arange(start, start + length))
            rows.append(one[:, :length].T)
            at += 1
    return np.concatenate(bins), np.concatenate(rows)


def _log_rates(model: POGLMNetwork, batch: WindowBatch, generator: torch.Generator) -> Tensor:
    """(draw, window, restart, hidden, bin); one draw where the rates do not depend on it."""
    features = model.posterior.features(batch.counts)
    if not isinstance(model.posterior, ForwardSelfPosterior):
        return cast(Tensor, model.posterior(features))[None]
    return model.posterior.draw(features, hard_draws(model, MEAN_DRAWS, generator))[0]
