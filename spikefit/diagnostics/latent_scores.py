"""The scores of a Poisson VAE on bins that it was not trained on, beside those of simpler methods on the same bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikefit.diagnostics.baselines import (
    Baseline,
    Features,
    best_of,
    factor_analysis_baseline,
    predictions,
    smoothing_baseline,
)
from spikefit.diagnostics.cosmoothing import BitsPerSpike, bits_per_spike, fano_factor
from spikefit.diagnostics.gpfa import gpfa_baseline, gpfa_is_installed
from spikefit.diagnostics.readout import RIDGES, decode, fit_poisson_readout
from spikefit.fitting.pvae.apply import encode, generate, heldout_bound, predict
from spikefit.fitting.pvae.folds import Folds, take
from spikefit.models.pvae import PVAE
from spikefit.results.latents import DEAD_NATS_PER_BIN, lifetime_sparsity, mean_divergence, population_sparsity
from spikefit.spikes import Counts

Floats = NDArray[np.floating[Any]]

IWAE_DRAWS = 16
FANO_WINDOW_S = 0.1
MOST_DRAWN_BINS = 50_000


@dataclass(frozen=True)
class HeldoutUnits:
    """Which units are predicted from which; places in the model's unit list."""

    held_in: tuple[int, ...]
    held_out: tuple[int, ...]

    def shown(self, n_units: int) -> list[bool]:
        """Which units the encoder is shown."""
        return [unit in set(self.held_in) for unit in range(n_units)]


def choose_heldout_units(available: Sequence[int], *, seed: int, share: float = 0.25) -> HeldoutUnits:
    """A random share of the units, at least one and never all."""
    order = np.random.default_rng([seed, 5]).permutation(len(available))
    n_out = min(max(1, round(share * len(available))), len(available) - 1)
    out = sorted(available[k] for k in order[:n_out].tolist())
    return HeldoutUnits(tuple(unit for unit in available if unit not in out), tuple(out))


def co_smoothing(model: PVAE, heldout: Counts, units: HeldoutUnits) -> BitsPerSpike:
    """Bits per spike of the held-out units, predicted by the model's own decoder from the held-in ones."""
    columns = list(units.held_out)
    predicted = predict(model, heldout, present=units.shown(heldout.n_units))[:, columns]
    return bits_per_spike(np.maximum(predicted, 0), heldout.counts[:, columns])


def co_smoothing_readout(model: PVAE, folds: Folds, units: HeldoutUnits) -> Baseline:
    """The same through a read-out of its own, a Poisson regression as the simpler methods have it.

    It reads either the latents or the log-rates of all units, both inferred from the held-in spikes alone; which of the
    two, and the penalty, is chosen on the bins set aside.
    """
    shown = units.shown(folds.fit.n_units)
    return best_of(
        [({"log_rates": 0}, LatentFeatures(model, shown)), ({"log_rates": 1}, LogRates(model, shown))],
        folds,
        units.held_out,
    )


def baselines(folds: Folds, units: HeldoutUnits) -> dict[str, Baseline]:
    """Simpler methods on the same bins and units, by name; `gpfa` where elephant is installed."""
    found = {"smoothing": smoothing_baseline(folds, units.held_in, units.held_out)}
    if len(units.held_in) > 2:
        found["factor_analysis"] = factor_analysis_baseline(folds, units.held_in, units.held_out)
    if gpfa_is_installed():
        found["gpfa"] = gpfa_baseline(folds, units.held_in, units.held_out)
    return found


def readout_features(model: PVAE, shown: list[bool] | None, readout: Baseline) -> Features:
    """The features that `co_smoothing_readout` chose."""
    return LogRates(model, shown) if readout.chosen["log_rates"] else LatentFeatures(model, shown)


@dataclass(frozen=True, eq=False)
class LatentFeatures:
    """The latents of some counts as features: as the decoder reads them, through its kernels.

    Attributes:
        model: fitted.
        shown: which units the encoder is shown; None for all.
    """

    model: PVAE
    shown: list[bool] | None = None

    def __call__(self, counts: Counts) -> Floats:
        expected = encode(self.model, counts, present=self.shown)
        return smooth_latents(self.model, expected, counts)


@dataclass(frozen=True, eq=False)
class LogRates:
    """The logarithm of the expected counts of all units, inferred from those that are shown."""

    model: PVAE
    shown: list[bool] | None = None

    def __call__(self, counts: Counts) -> Floats:
        return np.log(np.maximum(predict(self.model, counts, present=self.shown), 1e-6))


@torch.no_grad()
def smooth_latents(model: PVAE, expected: NDArray[np.float32], counts: Counts) -> Floats:
    """Expected counts through the decoder's kernels, segment by segment; as they are where it has none."""
    from scipy.ndimage import correlate1d

    if model.decoder.reach == 0:
        return expected
    kernels = model.decoder.kernels().cpu().numpy()[:, ::-1]
    prior = model.log_prior.exp().cpu().numpy()
    out = np.empty_like(expected)
    for start, stop in zip(counts.segment_offsets[:-1].tolist(), counts.segment_offsets[1:].tolist(), strict=True):
        for k, kernel in enumerate(kernels):
            # Beyond an edge stands the prior's expected count, as in the model.
            out[start:stop, k] = correlate1d(expected[start:stop, k], kernel, mode="constant", cval=float(prior[k]))
    return out


def few_shot(features: Features, folds: Folds, units: HeldoutUnits, n_bins: int) -> float:
    """Co-smoothing when the read-out to the held-out units may learn from few bins only, spread over the training ones.

    The penalty is chosen on the bins set aside.
    """
    columns = list(units.held_out)
    start = int(np.searchsorted(folds.fit.segment_offsets, min(n_bins, folds.fit.n_bins)))
    kept = [[a, b] for a, b in zip(folds.fit.segment_offsets[:start], folds.fit.segment_offsets[1:], strict=False)]
    kept[-1][1] = min(kept[-1][1], n_bins)
    few = take(folds.fit, np.array(kept, dtype=np.int64))
    x, y = features(few), few.counts[:, columns]
    x_choose, y_choose = features(folds.choose), folds.choose.counts[:, columns]
    readouts = [fit_poisson_readout(x, y, ridge=ridge) for ridge in RIDGES]
    best = max(readouts, key=lambda readout: bits_per_spike(readout.predict(x_choose), y_choose).pooled)
    predicted = predictions(best, features, folds.heldout)
    return bits_per_spike(predicted, folds.heldout.counts[:, columns]).pooled


def decoding(features: Features, folds: Folds, targets: tuple[Floats, Floats]) -> float:
    """Held-out R² of a ridge read-out of a covariate.

    Args:
        features: of counts.
        folds: training and held-out bins.
        targets: the covariate in the training bins (fit, then choose) and in the held-out ones, (bin, target).
    """
    train = np.concatenate([features(folds.fit), features(folds.choose)])
    return decode((train, targets[0]), (features(folds.heldout), targets[1]))


def fano_factors(model: PVAE, heldout: Counts, *, seed: int) -> dict[str, float]:
    """Median Fano factor over units, of the held-out counts and of as many bins drawn from the model."""
    window = max(1, round(FANO_WINDOW_S / heldout.bin_width_s))
    values, _ = generate(model, min(heldout.n_bins, MOST_DRAWN_BINS), seed=seed)
    drawn = Counts(
        counts=np.maximum(values, 0).astype(np.uint32),
        bin_width_s=heldout.bin_width_s,
        segment_offsets=np.array([0, len(values)]),
        segment_start_s=np.zeros(1),
        unit_ids=heldout.unit_ids,
    )
    return {
        "window_s": window * heldout.bin_width_s,
        "data": float(np.nanmedian(fano_factor(heldout, window))),
        "model": float(np.nanmedian(fano_factor(drawn, window))),
    }


def activity(model: PVAE, heldout: Counts, *, shown: list[bool] | None) -> dict[str, Any]:
    """How many latents say something in the held-out bins, and how sparse they are.

    Returns:
        `n_latents`, `n_active_latents`, `lifetime_sparsity` (median over the active ones) and `population_sparsity`.
    """
    expected = encode(model, heldout, present=shown)
    alive = mean_divergence(expected, model.log_prior.detach().exp().cpu().numpy()) >= DEAD_NATS_PER_BIN
    lifetime = lifetime_sparsity(expected)[alive]
    return {
        "n_latents": len(alive),
        "n_active_latents": int(alive.sum()),
        "lifetime_sparsity": float(np.median(lifetime)) if alive.any() else float("nan"),
        "population_sparsity": population_sparsity(expected),
    }


def reconstruction(model: PVAE, heldout: Counts, *, shown: list[bool] | None) -> BitsPerSpike:
    """Bits per spike of all units that are shown, from their own spikes among the others'."""
    columns = [k for k in range(heldout.n_units) if shown is None or shown[k]]
    predicted = predict(model, heldout, present=shown)[:, columns]
    return bits_per_spike(np.maximum(predicted, 0), heldout.counts[:, columns])


def bounds(model: PVAE, heldout: Counts, *, seed: int) -> dict[str, float]:
    """ELBO and IWAE in nats per bin."""
    found = heldout_bound(model, heldout, n_draws=IWAE_DRAWS, seed=seed)
    return {
        "elbo_per_bin": found.elbo,
        "iwae_per_bin": found.iwae,
        "iwae_draws": IWAE_DRAWS,
        "divergence_per_bin": found.divergence,
    }
