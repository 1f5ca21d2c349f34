"""Scores on held-out bins: nats per bin and bits per spike, with standard errors over blocks of time.

All models are scored on the same windows, so that differences can be paired. Scores contain the counts' factorials;
for models with hidden units they are the evidence lower bound with hard draws, and so err on the low side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.loop import JUDGE_BATCH_BINS, judge
from spikefit.fitting.windows import Windows
from spikefit.models.coupling import history_features
from spikefit.models.likelihood import log_likelihood
from spikefit.models.negative_binomial import empty_bin, rising
from spikefit.models.poglm import POGLMNetwork

SCORE_DRAWS = 8


@dataclass(frozen=True, eq=False)
class Blocks:
    """What the scored windows hold, whatever the model; (window,), float64 on the CPU.

    Attributes:
        n_bins: scored bins.
        n_spikes: visible spikes in them.
        null_nats: log-likelihood under constant rates.
        factorials: Σ log x!.
    """

    n_bins: Float[Tensor, " window"]
    n_spikes: Float[Tensor, " window"]
    null_nats: Float[Tensor, " window"]
    factorials: Float[Tensor, " window"]


@dataclass(frozen=True)
class Score:
    """A mean and its standard error over windows."""

    value: float
    error: float


@torch.no_grad()
def describe_blocks(
    windows: Windows, mean_count: Float[Tensor, " unit"], dispersion: Float[Tensor, " unit"] | None = None
) -> Blocks:
    """Count what is to be predicted, and score constant rates on it.

    Args:
        windows: the scored windows.
        mean_count: expected count of every visible unit under constant rates, from the training bins, above zero.
        dispersion: about these rates, where counts are negative-binomial.
    """
    before, after = windows.context
    rows = [torch.empty(4, 0, dtype=torch.float64)]
    for batch in windows.batches(max(1, JUDGE_BATCH_BINS // max(1, windows.core))):
        core = batch.counts[..., before : batch.counts.shape[-1] - after].double()
        scored = torch.ones_like(core[:, 0]) if batch.scored is None else batch.scored.double()
        of_unit = scored[:, None] if batch.observed is None else batch.observed.double()
        core = core * of_unit
        n_bins, per_unit = scored.sum(1), core.sum(2)
        rate = mean_count.to(core)
        if dispersion is None:
            constant = n_bins * rate.sum() if batch.observed is None else of_unit.sum(2) @ rate
            null = (per_unit * rate.log()).sum(1) - constant
        else:
            null = _scattered_null(core, of_unit.sum(2), per_unit, rate, dispersion.to(core))
        rows.append(torch.stack([n_bins, per_unit.sum(1), null, torch.lgamma(core + 1).sum((1, 2))]).cpu())
    return Blocks(*torch.cat(rows, dim=1))


def _scattered_null(core: Tensor, n_bins: Tensor, per_unit: Tensor, rate: Tensor, alpha: Tensor) -> Tensor:
    """Log-likelihood of windows under constant rates with negative-binomial counts, factorials left out; (window,)."""
    by_unit = per_unit * (rate.log() - torch.log1p(alpha * rate)) - n_bins * empty_bin(rate, alpha)
    table = rising(alpha, int(core.max()) if core.numel() else 0)
    units = torch.arange(len(rate), device=core.device)[None, :, None]
    return (by_unit + table[units, core.long()].sum(2)).sum(1)


@torch.no_grad()
def glm_nats(
    fit: GLMFit,
    windows: Windows,
    basis: Float[Tensor, "lag basis"],
    link: str,
    covariates: Float[Tensor, "covariate bin"] | None = None,
) -> Float[Tensor, " window"]:
    """Log-likelihood of every window under the fully observed GLM, factorials left out.

    Args:
        fit: its last weights, as many as there are covariates, are those of the covariates.
        windows: what is scored.
        basis: (lag, basis).
        link: of the fit.
        covariates: traces of the common drive in every bin of the recording, where the fit has them.
    """
    before, after = windows.context
    n_lags = len(basis)
    weights, baseline = fit.weights.to(basis), fit.baseline.to(basis)[:, None]
    alpha = None if fit.dispersion is None else fit.dispersion.to(basis)[None]
    rows = [basis.new_empty(0, dtype=torch.float64)]
    per_batch = max(1, JUDGE_BATCH_BINS // max(1, windows.core))
    for batch, which in zip(windows.batches(per_batch), torch.arange(len(windows)).split(per_batch), strict=False):
        end = batch.counts.shape[-1] - after
        features = history_features(batch.counts[..., before - n_lags : end], basis)
        if covariates is not None:
            features = torch.cat([features, windows.cores_of(covariates, which).to(basis)], dim=1)
        drive = weights @ features + baseline
        seen = batch.counts[..., before:end]
        nats = log_likelihood(drive[None, :, None], seen, batch.scored_counts, link, alpha)
        rows.append(nats[0, :, 0].sum(-1).double())
    return torch.cat(rows).cpu()


def poglm_nats(model: POGLMNetwork, windows: Windows, n_draws: int = SCORE_DRAWS) -> Float[Tensor, " window"]:
    """Evidence lower bound of every window for a model of one restart, factorials left out."""
    if not len(windows):
        return torch.empty(0, dtype=torch.float64)
    return judge(model, windows, n_draws=n_draws)[:, 0]


def nats_per_bin(nats: Float[Tensor, " window"], blocks: Blocks) -> Score:
    """Mean over bins and its standard error, windows being independent."""
    return ratio(nats, blocks.n_bins)


def bits_per_spike(nats: Float[Tensor, " window"], blocks: Blocks) -> Score:
    """Gain over constant rates in bits per visible spike, with the standard error of the ratio; NaN without spikes."""
    return ratio((nats - blocks.null_nats) / math.log(2), blocks.n_spikes)


def ratio(numerator: Tensor, denominator: Tensor) -> Score:
    """Σ numerator / Σ denominator and its standard error, blocks being independent; NaN without anything to divide by."""
    total, n = denominator.sum(), len(denominator)
    if total <= 0:
        return Score(math.nan, math.nan)
    value = numerator.sum() / total
    if n < 2:
        return Score(value.item(), math.nan)
    spread = (numerator - value * denominator).square().sum() * n / (n - 1)
    return Score(value.item(), (spread.sqrt() / total).item())


def choose_hidden(nats: dict[int, Float[Tensor, " window"]], n_bins: Int[Tensor, " window"] | Tensor) -> int:
    """The smallest number of hidden units whose held-out bound lies within one standard error of the best.

    Args:
        nats: held-out bound of every window, by number of hidden units.
        n_bins: scored bins of every window.
    """
    best = max(nats, key=lambda n: nats[n].sum().item())
    for n_hidden in sorted(nats):
        behind = ratio(nats[best] - nats[n_hidden], n_bins.double())
        if n_hidden == best or behind.value <= behind.error:
            return n_hidden
    return best
