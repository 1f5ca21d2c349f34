"""EAT: differentiable spike counts by counting softened exponential arrivals.

Dictionary to the paper: λ is `expected_count`, τ `temperature`, h the `edge`, t an arrival time in bins. Spikes arrive
as a Poisson process of rate λ, and one at t counts h(u) with u = (1 − t)/τ. The arrival of unit-rate time s sits at
t = s/λ, so dz/dλ sums h′(u)·t/(λτ) over the arrivals. `spikefit.prob.sparse` draws both sums without simulating every
arrival.

Source: Ibrahim, Zhao et al., "A hitchhiker's guide to Poisson gradient estimation" (ICML 2026), for EAT; the sparse
draw is this package's own.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from spikefit.prob.checks import check_generator, check_rates_tensor, check_temperature
from spikefit.prob.edges import Edge, get_edge
from spikefit.prob.moments import moment_factors
from spikefit.prob.sparse import CPU, GPU, draw_into

_DRAWN_IN_PLACE = ("cpu", "cuda")


def eat_counts(
    expected_count: Shaped[Tensor, "*shape"],
    *,
    edge: str = "cubic",
    temperature: float = 0.5,
    generator: torch.Generator | None = None,
) -> Shaped[Tensor, "*shape"]:
    """Draw differentiable spike counts by counting softened exponential arrivals.

    With a compact edge (all but the sigmoid) and τ ≤ 1 the mean is exactly λ and the derivative's mean exactly 1;
    `eat_moments` gives every other case. The sigmoid's tails are cut 18 temperatures from the end of the bin, which
    changes the mean by at most λτ·1.6e-8 and the derivative's mean by at most (1 + 19τ)·1.6e-8.

    At λ = 0 nothing arrives: value and derivative are both 0. (For every λ > 0 the derivative's mean is 1, but ever
    fewer draws carry it as λ falls; its variance grows like 1/λ.) Rates more than 2²⁸ times below the mean of the
    tens of thousands drawn along with them count as zero too.

    A seeded generator gives the same bits on every run on one device. On a CUDA device the call waits for the device
    once for every 4 million latents, because the number of points decides how much memory they take; the values are
    checked on the same occasion. On devices other than CPU and CUDA (Apple's lacks float64) the numbers are drawn on
    the CPU and copied.

    Args:
        expected_count: λ in [0, 1e9], mean spikes per bin, float32 or float64.
        edge: cubic, sigmoid, linear, quintic or cosine.
        temperature: τ, half-width of the softened edge, as a fraction of the bin. Beyond 1 the mean of compact edges
            leaves λ, with a warning that says by how much.
        generator: source of the randomness, on the device of `expected_count`; torch's own where None.

    Returns:
        Soft counts of the dtype of `expected_count`. They keep one number per latent for the backward pass and have
        no second derivative.

    Raises:
        TypeError: if `expected_count` is not a tensor of float32 or float64, or another argument not of its type.
        ValueError: if a value is out of its range, the tensor is empty, the edge unknown, or the generator on another
            device.

    Source: Ibrahim, Zhao et al., "A hitchhiker's guide to Poisson gradient estimation" (ICML 2026).
    """
    kind = get_edge(edge)
    tau = check_temperature(temperature)
    check_rates_tensor(expected_count)
    check_generator(generator, expected_count.device)
    if kind.compact and tau > 1:
        factor = moment_factors(kind, tau)[0]
        warnings.warn(
            f"temperature {tau:g} is above 1: the edge starts before the bin, and the mean of eat-{edge} is "
            f"{factor:.4g} times the expected count; a temperature up to 1 keeps the mean exact",
            UserWarning,
            stacklevel=2,
        )
    rates = expected_count.detach().reshape(-1)
    value = torch.empty_like(rates)
    with_slope = expected_count.requires_grad and torch.is_grad_enabled()
    slope = torch.empty_like(rates) if with_slope else None
    if rates.device.type in _DRAWN_IN_PLACE:
        draw_into(value, slope, rates, kind, tau, generator, GPU if rates.is_cuda else CPU)
    else:
        _draw_on_host(value, slope, rates, kind, tau, generator)
    if slope is None:
        return value.view(expected_count.shape)
    shape = expected_count.shape
    counts: Tensor = _Counts.apply(expected_count, value.view(shape), slope.view(shape))  # type: ignore[no-untyped-call]
    return counts


def _draw_on_host(
    value: Tensor, slope: Tensor | None, rates: Tensor, edge: Edge, tau: float, generator: torch.Generator | None
) -> None:
    """Draw on the CPU, from a seed that the device's generator gives."""
    seed = torch.randint(1 << 31, (1,), device=rates.device, generator=generator)
    on_host = torch.Generator().manual_seed(int(seed))
    host_value = torch.empty(rates.shape, dtype=rates.dtype)
    host_slope = None if slope is None else torch.empty_like(host_value)
    draw_into(host_value, host_slope, rates.cpu(), edge, tau, on_host, CPU)
    value.copy_(host_value)
    if slope is not None and host_slope is not None:
        slope.copy_(host_slope)


class _Counts(torch.autograd.Function):
    """Drawn counts whose derivative in the expected count was drawn with them."""

    @staticmethod
    def forward(ctx: Any, expected_count: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None
