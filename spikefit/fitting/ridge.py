"""How strongly to shrink couplings: blocked cross-validation inside the training bins, along a path of penalties.

The training bins lie in stretches with held-out blocks, and a purged window on each side of those, between them. Every so
many stretches are set aside in turn; each fold walks from strong to weak penalties, every fit starting from the one before.
The blocks that the fit is scored on later are never looked at.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from spikefit.fitting.folds import folds_of
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.problem import Problem, in_fold
from spikefit.fitting.scores import glm_nats
from spikefit.fitting.sizes import HELDOUT_CORE_BINS
from spikefit.fitting.without_hidden import fit_observed

RIDGE_PATH = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
N_FOLDS = 4
# Weaker penalties only get worse once the score has fallen this many standard errors behind its best.
GIVE_UP_ERRORS = 4.0


class RidgeScore(NamedTuple):
    """One penalty of the path.

    Attributes:
        ridge: in nats per squared weight on the whole recording.
        nats_per_bin: log-likelihood of the bins set aside, per bin, all units together, factorials left out.
        behind: how much less than the best penalty, in nats per bin.
        behind_se: standard error of that over blocks of time.
    """

    ridge: float
    nats_per_bin: float
    behind: float
    behind_se: float


def choose_ridge(problem: Problem, hooks: Hooks) -> tuple[float, list[RidgeScore]]:
    """The penalty under which stretches that were set aside are likeliest, and the scores of all that were tried.

    Args:
        problem: with its split; the penalty in its settings plays no part.
        hooks: progress and stopping.
    """
    hooks.stage("choosing the ridge penalty", float(len(RIDGE_PATH)))
    smooth = None if problem.structure is None else problem.structure.smooth()

    def posed(fold: Problem, ridge: float) -> Problem:
        return dataclasses.replace(fold, structure=smooth, settings=dataclasses.replace(fold.settings, ridge=ridge))

    by_block, n_bins = walk(problem, RIDGE_PATH, posed, hooks)
    best = max(by_block, key=lambda nats: nats.sum().item())
    path = [
        RidgeScore(ridge, nats.sum().item() / n_bins, *behind_best(nats, best, n_bins))
        for ridge, nats in zip(RIDGE_PATH, by_block, strict=False)
    ]
    return max(path, key=lambda score: score.nats_per_bin).ridge, path


def walk(
    problem: Problem, path: Sequence[float], posed: Callable[[Problem, float], Problem], hooks: Hooks
) -> tuple[list[torch.Tensor], int]:
    """Score penalties on stretches that were set aside, from strong ones to weak ones, each fit starting from the one before.

    Args:
        problem: with its split.
        path: penalties; weaker ones are not tried once the score falls well behind its best.
        posed: the problem of a fold under one of them.
        hooks: progress and stopping.

    Returns:
        For each penalty the log-likelihood of every block set aside, and how many bins these hold.
    """
    folds = folds_of(problem.split.train, len(problem.basis), N_FOLDS)
    problems = [in_fold(problem, train) for train, _ in folds]
    quiet = dataclasses.replace(hooks, update=lambda done, **figures: None)
    starts: list[GLMFit | None] = [None] * len(folds)
    by_block: list[torch.Tensor] = []
    n_bins = sum(int(np.diff(aside, axis=1).sum()) for _, aside in folds)
    for place, penalty in enumerate(path):
        scores = []
        for k, (train, aside) in enumerate(folds):
            fold = posed(problems[k], penalty)
            _, fit = fit_observed(fold, train, quiet, starts[k])
            starts[k] = fit
            windows = fold.windows(aside, HELDOUT_CORE_BINS)
            scores.append(glm_nats(fit, windows, fold.basis, fold.settings.link, fold.inputs))
        by_block.append(torch.cat(scores))
        hooks.update(place + 1, nats_per_bin=by_block[-1].sum().item() / n_bins)
        best = max(by_block, key=lambda nats: nats.sum().item())
        behind, error = behind_best(by_block[-1], best, n_bins)
        if behind > GIVE_UP_ERRORS * error and behind > 0:
            break
    return by_block, n_bins


def behind_best(nats: torch.Tensor, best: torch.Tensor, n_bins: int) -> tuple[float, float]:
    """How much less than the best, in nats per bin, and the standard error of that over blocks."""
    gap = best - nats
    error = gap.std().item() * math.sqrt(len(gap)) if len(gap) > 1 else 0.0
    return gap.sum().item() / n_bins, error / n_bins
