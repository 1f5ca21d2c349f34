"""What is known of the weights of a fit without hidden units before it begins."""

from __future__ import annotations

from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.problem import Problem


def weight_rules(problem: Problem, design: Design, ridge: float) -> tuple[float | Tensor, Tensor | None]:
    """The penalty of every weight of a design, and which weights may differ from zero (None: all)."""
    if problem.structure is None:
        return ridge, None
    structure, n_functions = problem.structure.to(design.device), problem.basis.shape[1]
    return structure.ridge(ridge, design.n_features, n_functions), structure.free(design.n_features, n_functions)
