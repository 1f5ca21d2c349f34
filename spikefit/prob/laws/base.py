"""What a law of counts offers, whatever its family."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

# A law is cut off where at most this much of its probability is lost, for every latent.
LOST_PROBABILITY = 1e-6


@runtime_checkable
class CountLaw(Protocol):
    """A law over counts 0, 1, 2, … for each latent.

    Attributes:
        name: the family, for messages.
        shape: shape of the latents.
        max_count: largest count that is told apart. What lies above has a probability of at most 1e-6 per latent,
            unless the law was given its own `max_count`.
    """

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> torch.Size: ...

    @property
    def max_count(self) -> int: ...

    def log_probs(self) -> Float[Tensor, "count *shape"]:
        """Log-probability of each count from 0 to `max_count`, normalised over them; differentiable."""
        ...

    def mean(self) -> Float[Tensor, "*shape"]:
        """Mean count, of the law as it is before it is cut off; differentiable."""
        ...


def check_table_size(n_latents: int, max_count: int, values: Tensor, argument: str, largest: float) -> None:
    """Refuse a table of all counts of all latents that the memory of its device could not hold.

    Args:
        n_latents: number of latents.
        max_count: largest count of the table.
        values: a tensor of the dtype and device the table would have.
        argument: name of the argument that made the truncation so large.
        largest: its largest value.

    Raises:
        ValueError: naming the argument, its value, the truncation and the memory it would take.
    """
    # The backward pass keeps several tables of this size alive at a time.
    needed = 4 * n_latents * (max_count + 1) * values.element_size()
    available = _memory_bytes(values.device)
    if needed > available:
        raise ValueError(
            f"{argument} reaches {largest:g}, which asks for counts up to {max_count} for each of {n_latents} latents: "
            f"about {needed / 2**30:.3g} GiB, and {values.device} has {available / 2**30:.3g} GiB; "
            "pass a smaller max_count, fewer latents at a time, or use an eat estimator, which needs no such table"
        )


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not told on this system
        return 16 * 2**30


def least_count(tail: Callable[[int], float], lost: float) -> int:
    """Least count from 1 whose `tail`, the probability of more, is at most `lost`; by doubling and halving."""
    low, high = 1, 1
    while tail(high) > lost:
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        if tail(middle) > lost:
            low = middle + 1
        else:
            high = middle
    return high


def counts_column(max_count: int, like: Tensor) -> Float[Tensor, "count *ones"]:
    """0, 1, …, max_count along a new first axis, to broadcast against `like`."""
    counts = torch.arange(max_count + 1, dtype=like.dtype, device=like.device)
    return counts.view(-1, *([1] * like.dim()))


def check_max_count(max_count: int) -> int:
    """A truncation chosen by the caller.

    Raises:
        TypeError: if it is not a whole number.
        ValueError: if it is below 1.
    """
    if isinstance(max_count, bool) or not isinstance(max_count, int):
        raise TypeError(f"max_count must be a whole number, got {type(max_count).__name__}")
    if max_count < 1:
        raise ValueError(f"max_count must be at least 1, got {max_count}")
    return max_count
