"""Gaussian-process factor analysis as a baseline, through elephant (`pip install 'spikefit[gpfa]'`).

Elephant is given square roots of counts, as the method asks for, in stretches of about a second: its cost grows with
the third power of their length.

Source: Yu et al., "Gaussian-process factor analysis for low-dimensional single-trial analysis of neural population
activity" (J Neurophysiol 2009).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.baselines import Baseline, best_of
from spikefit.errors import UsageError
from spikefit.fitting.pvae.folds import Folds
from spikefit.spikes import Counts

Floats = NDArray[np.floating[Any]]

N_FACTORS = (3, 6)
STRETCH_BINS = 50
# Learning from more changes little and takes minutes; they are spread over the training bins.
MOST_STRETCHES = 150
MOST_ITERATIONS = 50
MISSING = "GPFA is left out: elephant is not installed (pip install 'spikefit[gpfa]')."


@dataclass(frozen=True, eq=False)
class GpfaFactors:
    """Posterior means of the factors of some units; (bin, factor)."""

    params: dict[str, Any]
    rows: tuple[int, ...]

    def __call__(self, counts: Counts) -> Floats:
        from elephant.gpfa import gpfa_core

        found, _ = gpfa_core.exact_inference_with_ll(_stretches(counts, self.rows), self.params, get_ll=False)
        # Stretches of one length are inferred together, yet they stand in the order in which they came.
        return np.concatenate([np.asarray(mean).T for mean in found["latent_variable"]])


def gpfa_is_installed() -> bool:
    """Whether elephant and what its GPFA needs can be imported."""
    return all(find_spec(name) is not None for name in ("elephant", "sklearn", "tqdm"))


def gpfa_baseline(folds: Folds, held_in: Sequence[int], held_out: Sequence[int]) -> Baseline:
    """Factors of the held-in units, then a Poisson regression; the number of factors is chosen on the bins set aside.

    Raises:
        UsageError: if elephant is not installed.
    """
    if not gpfa_is_installed():
        raise UsageError(MISSING)
    rows = tuple(held_in)
    wanted = [n for n in N_FACTORS if n < len(rows)] or [1]
    candidates = [({"n_factors": float(n)}, fit_gpfa(folds.fit, rows, n)) for n in wanted]
    return best_of(candidates, folds, held_out)


def fit_gpfa(counts: Counts, rows: tuple[int, ...], n_factors: int) -> GpfaFactors:
    """Fit to the counts of some units."""
    from elephant.gpfa import gpfa_core

    stretches = _stretches(counts, rows)
    # Elephant cuts to one length all the same; a unit that is silent in all of them has no variance to model.
    whole = stretches[stretches["T"] == stretches["T"].max()]
    kept = whole[np.linspace(0, len(whole) - 1, min(MOST_STRETCHES, len(whole))).round().astype(int)]
    with contextlib.redirect_stdout(io.StringIO()):  # elephant tells what it does
        params, _ = gpfa_core.fit(
            kept,
            x_dim=n_factors,
            bin_width=1e3 * counts.bin_width_s,
            em_max_iters=MOST_ITERATIONS,
            verbose=False,
        )
    return GpfaFactors(params, rows)


def _stretches(counts: Counts, rows: tuple[int, ...]) -> NDArray[Any]:
    """Square roots of counts, segments cut into stretches, as elephant's table of trials."""
    roots = []
    for start, stop in zip(counts.segment_offsets[:-1].tolist(), counts.segment_offsets[1:].tolist(), strict=True):
        part = np.sqrt(counts.counts[start:stop][:, list(rows)].astype(np.float64)).T
        roots += [part[:, first : first + STRETCH_BINS] for first in range(0, part.shape[1], STRETCH_BINS)]
    table = np.empty(len(roots), dtype=[("T", int), ("y", object)])
    for place, values in enumerate(roots):
        table[place] = (values.shape[1], values)
    return table
