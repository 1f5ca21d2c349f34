"""What of the structure is left to the data: the signs of senders, and the strength of the group lasso.

Signs are read from a fit that holds none: a sender gets the one that costs less, over all units it acts on together. The
strength comes from blocked cross-validation inside the training bins along a path that starts where every pair is zero,
as `--ridge auto` does; the blocks that the fit is scored on later are never looked at.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from spikefit.fitting.corners import sign_costs, weakest_that_silences
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.problem import Problem
from spikefit.fitting.ridge import behind_best, walk
from spikefit.fitting.weight_rules import weight_rules
from spikefit.fitting.without_hidden import fit_observed

PATH_STEPS, PATH_RATIO = 10, 0.6  # from all pairs at zero down to a hundredth of that


class LassoScore(NamedTuple):
    """One strength of the path; as `RidgeScore`."""

    group_lasso: float
    nats_per_bin: float
    behind: float
    behind_se: float


def settle_structure(problem: Problem, hooks: Hooks) -> tuple[Problem, dict[str, Any]]:
    """The problem with all of its structure chosen, and what there is to say of it.

    Args:
        problem: with its ridge penalty.
        hooks: progress and stopping.
    """
    if problem.structure is None:
        return problem, {}
    told: dict[str, Any] = {}
    if bool(problem.structure.undecided.any()):
        problem, told = _choose_signs(problem, hooks)
    if problem.settings.group_lasso is None:
        problem, path = _choose_group_lasso(problem, hooks)
        told["group_lasso_path"] = [score._asdict() for score in path]
    structure = problem.structure
    assert structure is not None
    if structure.group_lasso > 0:
        told["group_lasso"] = structure.group_lasso
    held = {unit: sign for unit, sign in zip(problem.unit_ids, structure.sign.tolist(), strict=True) if sign}
    if held:
        told["dale_signs"] = {unit: "excitatory" if sign > 0 else "inhibitory" for unit, sign in held.items()}
    return problem, structure.counted() | told


def _choose_signs(problem: Problem, hooks: Hooks) -> tuple[Problem, dict[str, Any]]:
    hooks.stage("choosing signs", None)
    structure = problem.structure
    assert structure is not None
    design, fit = fit_observed(problem, problem.split.train, hooks, None, corners=False)
    as_exciter, as_inhibitor = sign_costs(design, fit, problem.basis.shape[1])
    margin = (as_inhibitor - as_exciter).tolist()
    undecided = structure.undecided.tolist()
    by_unit = {unit: abs(nats) for unit, nats, open_ in zip(problem.unit_ids, margin, undecided, strict=True) if open_}
    excites = (as_exciter <= as_inhibitor).to(structure.sign.device)
    return dataclasses.replace(problem, structure=structure.decide(excites)), {"dale_margin_nats": by_unit}


def _choose_group_lasso(problem: Problem, hooks: Hooks) -> tuple[Problem, list[LassoScore]]:
    structure = problem.structure
    assert structure is not None
    hooks.stage("choosing the group lasso", float(PATH_STEPS))
    quiet = dataclasses.replace(hooks, update=lambda done, **figures: None)
    design, _ = fit_observed(problem, problem.split.train, quiet, None, corners=False)
    share = design.n_bins / max(1, sum(stop - start for start, stop in problem.split.everything.tolist()))
    ridge, free = weight_rules(problem, design, problem.ridge * share)
    all_pairs = dataclasses.replace(structure, group_lasso=1.0).to(design.device).corners(1.0, problem.basis.shape[1])
    link = problem.settings.link
    strongest = weakest_that_silences(design, all_pairs, ridge=ridge, free=free, link=link) / share
    strengths = [strongest * PATH_RATIO**k for k in range(PATH_STEPS)]

    def posed(one: Problem, strength: float) -> Problem:
        return dataclasses.replace(one, structure=dataclasses.replace(structure, group_lasso=strength))

    by_block, n_bins = walk(problem, strengths, posed, hooks)
    best = max(by_block, key=lambda nats: nats.sum().item())
    path = [
        LassoScore(strength, nats.sum().item() / n_bins, *behind_best(nats, best, n_bins))
        for strength, nats in zip(strengths, by_block, strict=False)
    ]
    return posed(problem, max(path, key=lambda score: score.nats_per_bin).group_lasso), path
