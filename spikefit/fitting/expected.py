"""What a fit expects in every bin that judges it: the intensity that goodness of fit is computed from.

Without hidden units the expected count follows from the recorded past. With hidden units it is the mean over draws of their counts
from the posterior, the link taken before the mean; the posterior has seen the spikes that it is then held against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.glm import GLMFit
from spikefit.fitting.loop import JUDGE_BATCH_BINS, JUDGE_SEED
from spikefit.fitting.objective import hard_draws
from spikefit.fitting.problem import HELDOUT_CORE_BINS, Problem
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.coupling import history_features
from spikefit.models.link import LINK_VALUES
from spikefit.models.poglm import POGLMNetwork

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
    generator = torch.Generator(problem.device).manual_seed(JUDGE_SEED)
    bins, rows = [], []
    for which in chosen.split(max(1, JUDGE_BATCH_BINS // max(1, windows.core))):
        batch = windows.batch(which)
        if isinstance(model, POGLMNetwork):
            expected = _with_hidden(model, batch, generator)
        else:
            expected = _without_hidden(problem, model, windows, batch, which)
        for k, one in zip(which.tolist(), expected.float().cpu().numpy(), strict=True):
            start, length = int(windows.starts[k]), int(windows.lengths[k])
            bins.append(np.arange(start, start + length))
            rows.append(one[:, :length].T)
    return Judged(np.concatenate(bins), np.concatenate(rows), problem.mean_count.numpy(), heldout)


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
def _with_hidden(model: POGLMNetwork, batch: WindowBatch, generator: torch.Generator) -> Tensor:
    _, after = model.context
    # As in the bound: bins start one window ahead of the core, because hidden spikes there act on the core.
    history = history_features(batch.counts[..., : batch.counts.shape[-1] - after], model.basis)
    features = model.posterior.features(batch.counts, history)
    _, draws = model.posterior.draw(features, hard_draws(model, N_DRAWS, generator))
    drive = model.hidden_drive(draws.counts) + model.visible_drive(model.in_core(history), batch.covariates)
    return LINK_VALUES[model.link](drive[:, :, 0, : model.n_visible]).mean(0)
