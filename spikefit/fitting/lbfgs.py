"""The memory of an L-BFGS that carries all units as columns, each with its own curvature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PAIRS = 8  # that it remembers


class Memory:
    """L-BFGS pairs of all units as columns; a unit's bad pair (no positive curvature) counts as none."""

    def __init__(self, n_units: int) -> None:
        self.n_units = n_units
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, units: Tensor, step: Tensor, change: Tensor) -> None:
        """Remember the step of some units, (unit, parameter), and how their gradients changed along it."""
        s = step.new_zeros(self.n_units, step.shape[1])
        y = torch.zeros_like(s)
        s[units], y[units] = step, change
        curvature = (s * y).sum(1)
        good = curvature > 1e-12 * y.norm(dim=1) * s.norm(dim=1)
        inverse = torch.where(good, 1 / torch.where(good, curvature, 1.0), 0.0)
        self.pairs = [*self.pairs[-(PAIRS - 1) :], (s, y, inverse)]

    def apply(self, gradient: Tensor, units: Tensor, precondition: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The two-loop recursion on some units' gradients, (unit, parameter), with `precondition` as first inverse Hessian."""
        q = gradient.clone()
        coefficients = []
        for s, y, inverse in reversed(self.pairs):
            a = inverse[units] * (s[units] * q).sum(1)
            q -= a[:, None] * y[units]
            coefficients.append(a)
        q = precondition(q, units)
        for (s, y, inverse), a in zip(self.pairs, reversed(coefficients), strict=True):
            b = inverse[units] * (y[units] * q).sum(1)
            q += (a - b)[:, None] * s[units]
        return q
