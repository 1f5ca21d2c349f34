"""Co-smoothing: how well the rates of some neurons are predicted from the spikes of others, in bits per spike.

As the Neural Latents Benchmark defines it: for the held-out neurons in the scored bins,

    bits per spike = ( Σ log p(x | predicted rate) − Σ log p(x | mean rate) ) / ( log 2 · number of spikes )

with the Poisson law, and with each neuron's mean rate taken over the scored bins themselves. 0 is as good as knowing
every neuron's mean; a prediction may be worse than that.

Source: Pei, Ye et al., "Neural Latents Benchmark '21" (NeurIPS 2021 datasets and benchmarks), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.spikes import Counts

Floats = NDArray[np.floating[Any]]

# A prediction of no spikes at all would be infinitely surprised by one; the benchmark holds rates above this, too.
LEAST_EXPECTED_COUNT = 1e-9


@dataclass(frozen=True)
class BitsPerSpike:
    """A score and how it spreads over units.

    Attributes:
        pooled: over all spikes of all units.
        per_unit: of each unit alone; NaN for one without spikes in the scored bins.
    """

    pooled: float
    per_unit: Floats


def bits_per_spike(expected_count: Floats, counts: NDArray[Any]) -> BitsPerSpike:
    """Score predicted expected counts.

    Args:
        expected_count: prediction, (bin, unit).
        counts: what was counted, (bin, unit).

    Raises:
        ValueError: if the shapes differ or a prediction is negative or not finite.
    """
    expected = np.asarray(expected_count, dtype=np.float64)
    observed = np.asarray(counts, dtype=np.float64)
    if expected.shape != observed.shape or expected.ndim != 2:
        raise ValueError(f"predictions have the shape {expected.shape}, counts {observed.shape}; expected (bin, unit)")
    if not np.isfinite(expected).all() or (expected < 0).any():
        raise ValueError("expected counts must be finite and at least 0")
    mean = np.broadcast_to(observed.mean(axis=0), observed.shape)
    gain = _log_likelihood(expected, observed).sum(axis=0) - _log_likelihood(mean, observed).sum(axis=0)
    n_spikes = observed.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_unit = np.where(n_spikes > 0, gain / (n_spikes * np.log(2)), np.nan)
    total = float(n_spikes.sum())
    return BitsPerSpike(float(gain.sum() / (total * np.log(2))) if total else float("nan"), per_unit)


def quartiles(found: BitsPerSpike) -> list[float]:
    """The three quartiles of a score over units; NaN where no unit has one."""
    if not np.isfinite(found.per_unit).any():
        return [float("nan")] * 3
    return [float(value) for value in np.nanquantile(found.per_unit, (0.25, 0.5, 0.75))]


def _log_likelihood(expected: Floats, counts: Floats) -> Floats:
    safe = np.maximum(expected, LEAST_EXPECTED_COUNT)
    return np.asarray(counts * np.log(safe) - safe)


def fano_factor(counts: Counts, window_bins: int) -> Floats:
    """Variance over mean of each unit's spike count in windows of so many bins that lie whole in a segment; (unit,).

    NaN for a unit without spikes, and for all where fewer than two windows fit.
    """
    sums = []
    for start, stop in zip(counts.segment_offsets[:-1].tolist(), counts.segment_offsets[1:].tolist(), strict=True):
        n_windows = (stop - start) // window_bins
        if n_windows:
            part = np.asarray(counts.counts[start : start + n_windows * window_bins], dtype=np.float64)
            sums.append(part.reshape(n_windows, window_bins, -1).sum(axis=1))
    total = np.concatenate(sums) if sums else np.empty((0, counts.n_units))
    if len(total) < 2:
        return np.full(counts.n_units, np.nan)
    mean = total.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(mean > 0, total.var(axis=0, ddof=1) / mean, np.nan))
