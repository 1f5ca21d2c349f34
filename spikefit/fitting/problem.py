"""What a fit is posed as: the binned recording on its device, and the split into training and held-out bins.

Every candidate number of hidden units is fitted to the same problem and scored on the same windows of it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.errors import UsageError
from spikefit.fitting.lost import LostBins, mean_counts
from spikefit.fitting.memory import MemoryPlan, memory_limit, plan_memory
from spikefit.fitting.settings import NEGATIVE_BINOMIAL, FitSettings
from spikefit.fitting.sizes import fit_size
from spikefit.fitting.split import Split, only_where, split_bins
from spikefit.fitting.structure import Structure
from spikefit.fitting.windows import Windows
from spikefit.models.basis import Basis, make_basis
from spikefit.models.ceiling import HIGHEST_MEAN_SHARE, SIGMOID_CEILING
from spikefit.models.common_drive import CommonDrive
from spikefit.models.depth import windows_context
from spikefit.models.kernels import Kernels
from spikefit.models.long_sums import pieces, tally
from spikefit.models.negative_binomial import Moments
from spikefit.models.own_history import joined_basis
from spikefit.pair_rules import matching
from spikefit.spikes import Counts


@dataclass(frozen=True, eq=False)
class Problem:
    """What every candidate is fitted to.

    Attributes:
        counts: visible counts on the device, (unit, bin).
        segment_offsets: first bin of each segment and the end of the last.
        split: scored bins.
        basis: (lag, basis) on the device, the functions for own history, where there are some, behind those for couplings; its
            dtype is the dtype of the computation.
        n_coupling_functions: functions of the basis that couplings are made of.
        settings: of the fit.
        unit_ids: of the visible units.
        mean_count: mean spikes per training bin of every unit, above zero; float64 on the CPU.
        identity: what the fit depends on, as texts that two equal runs share.
        memory: what is made at a time.
        common_drive: kernels of the population's traces; None where the fit has none.
        traces: of the common drive in every bin of the recording, (trace, bin); None where the fit has none.
        covariates: standardised columns in every bin of the recording, (column, bin); None where the fit has none.
        covariate_rows: weighted sums of the columns' weights whose errors are wanted, (row, column); None where the fit has none.
        structure: what is known of the couplings beforehand; None where nothing is.
        lost: bins in which single units were not observed; None where there are none. `counts` are zero there.
        kernels: to compile the arithmetic of training hidden units; None to run it as it is written.
    """

    counts: Tensor
    segment_offsets: NDArray[np.int64]
    split: Split
    basis: Tensor
    n_coupling_functions: int
    settings: FitSettings
    unit_ids: tuple[str, ...]
    mean_count: Tensor
    identity: dict[str, str]
    memory: MemoryPlan
    common_drive: CommonDrive | None = None
    traces: Tensor | None = None
    structure: Structure | None = None
    covariates: Tensor | None = None
    covariate_rows: Tensor | None = None
    lost: LostBins | None = None
    kernels: Kernels | None = None

    @functools.cached_property
    def constant_dispersion(self) -> Tensor | None:
        """Of every unit about its mean count in the training bins, where counts are negative-binomial; float64 on the CPU."""
        if self.settings.count_law != NEGATIVE_BINOMIAL:
            return None
        return dispersion_about(self.counts, self.split.train, self.mean_count, self.lost)

    @property
    def has_corners(self) -> bool:
        """Whether a penalty or a sign can hold couplings at zero, so that they have no standard errors."""
        return self.structure is not None and self.structure.has_corners

    @functools.cached_property
    def inputs(self) -> Tensor | None:
        """All that drives the fit without hidden units beside couplings: traces of the common drive, then covariates."""
        parts = [part for part in (self.traces, self.covariates) if part is not None]
        return torch.cat(parts) if parts else None

    @property
    def n_covariates(self) -> int:
        """Columns of covariates."""
        return 0 if self.covariates is None else len(self.covariates)

    @property
    def ridge(self) -> float:
        """The penalty, once it has been chosen where the settings leave it open."""
        assert self.settings.ridge is not None
        return self.settings.ridge

    @property
    def device(self) -> torch.device:
        return self.basis.device

    @property
    def context(self) -> tuple[int, int]:
        """The same for every candidate, so that all are scored on the same windows."""
        return windows_context(len(self.basis), self.settings.posterior_depth)

    def windows(self, ranges: NDArray[np.int64], core: int) -> Windows:
        """Windows over some scored ranges, their cores of at most `core` bins."""
        return Windows(
            self.counts,
            self.segment_offsets,
            ranges,
            context=self.context,
            core_bins=core,
            dtype=self.basis.dtype,
            covariates=self.covariates,
            lost=self.lost,
        )

    @functools.cached_property
    def factorials_per_bin(self) -> float:
        """Σ log x! per scored bin over the whole recording."""
        total, n_bins = 0.0, 0
        for start, stop in self.split.everything.tolist():
            n = tally(self.counts, start, stop)
            total += float((torch.lgamma(torch.arange(len(n), dtype=torch.float64) + 1) * n.cpu()).sum())
            n_bins += stop - start
        return total / max(1, n_bins)


def pose_problem(counts: Counts, settings: FitSettings, device: torch.device) -> Problem:
    """Put the counts on the device and choose the bins that train and those that judge.

    Raises:
        UsageError: if window, bins and held-out share leave nothing to fit or to judge, or a unit fires too much for the
            bounded link.
    """
    basis, n_coupling_functions = fit_basis(settings, counts.bin_width_s)
    split = split_of(counts, settings, len(basis))
    by_unit = _by_unit(counts)
    on_device = torch.from_numpy(np.ascontiguousarray(by_unit)).to(device)
    mask = None if counts.lost is None else torch.from_numpy(np.ascontiguousarray(counts.lost.T)).to(device)
    mean_count, n_own = mean_counts(on_device, split.train, mask)
    if n_own.min() < 1:
        unit = counts.unit_ids[int(n_own.argmin())]
        raise UsageError(
            f"unit {unit!r} is lost in every bin that trains the fit.",
            hint=f"leave it out with --drop-unit {unit}, or hold out a smaller share with --heldout",
        )
    lost = None if mask is None else LostBins(mask, mean_count.to(device))
    if settings.link == "sigmoid":
        _check_ceiling(counts, mean_count)
    covariates = None
    if counts.covariates is not None:
        covariates = torch.from_numpy(np.ascontiguousarray(counts.covariates.values.T)).to(device)
    dtype = torch.float32
    common_drive = traces = None
    if settings.common_drive_s:
        stand_ins = None if lost is None else lost.in_population()
        common_drive = CommonDrive.of(on_device, settings.common_drive_s, counts.bin_width_s, stand_ins)
        traces = common_drive.features(on_device, counts.segment_offsets, stand_ins)
    return Problem(
        counts=on_device,
        segment_offsets=counts.segment_offsets,
        split=split,
        basis=torch.from_numpy(basis).to(device, dtype),
        n_coupling_functions=n_coupling_functions,
        settings=settings,
        unit_ids=counts.unit_ids,
        mean_count=mean_count,
        identity=_identity_of(counts, by_unit) | settings.identity,
        memory=plan_memory(fit_size(counts, settings, basis.shape), memory_limit(device, settings.memory_limit)),
        common_drive=common_drive,
        traces=traces,
        covariates=covariates,
        covariate_rows=None if counts.covariates is None else torch.from_numpy(counts.covariates.rows),
        structure=_structure(settings, counts.unit_ids, device),
        lost=lost,
        kernels=Kernels() if settings.compiles else None,
    )


def _by_unit(counts: Counts) -> NDArray[np.integer[Any]]:
    """Counts as the device takes them, (unit, bin), zero where a unit is lost: whatever stands there was not observed."""
    # Stored unit after unit, so the transpose is the memory as it lies; torch has few unsigned types.
    by_unit = counts.counts.T
    if by_unit.dtype != np.uint8:
        by_unit = by_unit.astype(np.int16 if by_unit.max(initial=0) < 2**15 else np.int32)
    return by_unit if counts.lost is None else np.where(counts.lost.T, 0, by_unit)


def _identity_of(counts: Counts, by_unit: NDArray[Any]) -> dict[str, str]:
    """What a fit depends on of its data, as texts that two equal recordings share."""
    content = hashlib.sha256(np.ascontiguousarray(counts.counts.T if counts.lost is None else by_unit).data)
    if counts.lost is not None:
        content.update(np.packbits(counts.lost.T).tobytes())
    content.update(counts.segment_offsets.tobytes())
    if counts.covariates is not None:
        content.update(np.ascontiguousarray(counts.covariates.values.T).tobytes())
        content.update(counts.covariates.known.tobytes())
    return {"data": content.hexdigest()[:16], "bin_width_s": repr(counts.bin_width_s)}


def split_of(counts: Counts, settings: FitSettings, n_lags: int) -> Split:
    """The bins that train and those that judge; what cannot be done with this recording is refused here, before any work.

    Args:
        counts: binned recording.
        settings: of the fit.
        n_lags: length of the history window in bins.

    Raises:
        UsageError: if too little is left to train on or to judge, or what was asked for cannot be done with lost units.
    """
    split = split_bins(
        counts.segment_offsets,
        n_lags=n_lags,
        heldout=settings.heldout,
        seed=settings.seed,
        bin_width_s=counts.bin_width_s,
    )
    if counts.covariates is not None and not counts.covariates.known.all():
        split = only_where(split, counts.covariates.known)
    if counts.lost is not None:
        _check_lost(counts, settings)
    return split


def in_fold(problem: Problem, train: NDArray[np.int64]) -> Problem:
    """The same problem where these bins alone train: constant rates, and what stands in for lost units, are of them.

    So what is set aside tells the fold nothing, not even how much a unit fires that is lost in the other bins. A unit that was observed in
    none of the fold's bins is lost in all of the recording for it: nothing there says what it does, and it is not scored.

    Args:
        problem: of the whole recording.
        train: the fold's training bins, `[start, stop)`; (n, 2).
    """
    lost = problem.lost
    mean_count, n_own = mean_counts(problem.counts, train, None if lost is None else lost.mask)
    if lost is None:
        return dataclasses.replace(problem, mean_count=mean_count)
    unseen = n_own < 1
    mean_count = torch.where(unseen, problem.mean_count, mean_count)
    counts, mask = problem.counts, lost.mask
    if bool(unseen.any()):
        never = unseen.to(mask.device)[:, None]
        counts, mask = counts.masked_fill(never, 0), mask | never
    lost = LostBins(mask, mean_count.to(mask.device))
    traces = None
    if problem.common_drive is not None:
        traces = problem.common_drive.features(counts, problem.segment_offsets, lost.in_population())
    return dataclasses.replace(problem, counts=counts, lost=lost, mean_count=mean_count, traces=traces)


def _check_lost(counts: Counts, settings: FitSettings) -> None:
    """Refuse what cannot be done where units are lost part of the time."""
    asked = "--long-lags" if settings.long_lags else f"--significance {settings.surrogates}"
    if settings.long_lags or settings.surrogates is not None:
        lost = ", ".join(repr(counts.unit_ids[k]) for k in np.flatnonzero(counts.lost.any(axis=0))[:3].tolist())  # type: ignore[union-attr]
        raise UsageError(
            f"{asked} moves spikes in time, and units that are lost for part of it ({lost}) would be moved into time in which "
            "they were not observed.",
            hint="pass --observed common, leave these units out (--drop-unit), or take --significance null",
        )


def _check_ceiling(counts: Counts, mean_count: Tensor) -> None:
    """Refuse units that fire close to what the bounded link can express."""
    highest = int(mean_count.argmax())
    if mean_count[highest] > HIGHEST_MEAN_SHARE * SIGMOID_CEILING:
        raise UsageError(
            f"unit {counts.unit_ids[highest]!r} fires {mean_count[highest]:.1f} spikes per bin on average; with the sigmoid "
            f"link no bin can expect more than {SIGMOID_CEILING:g}.",
            hint="pass a smaller --bin, or --link softplus",
        )


def dispersion_about(
    counts: Tensor, ranges: NDArray[np.int64], mean_count: Tensor, lost: LostBins | None = None
) -> Tensor:
    """Dispersion of every unit about a constant mean count, from some bins; float64 on the CPU.

    Args:
        counts: (unit, bin).
        ranges: the bins, `[start, stop)`; (n, 2).
        mean_count: of every unit, above zero.
        lost: bins in which single units were not observed; None where there are none.
    """
    moments = Moments(len(counts), torch.device("cpu"))
    for first, end in (piece for row in ranges.tolist() for piece in pieces(len(counts), *row)):
        here = counts[:, first:end].cpu()
        unit, bin_ = here.nonzero(as_tuple=True)
        own = None if lost is None else lost.mask[:, first:end].cpu()
        moments.add(mean_count[:, None].expand(-1, end - first).contiguous(), unit, bin_, here[unit, bin_], own)
    return moments.dispersion()


def fit_basis(settings: FitSettings, bin_width_s: float) -> tuple[Basis, int]:
    """The basis of a fit, (lag, function), and how many of its functions are for couplings.

    Raises:
        UsageError: if a window is shorter than one bin.
    """
    coupling = make_basis(
        settings.basis, window_s=settings.window_s, bin_width_s=bin_width_s, n_functions=settings.n_functions
    )
    window_s = settings.window_s if settings.self_window_s is None else settings.self_window_s
    return joined_basis(
        coupling,
        settings.self_basis,
        window_s=window_s,
        bin_width_s=bin_width_s,
        n_functions=settings.self_functions,
    )


def _structure(settings: FitSettings, unit_ids: tuple[str, ...], device: torch.device) -> Structure | None:
    if not settings.pair_rules and not settings.dale and settings.group_lasso == 0:
        return None
    signs = ["any"] * len(unit_ids)
    for name, sign in settings.dale:
        for k in matching(name, unit_ids).tolist():
            signs[k] = sign
    return Structure.of(unit_ids, settings.pair_rules, signs, settings.group_lasso or 0.0).to(device)
