"""What is known of the weights of a fit without hidden units before it begins."""

from __future__ import annotations

import torch
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.problem import Problem
from spikefit.models.own_history import may_use


def weight_rules(problem: Problem, design: Design, ridge: float) -> tuple[float | Tensor, Tensor | None]:
    """The penalty of every weight of a design, and which weights may differ from zero (None: all)."""
    n_functions, free = problem.basis.shape[1], None
    if problem.n_coupling_functions < n_functions:
        couplings = may_use(
            design.n_units, range(design.n_units), n_functions, problem.n_coupling_functions, design.device
        )
        free = torch.nn.functional.pad(couplings, (0, design.n_features - design.n_couplings), value=True)
    if problem.structure is None:
        return ridge, free
    structure = problem.structure.to(design.device)
    allowed = structure.free(design.n_features, n_functions)
    both = free if allowed is None else allowed if free is None else allowed & free
    return structure.ridge(ridge, design.n_features, n_functions), both
