"""A negative control inside the recording: couplings at lags too long for a synapse.

Every unit is explained as in the fit, by its own history and the common drive, but by the spikes that the others fired `WINDOWS_BACK`
windows before their history would begin. There is no edge to be found there. What is called all the same, by the test that is
used on the fit, shows how far that test can be trusted in this recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.moved_responses import MovedResponses
from spikefit.fitting.problem import Problem
from spikefit.fitting.surrogates import refuse_many

Array = NDArray[np.float64]

WINDOWS_BACK = 3
LEAST_SHARE = 0.5  # of the bins must have so long a past


@dataclass(frozen=True, eq=False)
class LongLags:
    """Couplings at long lags.

    Attributes:
        first_lag, last_lag: in bins.
        connectivity: summed over those lags, (post, pre).
        std_error: of that.
    """

    first_lag: int
    last_lag: int
    connectivity: Array
    std_error: Array


def fit_long_lags(problem: Problem, design: Design, fit: GLMFit, hooks: Hooks) -> LongLags:
    """Fit couplings at lags that lie `WINDOWS_BACK` windows further back.

    Args:
        problem: what was fitted.
        design: all its bins.
        fit: the optimum on them, to start from.
        hooks: progress.

    Raises:
        UsageError: if the recording's stretches are too short for so long a past, or there are too many units for it.
    """
    refuse_many(design, "a fit at long lags")
    delay = WINDOWS_BACK * design.n_lags
    ranges = problem.split.everything - np.array([0, delay])
    ranges = ranges[ranges[:, 1] > ranges[:, 0]]
    n_left = int(np.diff(ranges, axis=1).sum())
    if n_left < LEAST_SHARE * design.n_bins:
        raise UsageError(
            f"--long-lags: only {n_left} of {design.n_bins} bins have a past of {WINDOWS_BACK + 1} history windows in the same stretch "
            "of the recording.",
            hint="pass a shorter --window, choose longer stretches, or leave the control away",
        )
    hooks.stage("fitting couplings at long lags, as a control", None)
    # Everything but the others' spikes lies so much later: that is the same as their lying so much earlier.
    counts = problem.counts.to(design.device)
    inputs = None if problem.inputs is None else problem.inputs.to(design.device).roll(-delay, 1)
    delayed = Design(counts, ranges, problem.basis.to(design.device), covariates=inputs)
    moved = MovedResponses(problem, delayed, common_drive_of_others=False)
    moved.fit_reference(counts.roll(-delay, 1), fit)
    connectivity = (moved.reference @ moved.sums).cpu().numpy()
    return LongLags(delay + 1, delay + design.n_lags, connectivity, moved.error.cpu().numpy())
