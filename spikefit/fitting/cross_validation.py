"""Blocked cross-validation of the number of hidden units, inside the training bins.

Every fold trains every candidate on the other folds' bins and scores it on its own. Training stops, and chooses among restarts, by the
held-out blocks that belong to no fold, so a fold's score is of bins that had no part in its fit at all. Scores are likelihoods without hidden
units and importance-weighted bounds with them; those of all folds stand side by side, block by block, for paired errors.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.errors import UsageError
from spikefit.fitting.folds import Fold, folds_of
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.how_many import overfit_nats
from spikefit.fitting.iwae import iwae_nats
from spikefit.fitting.problem import Problem, in_fold
from spikefit.fitting.scores import Score, glm_nats, ratio
from spikefit.fitting.sizes import HELDOUT_CORE_BINS
from spikefit.fitting.split import Split
from spikefit.fitting.with_hidden import train_candidate
from spikefit.fitting.without_hidden import fit_observed
from spikefit.models.poglm import POGLMNetwork


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What the folds say.

    Attributes:
        n_folds: of them.
        nats: of each candidate on each block of all folds, factorials left out; by number of hidden units.
        n_bins: scored bins of each block.
        bar: nats that H = 0 is given in each block where the number of hidden units was left to spikefit.
        models: the folds' fits with hidden units, by their number.
        fold: which fold each block belongs to, counted from 0; (block,).
        aside: bins that are set aside in each fold, `[start, stop)`, (stretch, 2).
    """

    n_folds: int
    nats: dict[int, Tensor]
    n_bins: Tensor
    bar: Tensor
    models: dict[int, list[POGLMNetwork]]
    fold: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    aside: tuple[NDArray[np.int64], ...] = ()

    @property
    def fold_bins(self) -> list[int]:
        """Scored bins of each fold."""
        return [int(self.n_bins[torch.from_numpy(self.fold == k)].sum()) for k in range(self.n_folds)]

    def fold_nats_per_bin(self, n_hidden: int) -> list[float]:
        """Score of a candidate in each fold, nats per bin, factorials of the counts left out."""
        own = (torch.from_numpy(self.fold == k) for k in range(self.n_folds))
        return [(self.nats[n_hidden][blocks].sum() / self.n_bins[blocks].sum()).item() for blocks in own]

    def fold_intervals_s(self, time_s: NDArray[np.float64], bin_width_s: float) -> list[list[list[float]]]:
        """Start and end in seconds of the stretches that each fold sets aside, in order.

        Args:
            time_s: start of every bin of the recording.
            bin_width_s: of those bins.
        """
        # A stretch lies inside its segment, so its last bin ends where it does; the next bin may start after a gap.
        return [
            [[round(float(time_s[a]), 9), round(float(time_s[b - 1]) + bin_width_s, 9)] for a, b in stretches.tolist()]
            for stretches in self.aside
        ]

    def gain(self, n_hidden: int) -> Score:
        """Score over no hidden units in nats per bin, its error paired over the blocks of all folds."""
        return ratio(self.nats[n_hidden] - self.nats[0], self.n_bins)


def cross_validate(problem: Problem, hidden: tuple[int, ...], hooks: Hooks) -> CrossValidation:
    """Fit and score every number of hidden units, and none, in every fold.

    Args:
        problem: with its split and its penalty.
        hidden: numbers of hidden units to try; 0 is always tried.
        hooks: progress and checkpoints; those of a fold get a folder of their own.

    Raises:
        UsageError: if the training bins are too short for so many folds.
    """
    wanted = problem.settings.folds
    folds = folds_of(problem.split.train, len(problem.basis), wanted)
    if len(folds) < wanted:
        raise UsageError(
            f"the training bins do not make {wanted} folds of whole blocks with a window of {len(problem.basis)} bins purged between "
            f"them; {len(folds)} can be made.",
            hint="pass fewer --folds, a shorter --window, or a longer recording",
        )
    numbers = sorted({h for h in hidden if h > 0})
    found = hooks.spread(
        "fold", lambda k: _score(problem, numbers, folds[k], _hooks(hooks, k, len(folds))), range(len(folds))
    )
    return CrossValidation(
        n_folds=len(folds),
        nats={h: torch.cat([one.nats[h] for one in found]) for h in (0, *numbers)},
        n_bins=torch.cat([one.n_bins for one in found]),
        bar=torch.cat([one.bar for one in found]),
        models={h: [one.models[h] for one in found] for h in numbers},
        fold=np.repeat(np.arange(len(folds)), [len(one.n_bins) for one in found]),
        aside=tuple(aside for _, aside in folds),
    )


class _Scored(NamedTuple):
    """One fold, as `CrossValidation`."""

    nats: dict[int, Tensor]
    n_bins: Tensor
    bar: Tensor
    models: dict[int, POGLMNetwork]


def _score(problem: Problem, numbers: list[int], fold: Fold, hooks: Hooks) -> _Scored:
    """Fit every number of hidden units to the fold's training bins and score it on those set aside."""
    train, aside = fold
    posed = _pose(problem, train)
    windows = posed.windows(aside, HELDOUT_CORE_BINS)
    n_bins = torch.from_numpy(windows.lengths.astype(np.float64))
    hooks.stage("fitting without hidden units", None)
    design, fit = fit_observed(posed, train, hooks, None)
    nats = {0: glm_nats(fit, windows, posed.basis, posed.settings.link, posed.inputs)}
    bar = n_bins * overfit_nats(fit, posed.split.n_train)
    if numbers and problem.common_drive is not None:
        design, fit = fit_observed(posed, train, hooks, None, common_drive=False)
    models = {h: train_candidate(posed, h, design, fit, hooks, polish=False).scored for h in numbers}
    nats |= {h: iwae_nats(model, windows)[:, 0] for h, model in models.items()}
    return _Scored(nats, n_bins, bar, models)


def _pose(problem: Problem, train: NDArray[np.int64]) -> Problem:
    """The problem of one fold: its training bins, judged while it trains by the blocks that belong to no fold."""
    split = Split(train, problem.split.heldout, problem.split.everything)
    return dataclasses.replace(
        in_fold(problem, train),
        split=split,
        identity=problem.identity | {"fold": repr(train.tolist())},
    )


def _hooks(hooks: Hooks, k: int, n_folds: int) -> Hooks:
    """Progress that names the fold, and checkpoints in a folder of its own."""
    return dataclasses.replace(
        hooks,
        stage=lambda stage, total: hooks.stage(f"fold {k + 1} of {n_folds}: {stage}", total),
        checkpoints=None if hooks.checkpoints is None else hooks.checkpoints / f"fold-{k + 1}-of-{n_folds}",
    )
