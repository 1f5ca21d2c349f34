"""Blocked cross-validation of the number of hidden units, inside the training bins.

Every fold trains every candidate on the other folds' bins and scores it on its own. Training stops, and chooses among restarts, by the
held-out blocks that belong to no fold, so a fold's score is of bins that had no part in its fit at all. Scores are likelihoods without hidden
units and importance-weighted bounds with them; those of all folds stand side by side, block by block, for paired errors.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spikefit.errors import UsageError
from spikefit.fitting.folds import Fold, folds_of
from spikefit.fitting.how_many import overfit_nats
from spikefit.fitting.iwae import iwae_nats
from spikefit.fitting.problem import HELDOUT_CORE_BINS, Hooks, Problem
from spikefit.fitting.scores import Score, glm_nats, ratio
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
    """

    n_folds: int
    nats: dict[int, Tensor]
    n_bins: Tensor
    bar: Tensor
    models: dict[int, list[POGLMNetwork]]

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
    nats: dict[int, list[Tensor]] = {h: [] for h in sorted({0, *hidden})}
    models: dict[int, list[POGLMNetwork]] = {h: [] for h in nats if h}
    n_bins, bar = [], []
    for k, fold in enumerate(folds):
        posed, of_fold = _pose(problem, fold), _hooks(hooks, k, len(folds))
        windows = problem.windows(fold[1], HELDOUT_CORE_BINS)
        of_fold.stage("fitting without hidden units", None)
        design, fit = fit_observed(posed, fold[0], of_fold, None)
        nats[0].append(glm_nats(fit, windows, problem.basis, problem.settings.link, problem.traces))
        lengths = torch.from_numpy(windows.lengths.astype(np.float64))
        n_bins.append(lengths)
        bar.append(lengths * overfit_nats(fit, posed.split.n_train))
        if models and problem.common_drive is not None:
            design, fit = fit_observed(posed, fold[0], of_fold, None, common_drive=False)
        for n_hidden, found in models.items():
            model = train_candidate(posed, n_hidden, design, fit, of_fold, polish=False).scored
            nats[n_hidden].append(iwae_nats(model, windows)[:, 0])
            found.append(model)
    joined = {h: torch.cat(parts) for h, parts in nats.items()}
    return CrossValidation(len(folds), joined, torch.cat(n_bins), torch.cat(bar), models)


def _pose(problem: Problem, fold: Fold) -> Problem:
    """The problem of one fold: its training bins, judged while it trains by the blocks that belong to no fold."""
    train, _ = fold
    mean_count = torch.zeros_like(problem.mean_count)
    for start, stop in train.tolist():
        mean_count += problem.counts[:, start:stop].sum(1, dtype=torch.int64).cpu()
    split = Split(train, problem.split.heldout, problem.split.everything)
    return dataclasses.replace(
        problem,
        split=split,
        mean_count=mean_count.clamp(min=0.5) / max(1, split.n_train),
        identity=problem.identity | {"fold": repr(train.tolist())},
    )


def _hooks(hooks: Hooks, k: int, n_folds: int) -> Hooks:
    """Progress that names the fold, and checkpoints in a folder of its own."""
    return dataclasses.replace(
        hooks,
        stage=lambda stage, total: hooks.stage(f"fold {k + 1} of {n_folds}: {stage}", total),
        checkpoints=None if hooks.checkpoints is None else hooks.checkpoints / f"fold-{k + 1}-of-{n_folds}",
    )
