"""Links from the drive to the expected count, with the derivative in the same pass.

The hot loop evaluates a link for every bin, unit and draw; softplus and its derivative share one exponential, and the
logarithm of the Poisson likelihood is only taken where there is a spike.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spikefit.models.ceiling import SIGMOID_CEILING

# Beyond these exp() would overflow float32, or underflow so that x / f becomes 0 / 0; far outside any expected count.
LARGEST_EXPONENT = 80.0
SMALLEST_EXPONENT = -60.0

Link = Callable[[Tensor], tuple[Tensor, Tensor]]


def softplus(drive: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + e^drive) and its derivative, of the shape of `drive`."""
    held = drive.detach().clamp(SMALLEST_EXPONENT, LARGEST_EXPONENT)
    value = held.exp().log1p_()
    if torch.compiler.is_compiling():  # one loop anyway, whatever the order of the axes
        return torch.maximum(value, drive.detach()), held.sigmoid()
    # Written over what is there: fresh memory of this size costs more than the sums themselves.
    torch.maximum(value, drive.detach(), out=value)  # above the clamp softplus is the identity
    return value, held.sigmoid_()


def exponential(drive: Tensor) -> tuple[Tensor, Tensor]:
    """e^drive and its derivative, of the shape of `drive`; held at e^80 and e^−60 outside that range."""
    value = drive.clamp(SMALLEST_EXPONENT, LARGEST_EXPONENT).exp_()
    return value, value


def sigmoid(drive: Tensor) -> tuple[Tensor, Tensor]:
    """Bounded: ceiling / (1 + e^−drive) and its derivative, of the shape of `drive`; exponential far below the ceiling."""
    share = drive.clamp(min=SMALLEST_EXPONENT).sigmoid()
    value = SIGMOID_CEILING * share
    return value, drive.neg().sigmoid_().mul_(value)


def softplus_value(drive: Tensor) -> Tensor:
    """log(1 + e^drive) without the derivative, for where it is not needed."""
    return torch.maximum(drive.clamp(SMALLEST_EXPONENT, LARGEST_EXPONENT).exp_().log1p_(), drive)


def exponential_value(drive: Tensor) -> Tensor:
    """e^drive without the derivative."""
    return drive.clamp(SMALLEST_EXPONENT, LARGEST_EXPONENT).exp_()


def sigmoid_value(drive: Tensor) -> Tensor:
    """Ceiling / (1 + e^−drive) without the derivative."""
    return drive.clamp(min=SMALLEST_EXPONENT).sigmoid().mul(SIGMOID_CEILING)


def softplus_slope_(drive: Tensor) -> Tensor:
    """The derivative alone, written over the drive."""
    return drive.clamp_(SMALLEST_EXPONENT, LARGEST_EXPONENT).sigmoid_()


def exponential_slope_(drive: Tensor) -> Tensor:
    """The derivative alone, written over the drive."""
    return drive.clamp_(SMALLEST_EXPONENT, LARGEST_EXPONENT).exp_()


def sigmoid_slope_(drive: Tensor) -> Tensor:
    """The derivative alone, written over the drive."""
    above = drive.neg().sigmoid_()
    return drive.clamp_(min=SMALLEST_EXPONENT).sigmoid_().mul_(above).mul_(SIGMOID_CEILING)


LINKS: dict[str, Link] = {"softplus": softplus, "exp": exponential, "sigmoid": sigmoid}
LINK_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": softplus_value,
    "exp": exponential_value,
    "sigmoid": sigmoid_value,
}
LINK_SLOPES_: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": softplus_slope_,
    "exp": exponential_slope_,
    "sigmoid": sigmoid_slope_,
}


def inverse_link(name: str, expected_count: Tensor) -> Tensor:
    """The drive that gives `expected_count` (above zero, and for the sigmoid below its ceiling)."""
    if name == "softplus":
        return expected_count + torch.log(-torch.expm1(-expected_count))
    if name == "exp":
        return expected_count.log()
    if name == "sigmoid":
        # A mean above the ceiling has no drive; the nearest there is.
        return torch.logit((expected_count / SIGMOID_CEILING).clamp(max=1 - 1e-6))
    raise ValueError(f"link must be one of {', '.join(LINKS)}, got {name!r}")
