"""How much a fit is made of: bins of a window, windows of a step, hidden units to start with, and what memory depends on."""

from __future__ import annotations

import math

import numpy as np

from spikefit.fitting.how_many import UNITS_PER_HIDDEN
from spikefit.fitting.memory import FitSize
from spikefit.fitting.settings import FitSettings
from spikefit.spikes import Counts

CORE_BINS = 500  # scored bins of a training window; the context beside it is what is wasted
HELDOUT_CORE_BINS = 2000
FEWEST_BATCH_BINS, MOST_BATCH_BINS = 2000, 16_000
STEPS_PER_PASS = 20


def fit_size(counts: Counts, settings: FitSettings, basis: tuple[int, ...]) -> FitSize:
    """What the memory of a fit depends on; `basis` is the shape of the basis, (lag, basis)."""
    # What auto will try is not known yet, only that it is no more than this.
    n_hidden = counts.n_units // UNITS_PER_HIDDEN if settings.hidden_auto else max(settings.hidden)
    return FitSize(
        n_units=counts.n_units,
        n_bins=counts.n_bins,
        n_spikes=int(counts.counts.sum(dtype=np.int64)),
        count_bytes=counts.counts.itemsize,
        n_lags=basis[0],
        n_functions=basis[1],
        n_traces=len(settings.common_drive_s) + (0 if counts.covariates is None else counts.covariates.n_columns),
        n_hidden=n_start(n_hidden) if n_hidden else 0,
        max_count=settings.max_count,
        n_restarts=settings.restarts,
        n_draws=settings.n_draws,
        core_bins=CORE_BINS,
        batch_windows=batch_windows(counts.n_bins, CORE_BINS),
        lost=counts.lost is not None,
    )


def batch_windows(n_train: int, core: int) -> int:
    """Training windows of one step: a pass takes about twenty steps, within bounds."""
    batch_bins = min(max(n_train // STEPS_PER_PASS, FEWEST_BATCH_BINS), MOST_BATCH_BINS)
    return max(1, batch_bins // max(1, core))


def n_start(n_hidden: int) -> int:
    """Hidden units to start with, so that `n_hidden` true ones are found."""
    return n_hidden + max(2, math.ceil(0.6 * n_hidden))
