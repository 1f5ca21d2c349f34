"""The softened edges of EAT: how much an arrival counts, by its distance from the end of the bin.

An arrival at time t (bin 0 to 1) counts h(u) spikes with u = (1 − t)/τ: one well inside the bin, none well after it.
`Edge.step` is h and `Edge.slope` is h′. The integrals of h and h² up to a point give the moments of the soft count in
closed form (Campbell's theorem); see `spikefit.prob.moments`.

Source: Ibrahim, Zhao et al., "A hitchhiker's guide to Poisson gradient estimation" (ICML 2026) for the method and the
cubic and sigmoid edges; the others are the usual smooth steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Edge:
    """One edge h(u), rising from 0 to 1 with h(−u) = 1 − h(u).

    Attributes:
        name: what `eat_counts(edge=…)` calls it.
        reach: h is 0 below −reach and 1 above it; in temperatures.
        compact: whether that is exact. Where it is not (sigmoid), h(−reach) is what is cut off.
        step: h at u ≥ −reach.
        slope: h′ at u ≥ −reach; 0 above `reach` for compact edges.
        area: ∫ h from −∞ to u, for u ≥ −reach.
        square_area: ∫ h² from −∞ to u, for u ≥ −reach.
    """

    name: str
    reach: float
    compact: bool
    step: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    area: Callable[[float], float]
    square_area: Callable[[float], float]


def get_edge(name: str) -> Edge:
    """The edge of that name.

    Raises:
        ValueError: if there is none, with the names there are.
    """
    try:
        return EDGES[name]
    except (KeyError, TypeError):
        raise ValueError(f"edge must be one of {', '.join(EDGES)}, got {name!r}") from None


# -- polynomials ----------------------------------------------------------------------------------------------------
# Written in x = (u + 1)/2, which runs from 0 to 1 over the edge; coefficients from the constant upwards.


def _polynomial_area(coefficients: tuple[float, ...]) -> Callable[[float], float]:
    def area(u: float) -> float:
        x = min((u + 1) / 2, 1.0)
        inside = 2 * sum(c * x ** (power + 1) / (power + 1) for power, c in enumerate(coefficients))
        return inside + max(u - 1.0, 0.0)

    return area


def _square(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    product = [0.0] * (2 * len(coefficients) - 1)
    for i, a in enumerate(coefficients):
        for j, b in enumerate(coefficients):
            product[i + j] += a * b
    return tuple(product)


def _polynomial_edge(
    name: str, coefficients: tuple[float, ...], step: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]
) -> Edge:
    return Edge(name, 1.0, True, step, slope, _polynomial_area(coefficients), _polynomial_area(_square(coefficients)))


def _linear_step(u: Tensor) -> Tensor:
    return (0.5 + 0.5 * u).clamp(max=1.0)


def _linear_slope(u: Tensor) -> Tensor:
    return (u < 1).to(u.dtype) * 0.5


def _cubic_step(u: Tensor) -> Tensor:
    u = u.clamp(max=1.0)
    return 0.5 + u * (0.75 - 0.25 * u.square())


def _cubic_slope(u: Tensor) -> Tensor:
    return 0.75 - 0.75 * u.clamp(max=1.0).square()


def _quintic_step(u: Tensor) -> Tensor:
    u = u.clamp(max=1.0)
    square = u.square()
    return 0.5 + u * (15 - square * (10 - 3 * square)) / 16


def _quintic_slope(u: Tensor) -> Tensor:
    return (1 - u.clamp(max=1.0).square()).square() * (15 / 16)


# -- the cosine -----------------------------------------------------------------------------------------------------


def _cosine_step(u: Tensor) -> Tensor:
    return 0.5 + 0.5 * torch.sin(u.clamp(max=1.0) * (math.pi / 2))


def _cosine_slope(u: Tensor) -> Tensor:
    # In float32 the cosine at its zero comes out a little below zero; an edge never falls.
    return (torch.cos(u.clamp(max=1.0) * (math.pi / 2)) * (math.pi / 4)).clamp(min=0.0)


def _cosine_area(u: float) -> float:
    x = min((u + 1) / 2, 1.0)
    return x - math.sin(math.pi * x) / math.pi + max(u - 1.0, 0.0)


def _cosine_square_area(u: float) -> float:
    x = min((u + 1) / 2, 1.0)
    inside = (1.5 * x - 2 * math.sin(math.pi * x) / math.pi + math.sin(2 * math.pi * x) / (4 * math.pi)) / 2
    return inside + max(u - 1.0, 0.0)


# -- the sigmoid ----------------------------------------------------------------------------------------------------


def _softplus(u: float) -> float:
    return max(u, 0.0) + math.log1p(math.exp(-abs(u)))


def _logistic(u: float) -> float:
    return 1 / (1 + math.exp(-u)) if u >= 0 else math.exp(u) / (1 + math.exp(u))


def _sigmoid_slope(u: Tensor) -> Tensor:
    step = torch.sigmoid(u)
    return step * (1 - step)


EDGES: dict[str, Edge] = {
    edge.name: edge
    for edge in (
        _polynomial_edge("cubic", (0.0, 0.0, 3.0, -2.0), _cubic_step, _cubic_slope),
        # Its tails never end. Beyond 18 temperatures an arrival would count less than 1.6e-8 (or miss one by that).
        Edge(
            "sigmoid",
            18.0,
            False,
            torch.sigmoid,
            _sigmoid_slope,
            _softplus,
            lambda u: _softplus(u) - _logistic(u),
        ),
        _polynomial_edge("linear", (0.0, 1.0), _linear_step, _linear_slope),
        _polynomial_edge("quintic", (0.0, 0.0, 0.0, 10.0, -15.0, 6.0), _quintic_step, _quintic_slope),
        Edge("cosine", 1.0, True, _cosine_step, _cosine_slope, _cosine_area, _cosine_square_area),
    )
}
