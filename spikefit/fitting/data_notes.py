"""What the data of a fit leave open and only its penalty decides, as sentences."""

from __future__ import annotations

from spikefit.fitting.design import Design
from spikefit.fitting.problem import Problem
from spikefit.fitting.separable import find_separable, parameters_note, separable_notes
from spikefit.fitting.weight_rules import weight_rules


def data_notes(problem: Problem, design: Design) -> tuple[str, ...]:
    """Separable data, and more parameters than bins.

    Args:
        problem: what was fitted.
        design: the bins it was fitted to.
    """
    _, free = weight_rules(problem, design, problem.ridge)
    separable = find_separable(design, problem.basis.shape[1], free)
    few = parameters_note(design, problem.ridge, problem.settings.link, free)
    return few + separable_notes(separable, problem.unit_ids, problem.ridge)
