"""The likelihood of responses that were moved in time, given a population that was not.

In a surrogate every unit's response is moved and explained by the other units as they were. So the design, the
history of all units, is the same for all surrogates, and a unit has three things of its own: its response, its own history, which
moves along, and the common drive, from which its own unmoved spikes are taken out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.problem import Problem
from spikefit.fitting.weight_rules import weight_rules
from spikefit.models.common_drive import CommonDrive
from spikefit.models.coupling import history_features
from spikefit.models.link import LINKS

INFORMATION_BINS_PER_FEATURE = 400  # from so many the information is as good as from all
REFERENCE_NATS = 1e-2  # the reference is done when no unit is further from its optimum
REFERENCE_STEPS = 30


@dataclass(frozen=True, eq=False)
class SharedBlock:
    """A stretch of bins, and what is the same there for all responses.

    Attributes:
        start, stop: first bin of the recording and the end of the last.
        scored: which bins between count; None for all.
        features: of all units as they were, (feature, scored bin).
        traces: what each unit's own unmoved spikes are in the common drive, (unit, trace, scored bin).
    """

    start: int
    stop: int
    scored: Tensor | None
    features: Tensor
    traces: Tensor | None

    def place_of(self, bin_: Tensor) -> Tensor:
        """Where bins, counted from the start, stand among those that count; negative for those that do not."""
        if self.scored is None:
            return bin_
        place = bin_.new_full((self.stop - self.start,), -1)
        place[self.scored] = torch.arange(len(self.scored), device=bin_.device)
        return torch.where(bin_ >= 0, place[bin_.clamp(min=0)], -1)


@dataclass(frozen=True, eq=False)
class _Block:
    """A stretch of bins with moved responses.

    Attributes:
        features: of all units as they were, (feature, bin).
        padded: moved counts with a window of context, (unit, padded bin).
        scored: which bins count; None for all.
        traces: what each unit's own unmoved spikes are in the common drive, (unit, trace, bin).
        n_lags: length of the window.
    """

    features: Tensor
    padded: Tensor
    scored: Tensor | None
    traces: Tensor | None
    n_lags: int

    @functools.cached_property
    def spikes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Unit, padded bin and count of every occupied bin."""
        unit, bin_ = self.padded.nonzero(as_tuple=True)
        return unit, bin_, self.padded[unit, bin_].to(self.features)

    @functools.cached_property
    def later(self) -> Tensor:
        """Where each spike acts, 1 to `n_lags` bins later, in an array of (unit, padded bin + lag) laid flat; (spike, lag)."""
        unit, bin_, _ = self.spikes
        lags = torch.arange(1, self.n_lags + 1, device=unit.device)
        return (unit * (self.padded.shape[1] + self.n_lags) + bin_)[:, None] + lags

    def responses(self) -> tuple[Tensor, Tensor, Tensor]:
        """Unit, scored bin and count of every occupied scored bin."""
        if self.scored is not None:
            response = self.padded[:, self.n_lags :][:, self.scored]
            unit, bin_ = response.nonzero(as_tuple=True)
            return unit, bin_, response[unit, bin_].to(self.features)
        unit, bin_, count = self.spikes
        inside = bin_ >= self.n_lags
        return unit[inside], bin_[inside] - self.n_lags, count[inside]

    def own_drive(self, filters: Float[Tensor, "unit lag"]) -> Float[Tensor, "unit bin"]:
        """What each unit's moved spikes do to itself: few spikes, each spread over its window."""
        unit, _, count = self.spikes
        n_units, n_bins = self.padded.shape
        out = self.features.new_zeros(n_units * (n_bins + self.n_lags))
        out.index_add_(0, self.later.reshape(-1), (filters[unit] * count[:, None]).reshape(-1))
        drive = out.view(n_units, -1)[:, self.n_lags : n_bins]
        return drive if self.scored is None else drive[:, self.scored]

    def add_own_gradient(self, by_lag: Float[Tensor, "unit lag"], residual: Float[Tensor, "unit bin"]) -> None:
        """Add Σ over bins of the residual times the unit's own moved spikes so many lags before."""
        unit, _, count = self.spikes
        n_units, n_bins = self.padded.shape
        whole = residual.new_zeros(n_units, n_bins + self.n_lags)
        inner = whole[:, self.n_lags : n_bins]
        if self.scored is None:
            inner.copy_(residual)
        else:
            inner[:, self.scored] = residual
        by_lag.index_add_(0, unit, (whole.view(-1)[self.later] * count[:, None]).double())

    def own_features(self, basis: Float[Tensor, "lag basis"]) -> Float[Tensor, "unit basis bin"]:
        """The moved trains convolved with the basis."""
        own = history_features(self.padded.to(basis), basis).unflatten(0, (-1, basis.shape[1]))
        return own if self.scored is None else own[..., self.scored]


class MovedResponses:
    """Likelihood of moved responses under the unmoved population.

    Parameters are (unit, feature + 1), the baseline last; the features are those of the design, but a unit's own history is that of its
    moved train, and the common drive is that of the others.

    Args:
        problem: what was fitted.
        design: the unmoved population.
        common_drive_of_others: take a unit's own unmoved spikes out of its common drive.
    """

    def __init__(self, problem: Problem, design: Design, *, common_drive_of_others: bool = True) -> None:
        self.design, self.link_name = design, problem.settings.link
        self.link = LINKS[self.link_name]
        self.ridge, self.free = weight_rules(problem, design, problem.ridge)
        self.basis = problem.basis.to(design.device)
        self.n_functions = self.basis.shape[1]
        n_units = design.n_units
        own = torch.arange(n_units)[:, None] * self.n_functions + torch.arange(self.n_functions)
        self.own = own.to(design.device)
        self.units = torch.arange(n_units, device=design.device)[:, None]
        sums = torch.zeros(design.n_features + 1, n_units, dtype=torch.float64, device=design.device)
        sums[self.own.T, torch.arange(n_units, device=design.device)] = self.basis.double().sum(0)[:, None]
        self.sums = sums
        self.own_traces = _own_traces(problem, design) if common_drive_of_others else None
        self.n_traces = 0 if self.own_traces is None else self.own_traces.shape[1]

    def blocks(self, every: int = 1) -> Iterator[SharedBlock]:
        """What no response has a part in, block after block."""
        for (start, stop, scored), (features, _) in zip(
            self.design.spans()[::every], self.design.blocks(every), strict=True
        ):
            traces = None if self.own_traces is None else self.own_traces[:, :, start:stop]
            if traces is not None and scored is not None:
                traces = traces[..., scored]
            yield SharedBlock(start, stop, scored, features, traces)

    def _blocks(self, moved: Tensor, every: int = 1) -> Iterator[_Block]:
        n_lags = self.design.n_lags
        for block in self.blocks(every):
            padded = moved[:, block.start - n_lags : block.stop]
            yield _Block(block.features, padded, block.scored, block.traces, n_lags)

    def _shared_drive(self, params: Tensor, block: SharedBlock | _Block) -> Tensor:
        """All of the drive but the unit's own history."""
        features = block.features
        weights = params[:, :-1].clone()
        weights[self.units, self.own] = 0
        drive = torch.addmm(params[:, -1:].to(features), weights.to(features), features)
        if block.traces is not None:
            drive -= (self._on_traces(params).to(features)[:, None] @ block.traces)[:, 0]
        return drive

    def _on_traces(self, params: Tensor) -> Tensor:
        """Weights of the common drive, which comes right behind the couplings."""
        first = self.design.n_couplings
        return params[:, first : first + self.n_traces]

    def _own_filters(self, params: Tensor) -> Float[Tensor, "unit lag"]:
        return (params[self.units, self.own] @ self.basis.double().T).to(self.basis)

    def evaluate(
        self, params: Tensor, moved: Tensor, shared: list[Tensor] | None = None, *, with_value: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Penalised negative log-likelihood without factorials, and its gradient; (unit,), (unit, feature + 1).

        `shared` is the shared drive of these parameters block by block, where it is at hand. The value costs as much as a link; without
        it what comes in its place is the penalty.
        """
        weights = params[:, :-1]
        gradient = torch.zeros_like(params)
        gradient[:, :-1] = self.ridge * weights
        value = 0.5 * (self.ridge * weights.square()).sum(1)
        filters = self._own_filters(params)
        by_lag = torch.zeros(filters.shape, dtype=torch.float64, device=filters.device)
        for number, block in enumerate(self._blocks(moved)):
            drive = block.own_drive(filters) + (self._shared_drive(params, block) if shared is None else shared[number])
            expected, slope = self.link(drive)
            unit, bin_, count = block.responses()
            at_spikes = expected[unit, bin_]
            if with_value:
                value += expected.sum(1, dtype=torch.float64)
                value.index_add_(0, unit, (count * at_spikes.log()).double(), alpha=-1)
            residual = slope.clone() if slope is expected else slope
            residual[unit, bin_] *= 1 - count / at_spikes
            gradient[:, :-1] += (residual @ block.features.T).double()
            gradient[:, -1] += residual.sum(1).double()
            block.add_own_gradient(by_lag, residual)
            if block.traces is not None:
                self._on_traces(gradient).sub_((block.traces @ residual[..., None])[..., 0])
        by_function = by_lag @ self.basis.double()
        gradient[self.units, self.own] = by_function + (self.ridge * weights)[self.units, self.own]
        if self.free is not None:
            gradient[:, :-1] *= self.free
        return value, gradient

    def information(self, params: Tensor, moved: Tensor) -> Tensor:
        """Cholesky factors of the information of every unit; (unit, feature + 1, feature + 1)."""
        d, size = self.design, self.design.n_features + 1
        total = torch.zeros(d.n_units, size, size, dtype=torch.float64, device=d.device)
        every, n_seen = max(1, d.n_bins // (INFORMATION_BINS_PER_FEATURE * size)), 0
        filters = self._own_filters(params)
        for block in self._blocks(moved, every):
            expected, slope = self.link(self._shared_drive(params, block) + block.own_drive(filters))
            root = slope / expected.sqrt()
            own = block.own_features(self.basis)
            with_one = torch.cat([block.features, torch.ones_like(block.features[:1])])
            for unit in range(d.n_units):
                mine = with_one.clone()
                mine[self.own[unit]] = own[unit]
                if block.traces is not None:
                    mine[d.n_couplings : d.n_couplings + self.n_traces] -= block.traces[unit]
                mine *= root[unit]
                total[unit] += mine @ mine.T
            n_seen += block.features.shape[1]
        total *= d.n_bins / n_seen
        diagonal = total.diagonal(dim1=1, dim2=2)
        diagonal[:, :-1] += self.ridge
        diagonal += 1e-9 * diagonal.amax(1, keepdim=True)
        if self.free is not None:
            free = torch.nn.functional.pad(self.free.to(total), (0, 1), value=1.0)
            total *= free[:, :, None] * free[:, None, :]
            diagonal += 1 - free
        return torch.linalg.cholesky(total)

    def fit_reference(self, moved: Tensor, fit: GLMFit) -> None:
        """Newton's method from the fit with its couplings at zero; keeps the optimum and the information there."""
        params = torch.cat([fit.weights, fit.baseline[:, None]], dim=1)
        own = params[self.units, self.own]
        params[:, : self.design.n_couplings] = 0
        params[self.units, self.own] = own
        value, gradient = self.evaluate(params, moved)
        factors, last = self.information(params, moved), torch.inf
        for _ in range(REFERENCE_STEPS):
            step = -torch.cholesky_solve(gradient[..., None], factors)[..., 0]
            decrement = -0.5 * (step * gradient).sum(1)
            if decrement.max() < REFERENCE_NATS:
                break
            if decrement.max() > 0.1 * last:
                factors = self.information(params, moved)  # it was another place's
                step = -torch.cholesky_solve(gradient[..., None], factors)[..., 0]
            last = float(decrement.max())
            params, value, gradient = self._downhill(params, value, step, moved)
        self.reference = params
        self.factors = self.information(params, moved)
        self.error = self._errors()
        self.start_from(params)

    def start_from(self, params: Tensor) -> None:
        """Let Newton steps of surrogates start from these parameters, with the information of the reference."""
        self.start = params
        self.shared_drive = [self._shared_drive(params, block) for block in self.blocks()]

    def _downhill(self, params: Tensor, value: Tensor, step: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A step, halved for units whom it does not help."""
        for _ in range(20):
            new_value, new_gradient = self.evaluate(params + step, moved)
            worse = new_value > value + 1e-9 * value.abs()
            if not worse.any():
                return params + step, new_value, new_gradient
            step = torch.where(worse[:, None], 0.5 * step, step)
        step = torch.where(worse[:, None], 0.0, step)
        return params + step, *self.evaluate(params + step, moved)

    def _errors(self) -> Tensor:
        """Standard errors of the couplings summed over lags; (post, pre)."""
        errors = []
        for unit, factor in enumerate(self.factors):
            sums = self.sums if self.free is None else self._free_sums(unit)
            errors.append(torch.linalg.solve_triangular(factor, sums, upper=False).norm(dim=0))
        return torch.stack(errors)

    def _free_sums(self, unit: int) -> Tensor:
        assert self.free is not None
        return torch.cat([self.sums[:-1] * self.free[unit][:, None], self.sums[-1:]])

    def z_scores(self, params: Tensor) -> NDArray[np.float32]:
        """Couplings summed over lags over their standard errors; (post, pre)."""
        return ((params @ self.sums) / self.error).float().cpu().numpy()


def _own_traces(problem: Problem, design: Design) -> Float[Tensor, "unit trace bin"] | None:
    """What each unit's own spikes are in the common drive's traces."""
    common = problem.common_drive
    if common is None:
        return None
    counts = problem.counts.to(design.device)
    rows = []
    for train in counts:
        level = float(train.double().mean())
        rows.append(CommonDrive(common.decay, level).features(train[None], problem.segment_offsets))
    return torch.stack(rows).to(design.dtype)
