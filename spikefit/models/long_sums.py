"""Sums over a whole recording that hold no more than a piece of it.

A sum of counts in whole numbers first turns all of them into 64-bit ones: eight times the recording, for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Integer
from torch import Tensor

PIECE_COUNTS = 1 << 18  # values of a piece: 2 MiB as 64-bit numbers


def piece_bins(n_units: int) -> int:
    """Bins of a piece."""
    return max(1, PIECE_COUNTS // max(1, n_units))


def pieces(n_units: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """First bin of each piece between two bins, and the end of its last."""
    n_bins = piece_bins(n_units)
    for first in range(start, stop, n_bins):
        yield first, min(first + n_bins, stop)


def sum_over_bins(
    values: Integer[Tensor, "unit bin"] | Bool[Tensor, "unit bin"], start: int, stop: int
) -> Integer[Tensor, " unit"]:
    """Sums of counts, or of a mask, over the bins from `start` to `stop`; 64-bit whole numbers."""
    total = torch.zeros(len(values), dtype=torch.int64, device=values.device)
    for part in values[:, start:stop].split(piece_bins(len(values)), dim=1):
        total += part.sum(1, dtype=torch.int64)
    return total


def sum_over_units(values: Integer[Tensor, "unit bin"]) -> Integer[Tensor, " bin"]:
    """Counts of all units together in every bin; 64-bit whole numbers.

    Unit after unit into one place: each unit's counts lie together, and nothing is left in memory between pieces of one that was passed over.
    """
    total = torch.zeros(values.shape[1], dtype=torch.int64, device=values.device)
    for own in values:
        total += own
    return total


def tally(values: Integer[Tensor, "unit bin"], start: int, stop: int) -> Integer[Tensor, " value"]:
    """How often each count from 0 to the largest occurs between two bins; 64-bit whole numbers."""
    total = torch.zeros(1, dtype=torch.int64, device=values.device)
    for part in values[:, start:stop].split(piece_bins(len(values)), dim=1):
        seen = torch.bincount(part.flatten(), minlength=len(total))
        seen[: len(total)] += total
        total = seen
    return total
