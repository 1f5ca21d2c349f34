"""What simpler methods reach in co-smoothing, on the same bins: smoothed counts and factor analysis, each followed by a
Poisson regression to the held-out units.

Width of the smoothing, number of factors and penalty are chosen on bins set aside from training; the bins that are
scored have no say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.cosmoothing import BitsPerSpike, bits_per_spike
from spikefit.diagnostics.factor_analysis import FactorAnalysis, fit_factor_analysis
from spikefit.diagnostics.readout import RIDGES, PoissonReadout, fit_poisson_readout
from spikefit.fitting.pvae.folds import Folds, take, thinned
from spikefit.spikes import Counts

Floats = NDArray[np.floating[Any]]
Features = Callable[[Counts], Floats]

WIDTHS_S = (0.02, 0.04, 0.07, 0.1, 0.15, 0.25, 0.5)
N_FACTORS = (2, 3, 5, 8, 12, 20)
# Settings are compared on at most so many training bins; what is chosen is then fitted to all.
MOST_BINS_COMPARED = 20_000
PASS_BINS = 20_000  # of held-out bins whose features are held at once


@dataclass(frozen=True, eq=False)
class Baseline:
    """A baseline's score.

    Attributes:
        co_bps: co-smoothing bits per spike, with those of each held-out unit.
        chosen: what was chosen for it.
    """

    co_bps: BitsPerSpike
    chosen: Mapping[str, float]


@dataclass(frozen=True)
class Smoothing:
    """Some units' counts through a Gaussian, segment by segment; (bin, unit).

    At an edge the kernel is cut off, and what is left of it weighs as much as the whole.

    Attributes:
        width_s: standard deviation in seconds.
        rows: the units.
    """

    width_s: float
    rows: tuple[int, ...]

    def __call__(self, counts: Counts) -> Floats:
        from scipy.ndimage import gaussian_filter1d

        sigma = self.width_s / counts.bin_width_s
        chosen = counts.counts[:, list(self.rows)]
        out = np.empty(chosen.shape)
        for start, stop in zip(counts.segment_offsets[:-1].tolist(), counts.segment_offsets[1:].tolist(), strict=True):
            part = chosen[start:stop].astype(np.float64)
            weight = gaussian_filter1d(np.ones(stop - start), sigma, mode="constant")
            out[start:stop] = gaussian_filter1d(part, sigma, axis=0, mode="constant") / weight[:, None]
        return out


@dataclass(frozen=True, eq=False)
class Factors:
    """Factors of smoothed counts; (bin, factor)."""

    smoothing: Smoothing
    model: FactorAnalysis

    def __call__(self, counts: Counts) -> Floats:
        return self.model.transform(self.smoothing(counts))


def smoothing_baseline(folds: Folds, held_in: Sequence[int], held_out: Sequence[int]) -> Baseline:
    """Smoothed counts of the held-in units, then a Poisson regression."""
    candidates = [({"width_s": width}, Smoothing(width, tuple(held_in))) for width in widths_for(folds)]
    return best_of(candidates, folds, held_out)


def factor_analysis_baseline(folds: Folds, held_in: Sequence[int], held_out: Sequence[int]) -> Baseline:
    """Factors of the smoothed counts of the held-in units, then a Poisson regression."""
    candidates: list[tuple[dict[str, float], Features]] = []
    for width in widths_for(folds):
        smoothing = Smoothing(width, tuple(held_in))
        train = smoothing(folds.fit)
        for n_factors in (n for n in N_FACTORS if n < len(held_in)):
            factors = Factors(smoothing, fit_factor_analysis(train, n_factors))
            candidates.append(({"width_s": width, "n_factors": n_factors}, factors))
    return best_of(candidates, folds, held_out)


def widths_for(folds: Folds) -> list[float]:
    """Widths of at least half a bin."""
    return [width for width in WIDTHS_S if width >= 0.5 * folds.fit.bin_width_s] or [folds.fit.bin_width_s]


def best_of(candidates: Sequence[tuple[dict[str, float], Features]], folds: Folds, held_out: Sequence[int]) -> Baseline:
    """Choose features and penalty on the bins set aside, fit again on those and the training bins, and score."""
    columns = list(held_out)
    edges = folds.fit.segment_offsets
    few = take(folds.fit, thinned(np.stack([edges[:-1], edges[1:]], axis=1), MOST_BINS_COMPARED))
    y_few, y_choose = few.counts[:, columns], folds.choose.counts[:, columns]
    share = few.n_bins / folds.fit.n_bins
    tried: list[tuple[float, int, float]] = []
    for place, (_, features) in enumerate(candidates):
        x_few, x_choose = features(few), features(folds.choose)
        for ridge in RIDGES:
            readout = fit_poisson_readout(x_few, y_few, ridge=ridge * share)
            score = bits_per_spike(readout.predict(x_choose), y_choose).pooled
            tried.append((score if np.isfinite(score) else -np.inf, place, ridge))
    _, place, ridge = max(tried)
    settings, features = candidates[place]
    x = np.concatenate([features(folds.fit), features(folds.choose)])
    readout = fit_poisson_readout(x, np.concatenate([folds.fit.counts[:, columns], y_choose]), ridge=ridge)
    scored = bits_per_spike(predictions(readout, features, folds.heldout), folds.heldout.counts[:, columns])
    return Baseline(scored, {**settings, "ridge": ridge})


def predictions(readout: PoissonReadout, features: Features, counts: Counts) -> Floats:
    """Predicted expected counts of all bins, some segments at a time; (bin, unit)."""
    edges = counts.segment_offsets
    pass_of = edges[:-1] // PASS_BINS
    parts = []
    for which in np.unique(pass_of).tolist():
        rows = np.flatnonzero(pass_of == which)
        part = take(counts, np.stack([edges[rows], edges[rows + 1]], axis=1))
        parts.append(readout.predict(features(part)))
    return np.concatenate(parts)
