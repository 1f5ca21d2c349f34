"""Asking a fitted Poisson VAE: latents of a recording, rates of its units, bounds, and draws from the prior."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.pvae.data import LatentBatch, parts, windows_of
from spikefit.fitting.pvae.loop import mean_prediction
from spikefit.models.pvae.expectation import expected_value
from spikefit.models.pvae.network import PVAE
from spikefit.prob.poisson import sample_poisson
from spikefit.spikes import Counts

Floats = NDArray[np.floating[Any]]

APPLY_CORE = 1000
APPLY_BINS = 16_000


@torch.no_grad()
def encode(model: PVAE, counts: Counts, *, present: Sequence[bool] | None = None) -> NDArray[np.float32]:
    """Posterior expected counts of the latents in every bin; (bin, latent).

    Args:
        model: fitted.
        counts: of the model's units, in its order and bin width.
        present: which units the encoder is shown; None for all.
    """
    out = np.empty((counts.n_bins, model.shape.n_latents), dtype=np.float32)
    reach = model.decoder.reach
    for batch, start, n in _batches(model, counts):
        values, inside = parts(batch)
        expected = model.expected(model.residual(values, inside, _shown(present, values)))
        _put(out, expected[:, :, reach : expected.shape[2] - reach], start, n)
    return out


@torch.no_grad()
def predict(model: PVAE, counts: Counts, *, present: Sequence[bool] | None = None) -> NDArray[np.float32]:
    """Expected value of every unit in every bin over the whole posterior, corrected where it is not shown; (bin, unit)."""
    out = np.empty((counts.n_bins, model.shape.n_units), dtype=np.float32)
    for batch, start, n in _batches(model, counts):
        values, inside = parts(batch)
        shown = _shown(present, values)
        _put(out, model.corrected(mean_prediction(model, values, inside, shown), shown), start, n)
    return out


def pieces(model: PVAE, counts: Counts) -> Iterator[tuple[int, Floats, Floats, Floats]]:
    """A recording piece by piece, so that a long one need not be held: first bin, counts, expected counts, latents.

    Yields:
        Bins in order, each once; values are (bin, unit), (bin, unit) and (bin, latent).
    """
    edge, reach = model.encoder.reach, model.decoder.reach
    for batch, starts, lengths in _batches(model, counts):
        values, inside = parts(batch)
        with torch.no_grad():
            latents = model.expected(model.residual(values, inside, None))
            expected = expected_value(model, latents, inside[:, :, edge : edge + latents.shape[2]])
        own = latents[:, :, reach : latents.shape[2] - reach]
        for k, (start, n) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            yield start, counts.counts[start : start + n], *(part[k, :, :n].T.cpu().numpy() for part in (expected, own))


@dataclass(frozen=True)
class HeldoutBound:
    """Bounds on the log-likelihood of some counts in nats per bin.

    Attributes:
        elbo: evidence lower bound.
        iwae: the bound from several draws, each segment weighted as a whole; never below `elbo` in the mean.
        divergence: of the posterior from the prior.
    """

    elbo: float
    iwae: float
    divergence: float


@torch.no_grad()
def heldout_bound(model: PVAE, counts: Counts, *, n_draws: int, seed: int) -> HeldoutBound:
    """Both bounds over whole segments, with whole latent counts."""
    generator = torch.Generator(model.log_prior.device).manual_seed(seed)
    longest = int(np.diff(counts.segment_offsets).max())
    windows = windows_of(counts, model, core_bins=longest)
    elbo = iwae = divergence = 0.0
    for batch in windows.batches(max(1, APPLY_BINS // (n_draws * longest))):
        values, inside = parts(batch)
        edge, reach = model.encoder.reach, model.decoder.reach
        residual = model.residual(values, inside, None)
        expected = model.expected(residual)
        # A whole segment is one window, so the latents beside it lie outside and are not drawn.
        scored = inside[:, :, edge : edge + residual.shape[2]]
        own = inside[:, 0, edge + reach : edge + reach + longest]
        divergence += float((model.divergence(residual) * scored).sum())
        weights = []
        for _ in range(n_draws):
            z = sample_poisson(expected, generator)
            drive = model.drive(model.fill(z, scored))
            seen = values[:, :, edge + reach : edge + reach + longest]
            fit = (model.observation.log_prob(drive, seen).sum(1) * own).sum(1)
            # log p(z) − log q(z) of two Poisson laws; the factorials cancel.
            gain = (expected - torch.exp(model.log_prior)[:, None] - z * residual) * scored
            weights.append(fit + gain.sum((1, 2)))
        logs = torch.stack(weights).double()
        elbo += float(logs.mean(0).sum())
        iwae += float((torch.logsumexp(logs, 0) - np.log(n_draws)).sum())
    return HeldoutBound(elbo / counts.n_bins, iwae / counts.n_bins, divergence / counts.n_bins)


@torch.no_grad()
def generate(model: PVAE, n_bins: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw latents from the prior and values of the units from them.

    Returns:
        Values (bin, unit) and latent counts (bin, latent).
    """
    device = model.log_prior.device
    generator = torch.Generator(device).manual_seed(seed)
    reach, step = model.decoder.reach, APPLY_BINS
    prior = model.log_prior.exp()[:, None]
    latents = sample_poisson(prior.expand(-1, n_bins + 2 * reach).contiguous(), generator)
    values = []
    for start in range(0, n_bins, step):
        stop = min(n_bins, start + step)
        drive = model.drive(latents[None, :, start : stop + 2 * reach])
        values.append(model.observation.draw(drive, generator)[0].T.cpu().numpy())
    return np.concatenate(values), latents[:, reach : reach + n_bins].T.cpu().numpy()


def _batches(model: PVAE, counts: Counts) -> Iterator[tuple[LatentBatch, NDArray[np.int64], NDArray[np.int64]]]:
    windows = windows_of(counts, model, core_bins=APPLY_CORE)
    n = max(1, APPLY_BINS // max(1, windows.core))
    for first in range(0, len(windows), n):
        which = torch.arange(first, min(first + n, len(windows)))
        yield windows.batch(which), windows.starts[which.numpy()], windows.lengths[which.numpy()]


def _put(out: NDArray[np.float32], values: Tensor, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    rows = values.transpose(1, 2).cpu().numpy()
    for row, start, length in zip(rows, starts.tolist(), lengths.tolist(), strict=True):
        out[start : start + length] = row[:length]


def _shown(present: Sequence[bool] | None, values: Tensor) -> Tensor | None:
    if present is None:
        return None
    return torch.tensor(present, dtype=values.dtype, device=values.device).expand(len(values), -1)
