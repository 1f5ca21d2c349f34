"""Scoring counts with the parameters that a fit has left, as plain arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikefit.covariate_columns import CovariateColumns
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.lost import LostBins, mean_counts
from spikefit.fitting.problem import dispersion_about
from spikefit.fitting.scores import bits_per_spike, describe_blocks, glm_nats, nats_per_bin, poglm_nats
from spikefit.fitting.sizes import CORE_BINS, HELDOUT_CORE_BINS
from spikefit.fitting.split import N_HELDOUT_CELLS, SHORTEST_CELL_IN_WINDOWS, split_bins
from spikefit.fitting.windows import Windows
from spikefit.models.common_drive import CommonDrive
from spikefit.models.depth import windows_context
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.posteriors import depth_of, posterior_of
from spikefit.spikes import Counts


def score_counts(
    counts: NDArray[Any],
    segment_offsets: NDArray[np.int64],
    parameters: dict[str, NDArray[Any]],
    *,
    link: str,
    family: str,
    n_draws: int,
    covariates: CovariateColumns | None = None,
    lost: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """Nats per bin and bits per spike of visible counts, with standard errors over blocks of time.

    Args:
        counts: (bin, unit), the fit's visible units in its order.
        segment_offsets: first bin of each segment and the end of the last.
        parameters: as a fit leaves them.
        link: of the fit.
        family: of its posterior.
        n_draws: draws of the hidden counts, where there are any.
        covariates: those of the fit in every bin, where it has some.
        lost: bins in which single units were not observed, (bin, unit), where their counts are zero; None where none is lost.
    """
    basis = torch.from_numpy(np.asarray(parameters["basis"], dtype=np.float32))
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T.astype(np.int32)))
    usable = split_bins(segment_offsets, n_lags=len(basis), heldout=0.0, seed=0).everything
    n_bins = int(np.diff(usable, axis=1).sum())
    # Enough blocks for a standard error, none so short that its neighbours say the same.
    block = min(max(n_bins // N_HELDOUT_CELLS, SHORTEST_CELL_IN_WINDOWS * len(basis)), HELDOUT_CORE_BINS)
    columns = None if covariates is None else torch.from_numpy(np.ascontiguousarray(covariates.values.T))
    context = windows_context(len(basis), depth_of(parameters))
    mask = None if lost is None else torch.from_numpy(np.ascontiguousarray(lost.T))
    mean_count, _ = mean_counts(by_unit, usable, mask)
    gone = None if mask is None else LostBins(mask, mean_count)
    windows = Windows(by_unit, segment_offsets, usable, context=context, core_bins=block, covariates=columns, lost=gone)
    scattered = "dispersion" in parameters or "log_dispersion" in parameters
    blocks = describe_blocks(
        windows, mean_count, dispersion_about(by_unit, usable, mean_count, gone) if scattered else None
    )
    if "hidden_weights" in parameters:
        nats = poglm_nats(network_of(parameters, link=link, family=family), windows, n_draws)
    else:
        weights, baseline = np.asarray(parameters["visible_weights"]), np.asarray(parameters["baseline"])
        traces = None
        if "common_drive_weights" in parameters:
            level = float(parameters["common_drive_level"])
            common_drive = CommonDrive(np.asarray(parameters["common_drive_decay"]), level)
            traces = common_drive.features(by_unit, segment_offsets, None if gone is None else gone.in_population())
            weights = np.concatenate([weights, parameters["common_drive_weights"] / common_drive.gain], axis=1)
        if columns is not None:
            weights = np.concatenate([weights, parameters["covariate_weights"]], axis=1)
            traces = columns if traces is None else torch.cat([traces, columns])
        fit = GLMFit(torch.from_numpy(weights), torch.from_numpy(baseline), torch.zeros(len(baseline)), converged=True)
        if "dispersion" in parameters:
            fit = dataclasses.replace(fit, dispersion=torch.from_numpy(np.asarray(parameters["dispersion"])))
        nats = glm_nats(fit, windows, basis, link, traces)
    absolute, bits = nats_per_bin(nats - blocks.factorials, blocks), bits_per_spike(nats, blocks)
    return {
        "nats_per_bin": absolute.value,
        "nats_per_bin_se": absolute.error,
        "bits_per_spike": bits.value,
        "bits_per_spike_se": bits.error,
        "n_bins": n_bins,
    }


@torch.no_grad()
def network_of(parameters: dict[str, NDArray[Any]], *, link: str, family: str) -> POGLMNetwork:
    """The network, of one restart, whose parameters a fit with hidden units has left."""
    basis = torch.from_numpy(np.asarray(parameters["basis"], dtype=np.float32))
    n_units, n_hidden_features = parameters["hidden_weights"].shape
    n_hidden = n_hidden_features // basis.shape[1]
    model = POGLMNetwork(
        n_units - n_hidden,
        n_hidden,
        basis,
        link=link,
        family=family,
        posterior=posterior_of(parameters),
        scattered="log_dispersion" in parameters,
        n_covariates=parameters["covariate_weights"].shape[1] if "covariate_weights" in parameters else 0,
        posterior_depth=depth_of(parameters),
        max_count=len(parameters["posterior.offset"]) // n_hidden,
    )
    for name, parameter in model.named_parameters():
        parameter[0] = torch.from_numpy(np.asarray(parameters[name]))
    return model


def windows_of(counts: Counts, model: POGLMNetwork) -> Windows:
    """Windows over all bins of a recording that have a whole history, for a model and on its device."""
    basis = model.basis
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T.astype(np.int32))).to(basis.device)
    usable = split_bins(counts.segment_offsets, n_lags=len(basis), heldout=0.0, seed=0).everything
    columns = lost = None
    if counts.covariates is not None:
        columns = torch.from_numpy(np.ascontiguousarray(counts.covariates.values.T)).to(basis.device)
    if counts.lost is not None:
        mask = torch.from_numpy(np.ascontiguousarray(counts.lost.T))
        lost = LostBins(mask, mean_counts(by_unit.cpu(), usable, mask)[0]).to(basis.device)
    return Windows(
        by_unit,
        counts.segment_offsets,
        usable,
        context=model.context,
        core_bins=CORE_BINS,
        dtype=basis.dtype,
        covariates=columns,
        lost=lost,
    )
