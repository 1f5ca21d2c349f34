"""What a fit expects in every bin that judges it: the intensity that goodness of fit is computed from.

Without hidden units the expected count follows from the recorded past. With hidden units it is the mean over draws of their counts
from the posterior, the link taken before the mean; the posterior has seen the spikes that it is then held against.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.loop import JUDGE_BATCH_BINS, JUDGE_SEED
from spikefit.fitting.memory import halving
from spikefit.fitting.objective import hard_draws
from spikefit.fitting.problem import Problem
from spikefit.fitting.sizes import HELDOUT_CORE_BINS
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.coupling import history_features
from spikefit.models.link import LINK_VALUES
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.window_draws import WindowDraws, window_seeds

N_DRAWS = 8
MOST_VALUES = 4e7  # expected counts that are kept, 160 MB of them


@dataclass(frozen=True, eq=False)
class Judged:
    """The bins that judge a fit, and what it expects there.

    Attributes:
        bins: indices into the binned recording, in order; (bin,).
        expected_count: of every visible unit, from the training bins' parameters; (bin, unit).
        constant_count: mean count of every unit in the training bins, above zero; (unit,).
        heldout: whether the fit has not seen these bins.
    """

    bins: NDArray[np.int64]
    expected_count: NDArray[np.float32]
    constant_count: NDArray[np.float64]
    heldout: bool


def judged_bins(problem: Problem, model: GLMFit | POGLMNetwork) -> Judged:
    """Expected counts on the held-out bins, or on all where none are held out; windows are left out where there are too many.

    Args:
        problem: what was fitted.
        model: fitted to the training bins; of one restart.
    """
    heldout = problem.split.n_heldout > 0
    windows = problem.windows(problem.split.heldout if heldout else problem.split.everything, HELDOUT_CORE_BINS)
    share = min(1.0, MOST_VALUES / (windows.n_bins * len(problem.counts)))
    n_kept = max(1, int(len(windows) * share))
    chosen = torch.from_numpy(np.unique(np.linspace(0, len(windows) - 1, n_kept).round().astype(np.int64)))
    starts, lengths = windows.starts[chosen.numpy()], windows.lengths[chosen.numpy()]
    bins = np.concatenate([np.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)])
    ends = np.cumsum(lengths)

    def look(n_windows: int) -> NDArray[np.float32]:
        rows = np.empty((len(bins), len(problem.counts)), dtype=np.float32)
        for places in torch.arange(len(chosen)).split(n_windows):
            which = chosen[places]
            batch = windows.batch(which)
            if isinstance(model, POGLMNetwork):
                expected = _with_hidden(model, batch, which)
            else:
                expected = _without_hidden(problem, model, windows, batch, which)
            for k, one in zip(places.tolist(), expected.float().cpu().numpy(), strict=True):
                rows[ends[k] - lengths[k] : ends[k]] = one[:, : lengths[k]].T
        return rows

    size = max(1, JUDGE_BATCH_BINS // max(1, windows.core))
    rows, _ = halving(look, size, what="what the fit expects of the bins that judge it")
    return Judged(bins, rows, problem.mean_count.numpy(), heldout)


@torch.no_grad()
def _without_hidden(problem: Problem, fit: GLMFit, windows: Windows, batch: WindowBatch, which: Tensor) -> Tensor:
    before, after = windows.context
    basis = problem.basis
    features = history_features(batch.counts[..., before - len(basis) : batch.counts.shape[-1] - after], basis)
    if problem.inputs is not None:
        features = torch.cat([features, windows.cores_of(problem.inputs, which).to(basis)], dim=1)
    drive = fit.weights.to(basis) @ features + fit.baseline.to(basis)[:, None]
    return LINK_VALUES[problem.settings.link](drive)


@torch.no_grad()
def _with_hidden(model: POGLMNetwork, batch: WindowBatch, which: Tensor) -> Tensor:
    visible_drive, posterior_drive = model.read(batch.counts, batch.covariates, batch.spikes)
    draws = WindowDraws(functools.partial(hard_draws, model, N_DRAWS), window_seeds(JUDGE_SEED, which))
    _, drawn = model.posterior.draw_at(posterior_drive, draws)
    drive = model.drive(visible_drive, drawn.counts)
    return LINK_VALUES[model.link](drive[:, :, 0, : model.n_visible]).mean(0)
