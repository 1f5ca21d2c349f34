"""How stable hidden units are over the restarts (and folds) of one fit.

A restart that falls behind is left behind, but not forgotten: what it had found by then is matched to the hidden units of the
network that is reported (`spikefit.alignment`). It may hold more hidden units than asked for, so a unit that it lacks it really lacks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spikefit.alignment import HiddenSet, Stability, stability
from spikefit.fitting.posterior import posterior_counts
from spikefit.fitting.problem import Problem
from spikefit.fitting.pruning import keep_restarts
from spikefit.fitting.sizes import HELDOUT_CORE_BINS
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork


def stability_of(problem: Problem, model: POGLMNetwork, others: Sequence[POGLMNetwork]) -> Stability | None:
    """Hold the hidden units of a model against those of other fits, on the held-out bins where there are some.

    Args:
        problem: what was fitted.
        model: the network that is reported; one restart.
        others: other fits, each of one restart or several.

    Returns:
        None without other fits.
    """
    if not others:
        return None
    heldout = problem.split.n_heldout > 0
    windows = problem.windows(problem.split.heldout if heldout else problem.split.everything, HELDOUT_CORE_BINS)
    single = [keep_restarts(other, torch.tensor([restart])) for other in others for restart in range(other.n_restarts)]
    return stability(_hidden_set(model, windows), [_hidden_set(other, windows) for other in single])


@torch.no_grad()
def _hidden_set(model: POGLMNetwork, windows: Windows) -> HiddenSet:
    _, expected = posterior_counts(model, windows)
    filters: Tensor = model.coupling_filters()[0, : model.n_visible, model.n_visible :]
    return HiddenSet(filters.transpose(0, 1).double().cpu().numpy(), expected.T)
