"""What a trained posterior expects of the hidden units, bin by bin."""

from __future__ import annotations

import functools
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.loop import JUDGE_BATCH_BINS, JUDGE_SEED
from spikefit.fitting.memory import halving
from spikefit.fitting.objective import hard_draws
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.likelihood import posterior_mean
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.self_encoder import ForwardSelfPosterior
from spikefit.models.window_draws import WindowDraws, window_seeds

MEAN_DRAWS = 32  # behind a posterior mean that has no closed form

Array = NDArray[np.float64]


@torch.no_grad()
def posterior_counts(model: POGLMNetwork, windows: Windows) -> tuple[NDArray[np.int64], Array]:
    """Posterior expected hidden counts of a model of one restart, in the windows' scored bins; (bin,), (bin, hidden).

    Where the posterior reads its own spikes they are averages over draws, always the same ones.
    """
    bins = np.concatenate(
        [np.arange(start, start + length) for start, length in zip(windows.starts, windows.lengths, strict=True)]
    )
    ends = np.cumsum(windows.lengths)

    def look(n_windows: int) -> Array:
        rows = np.empty((len(bins), model.n_hidden))
        for which in torch.arange(len(windows)).split(n_windows):
            log_rate = _log_rates(model, windows.batch(which), which)[:, :, 0, :, model.n_lags :]
            expected = posterior_mean(log_rate, model.family, model.max_count).double().mean(0).cpu().numpy()
            for k, one in zip(which.tolist(), expected, strict=True):
                length = int(windows.lengths[k])
                rows[ends[k] - length : ends[k]] = one[:, :length].T
        return rows

    size = max(1, JUDGE_BATCH_BINS // max(1, windows.core))
    rows, _ = halving(look, size, what="the hidden units' activity")
    return bins, rows


def _log_rates(model: POGLMNetwork, batch: WindowBatch, which: Tensor) -> Tensor:
    """(draw, window, restart, hidden, bin); one draw where the rates do not depend on it."""
    features = model.posterior.features(batch.counts)
    if not isinstance(model.posterior, ForwardSelfPosterior):
        return cast(Tensor, model.posterior(features))[None]
    draws = WindowDraws(functools.partial(hard_draws, model, MEAN_DRAWS), window_seeds(JUDGE_SEED, which))
    return model.posterior.draw(features, draws)[0]
