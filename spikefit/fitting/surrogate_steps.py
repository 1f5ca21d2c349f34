"""Newton steps of several surrogates at once.

A step needs the gradient alone, so the link is not evaluated but at spikes, and its derivative once everywhere. What all surrogates share,
the features and the traces of each unit's own unmoved spikes, is read once for several of them: reading it is what one surrogate by itself would
spend most of its time on. Moved spikes are never laid out bin by bin.

Rows are units times surrogates, unit after unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.moved_responses import MovedResponses, SharedBlock
from spikefit.models.link import LINK_SLOPES_, LINK_VALUES

# Of z, root mean square over pairs: one more step may change this much of what chance changes by 1.
ENOUGH_CHANGE = 0.15
MOST_STEPS = 6
# Surrogates whose mean all start from, and the steps that find it: so many leave hardly more of the distance than their own half of it.
N_MIDDLE, MIDDLE_STEPS = 6, 2
ROWS = 128  # enough for products to be fast, few enough for a block of them to stay in a core's cache


def batch_size(n_units: int) -> int:
    """Surrogates that are stepped together."""
    return max(1, ROWS // n_units)


@dataclass(frozen=True, eq=False)
class MovedSpikes:
    """Occupied bins of some surrogates, in the order of time.

    Attributes:
        row: unit times the number of surrogates, and surrogate.
        bin: of the recording.
        count: spikes in it.
        n_surrogates: how many.
    """

    row: Tensor
    bin: Tensor
    count: Tensor
    n_surrogates: int

    @classmethod
    def of(
        cls, unit: NDArray[np.int64], bins: Sequence[NDArray[np.int64]], n_units: int, device: torch.device
    ) -> MovedSpikes:
        """Spikes of each surrogate, all with the same units, one after the other."""
        n, n_rows = len(bins), n_units * len(bins)
        keys = np.concatenate([one * n_rows + unit * n + s for s, one in enumerate(bins)])
        keys.sort()
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        bin_, row = np.divmod(keys[first], n_rows)
        count = np.diff(first, append=keys.size)
        row_, at, counts = (torch.from_numpy(values).to(device) for values in (row, bin_, count))
        return cls(row_, at, counts, n)

    @classmethod
    def of_counts(cls, counts: Tensor) -> MovedSpikes:
        """Spikes of one surrogate from its counts, (unit, bin)."""
        bin_, unit = counts.T.nonzero(as_tuple=True)
        return cls(unit, bin_, counts[unit, bin_], 1)


def refit(moved: MovedResponses, spikes: MovedSpikes, n_steps: int) -> Float[Tensor, "surrogate unit parameter"]:
    """Parameters near the optimum of each surrogate: so many Newton steps from where they start.

    Args:
        moved: with its reference fitted.
        spikes: of the surrogates.
        n_steps: how many.
    """
    params = moved.start.expand(spikes.n_surrogates, -1, -1)
    for step in range(n_steps):
        gradient = _gradient(moved, params, spikes, moved.shared_drive if step == 0 else None)
        params = params - torch.cholesky_solve(gradient.permute(1, 2, 0), moved.factors).permute(2, 0, 1)
    return params


def _gradient(
    moved: MovedResponses,
    params: Float[Tensor, "surrogate unit parameter"],
    spikes: MovedSpikes,
    shared: Sequence[Tensor] | None,
) -> Float[Tensor, "surrogate unit parameter"]:
    """Of the penalised negative log-likelihood; `shared` is the shared drive where it is that of the start for all."""
    design, basis, n, n_lags = moved.design, moved.basis.double(), spikes.n_surrogates, moved.design.n_lags
    n_units, n_rows = design.n_units, design.n_units * n
    device, dtype = design.device, design.dtype
    penalty = moved.ridge * params[..., :-1]
    own_weights = params[:, moved.units, moved.own].transpose(0, 1)
    filters = (own_weights @ basis.T).to(dtype).reshape(n_rows, n_lags)
    by_feature = torch.zeros(n_rows, design.n_features + 1, dtype=torch.float64, device=device)
    by_trace = torch.zeros(n_units, n, moved.n_traces, dtype=torch.float64, device=device)
    by_lag = torch.zeros(n_rows, n_lags, dtype=torch.float64, device=device)
    lags = torch.arange(1, n_lags + 1, device=device)
    for number, block in enumerate(moved.blocks()):
        start, stop = block.start - n_lags, block.stop
        low, high = torch.searchsorted(spikes.bin, torch.tensor([start, stop], device=device)).tolist()
        row, at, count = spikes.row[low:high], spikes.bin[low:high] - start, spikes.count[low:high].to(dtype)
        # Where each spike acts, in an array of (row, padded bin + lag) laid flat.
        width = stop - start + n_lags
        later = (row * width + at)[:, None] + lags
        laid = torch.zeros(n_rows * width, dtype=dtype, device=device)
        laid.index_add_(0, later.reshape(-1), (filters[row] * count[:, None]).reshape(-1))
        inner = laid.view(n_rows, width)[:, n_lags : stop - start]
        drive = inner.clone(memory_format=torch.contiguous_format) if block.scored is None else inner[:, block.scored]
        by_unit = drive.view(n_units, n, -1)
        by_unit += shared[number][:, None] if shared is not None else _shared_drive(moved, params, block)
        if block.scored is None:  # spikes are in the order of time, those of the context come first
            inside: Tensor | slice = slice(int(torch.searchsorted(at, n_lags)), None)
        else:
            inside = block.place_of(at - n_lags) >= 0
        flat = row[inside] * drive.shape[1] + block.place_of(at[inside] - n_lags)
        ratio = count[inside] / LINK_VALUES[moved.link_name](drive.view(-1)[flat])
        residual = LINK_SLOPES_[moved.link_name](drive)
        residual.view(-1)[flat] *= 1 - ratio
        by_feature[:, :-1] += residual @ block.features.T
        by_feature[:, -1] += residual.sum(1)
        if block.traces is not None:
            by_trace += by_unit @ block.traces.transpose(1, 2)
        laid.zero_()
        if block.scored is None:
            inner.copy_(residual)
        else:
            inner[:, block.scored] = residual
        # The residuals behind each spike lie side by side.
        behind = laid.as_strided((laid.numel() - n_lags + 1, n_lags), (1, 1))[later[:, 0]]
        by_lag += torch.zeros(n_rows, n_lags, dtype=dtype, device=device).index_add_(0, row, behind * count[:, None])
    gradient = by_feature.view(n_units, n, -1).transpose(0, 1).contiguous()
    first = design.n_couplings
    gradient[..., first : first + moved.n_traces] -= by_trace.transpose(0, 1)
    gradient[:, moved.units, moved.own] = (by_lag @ basis).view(n_units, n, -1).transpose(0, 1)
    gradient[..., :-1] += penalty
    if moved.free is not None:
        gradient[..., :-1] *= moved.free
    return gradient


def _shared_drive(
    moved: MovedResponses, params: Float[Tensor, "surrogate unit parameter"], block: SharedBlock
) -> Float[Tensor, "unit surrogate bin"]:
    """All of the drive but the units' own history, where every surrogate has parameters of its own."""
    features = block.features
    weights = params[..., :-1].clone()
    weights[:, moved.units, moved.own] = 0
    by_unit = weights.transpose(0, 1).to(features)
    drive = by_unit.reshape(-1, by_unit.shape[2]) @ features
    drive = drive.view(*by_unit.shape[:2], -1) + params[..., -1].T[..., None].to(features)
    if block.traces is not None:
        first = moved.design.n_couplings
        drive -= by_unit[..., first : first + moved.n_traces] @ block.traces
    return drive


def start_in_the_middle(moved: MovedResponses, some: Iterable[MovedSpikes]) -> None:
    """Let steps start from the mean of some surrogates.

    A surrogate's optimum is as far from another's as two draws of chance, from their middle only as one: half the squared distance,
    and about so much less is left after a Newton step.
    """
    found = torch.cat([refit(moved, spikes, MIDDLE_STEPS) for spikes in some])
    moved.start_from(found.mean(0))


def steps_needed(moved: MovedResponses, spikes: MovedSpikes) -> tuple[int, float]:
    """Newton steps after which one more hardly moves the z-scores, and how far it moves them."""
    off = ~np.eye(moved.design.n_units, dtype=bool)

    def z(n_steps: int) -> NDArray[np.float32]:
        return moved.z_scores(refit(moved, spikes, n_steps)[0])

    before = z(1)
    for n_steps in range(1, MOST_STEPS + 1):
        after = z(n_steps + 1)
        change = float(np.sqrt(np.mean(np.square(after - before)[off])))
        if change <= ENOUGH_CHANGE:
            break
        before = after
    return n_steps, change
