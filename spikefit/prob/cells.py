"""Points of many Poisson processes at once, without a search.

Every latent wants a Poisson number of points, uniform over a stretch of its own. Latents lie side by side on one axis
as cells that each expect `width` points; a latent that expects many owns several cells, and the last of them may reach
beyond its stretch. A Poisson number of points for the whole axis, placed uniformly, then gives every latent its own
process: the whole part of a point's place is its cell, the fraction its place within. Points beyond the end of a
stretch are void; about a third of all are where rates differ much, few where they are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """An axis of cells, and how many points fall on it.

    Attributes:
        width: expected points per cell.
        most: expected points of the latent that expects the most.
        n_cells: cells on the axis, fewer than 2²⁴.
        n_points: points drawn for it, void ones included.
        owner: latent of each cell; None where cell k is latent k.
        first: first cell of each latent, as float32 (exact); None where cell k is latent k.
    """

    width: float
    most: float
    n_cells: int
    n_points: int
    owner: Int[Tensor, " cell"] | None
    first: Float[Tensor, " latent"] | None

    def points(
        self, at_once: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Int[Tensor, " point"], Float[Tensor, " point"]]]:
        """Latent of each point, and its place on that latent in cells; float64, `at_once` points at a time."""
        for start in range(0, self.n_points, at_once):
            n_now = min(at_once, self.n_points - start)
            place = torch.rand(n_now, dtype=torch.float64, device=device, generator=generator)
            # A hair less than the axis, so that no product is rounded up to its far end.
            place *= self.n_cells * (1 - 2.0**-52)
            cell = place.long()
            if self.owner is None or self.first is None:
                yield cell, place.sub_(cell)
            else:
                latent = self.owner.index_select(0, cell)
                yield latent, place.sub_(self.first.index_select(0, latent))


def lay_out(
    expected_points: Float[Tensor, " latent"], generator: torch.Generator | None, *, valid: Tensor | None = None
) -> Cells | None:
    """Lay latents out as cells and draw how many points fall on them.

    This is where a GPU is waited for, once: the sizes of what follows must be known here.

    Args:
        expected_points: expected number of points of each latent, at least 0.
        generator: source of the randomness, on the device of `expected_points`.
        valid: a tensor of one truth value to read on the same occasion.

    Returns:
        The cells, or None where `valid` turned out false.
    """
    mean, high = expected_points.mean(), expected_points.max()
    # Where all are alike, a cell each wastes little. Otherwise cells of the mean make at most twice as many cells as
    # there are latents.
    alike = high <= 1.5 * mean
    width = torch.where(alike, high, mean)
    n_each = (expected_points / width.clamp(min=torch.finfo(width.dtype).tiny)).ceil_()
    n_cells = n_each.sum(dtype=torch.float64)
    n_points = torch.poisson(n_cells * width, generator=generator)
    known = [n_points, n_cells, width.double(), high.double(), alike.double()]
    if valid is not None:
        known.append(valid.double())
    on_host: list[float] = torch.stack(known).tolist()
    if valid is not None and not on_host[5]:
        return None
    n_drawn, n_laid, cell_width, most = int(on_host[0]), int(on_host[1]), on_host[2], on_host[3]
    if on_host[4] and n_laid == expected_points.numel():
        return Cells(cell_width, most, n_laid, n_drawn, None, None)
    owner = torch.repeat_interleave(n_each.long(), output_size=n_laid)
    first = n_each.cumsum(0, dtype=torch.float32).sub_(n_each)
    return Cells(cell_width, most, n_laid, n_drawn, owner, first)
