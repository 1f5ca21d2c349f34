"""The exact sparse draw of softened arrival counts and their derivatives.

Only arrivals in the band [1 − τ, 1 + τ] (wider for the sigmoid, whose tails never end) have a value or a derivative
of their own: earlier ones count one and later ones nothing. So a draw is made of

* points: the arrivals of all latents in the band, as one Poisson process (`spikefit.prob.cells`), and
* a whole count of those before the band, a Poisson number. Where few are expected they are cheaper as points too, so
  on a CPU a whole count has one of a few tabulated means (`spikefit.prob.inversion`) and points make up the rest.

The law of value and derivative is that of simulating every arrival, without a truncation for compact edges. Cost and
memory follow the number of latents and of arrivals in the band, whatever the largest rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikefit.prob.cells import lay_out
from spikefit.prob.checks import MAX_EXPECTED_COUNT, bounds, check_bounds
from spikefit.prob.edges import Edge
from spikefit.prob.inversion import N_MEANS, draw_from_table


@dataclass(frozen=True)
class Schedule:
    """How the work is cut up on one kind of device.

    Attributes:
        latents_at_once: latents treated together.
        points_at_once: points drawn together.
        on_host: whether looking at a value is free, so that values are checked first and few whole counts come from
            a table. Otherwise all of that would wait for the device.
        whole_sums: whether sums run in whole multiples of 2⁻³². Float sums on a GPU depend on the order of its
            threads; whole ones do not.
    """

    latents_at_once: int
    points_at_once: int
    on_host: bool
    whole_sums: bool


# On a CPU the scratch of a block stays inside its cache; on a GPU every block costs launches and a wait.
CPU = Schedule(latents_at_once=1 << 16, points_at_once=1 << 17, on_host=True, whole_sums=False)
GPU = Schedule(latents_at_once=1 << 22, points_at_once=1 << 24, on_host=False, whole_sums=True)

# The place of a point within its cell is known to 2⁻³⁰ of the cell, or better. A latent whose stretch is a smaller
# share of a cell than this could not be told from one without a stretch, and is left without points.
_NEGLIGIBLE = 2.0**-28
_FIXED_POINT = float(1 << 32)
# Up to this many expected terms a float32 sum is as good as the float32 terms.
_FEW_TERMS = 64


def draw_into(
    value: Float[Tensor, " latent"],
    slope: Float[Tensor, " latent"] | None,
    rates: Float[Tensor, " latent"],
    edge: Edge,
    tau: float,
    generator: torch.Generator | None,
    schedule: Schedule,
) -> None:
    """Fill `value` with soft counts and `slope`, if given, with their derivatives in `rates`.

    Raises:
        ValueError: if a rate is out of its range.
    """
    valid = None
    usable = rates
    if schedule.on_host:
        check_bounds(*bounds(rates))
    else:
        # What is out of range is drawn as zero and refused at the one occasion at which the device is waited for.
        inside = (rates >= 0) & (rates <= MAX_EXPECTED_COUNT)
        valid, usable = inside.all(), torch.where(inside, rates, 0.0)
    for start in range(0, rates.numel(), schedule.latents_at_once):
        part = slice(start, start + schedule.latents_at_once)
        slope_part = None if slope is None else slope[part]
        if not _draw_block(value[part], slope_part, usable[part], edge, tau, generator, schedule, valid):
            check_bounds(*bounds(rates))


def _draw_block(
    value: Tensor,
    slope: Tensor | None,
    rates: Tensor,
    edge: Edge,
    tau: float,
    generator: torch.Generator | None,
    schedule: Schedule,
    valid: Tensor | None,
) -> bool:
    """Draw some latents at once; False where `valid` turned out false."""
    reach = edge.reach * tau
    ahead = max(0.0, 1 - reach)  # the part of the bin that lies before the band
    whole, expected_points = _whole_counts(rates, ahead, 1 + reach, generator, schedule)
    cells = lay_out(expected_points, generator, valid=valid)
    if cells is None:
        return False
    if cells.n_points == 0:
        value.zero_() if whole is None else value.copy_(whole)
        if slope is not None:
            slope.zero_()
        return True
    # Points lie on their latent backwards from the end of the band, so that the band comes first: the place of the
    # n-th expected point is u = n/(λτ) − reach. The lower limit keeps rates of zero, which own no points, finite.
    per_temperature = rates.clamp(min=cells.width * _NEGLIGIBLE).mul_(tau)
    stretch = cells.width / per_temperature
    end = (expected_points / per_temperature).sub_(edge.reach)
    values = _Sums(rates, cells.most, schedule.whole_sums)
    slopes = _Sums(rates, cells.most, schedule.whole_sums)
    for latent, place in cells.points(schedule.points_at_once, rates.device, generator):
        u = place.to(rates.dtype).mul_(stretch.index_select(0, latent)).sub_(edge.reach)
        # One where the point lies on its latent, zero where it is void.
        alive = end.index_select(0, latent).gt_(u)
        values.add(latent, edge.step(u).mul_(alive))
        if slope is not None:
            # h′(u)·t, with t = 1 − τu
            slopes.add(latent, edge.slope(u).mul_(alive).mul_(u.mul_(-tau).add_(1.0)))
    value.copy_(values.total())
    if whole is not None:
        value.add_(whole)
    if slope is not None:
        slope.copy_(slopes.total().div_(per_temperature))
    return True


def _whole_counts(
    rates: Tensor, ahead: float, end: float, generator: torch.Generator | None, schedule: Schedule
) -> tuple[Tensor | None, Tensor]:
    """Whole counts drawn for (part of) the bin before the band, and the expected number of points that remain."""
    if ahead == 0:
        return None, rates * end
    early = rates * ahead
    if not schedule.on_host:
        return torch.poisson(early, generator=generator), rates * (end - ahead)
    low, high = (float(bound) for bound in torch.aminmax(early))
    if high < 1:
        return None, rates * end
    if low >= N_MEANS:
        return torch.poisson(early, generator=generator), rates * (end - ahead)
    tabulated = early.floor().clamp_(max=N_MEANS)
    if low >= 1 and high < N_MEANS:
        return draw_from_table(tabulated.long(), generator), rates * end - tabulated
    # Mixed rates: most of them usually expect less than one arrival ahead of the band, and are left alone.
    some = (tabulated > 0).nonzero().squeeze(1)
    means = tabulated.index_select(0, some)
    drawn = draw_from_table(means.clamp(max=N_MEANS - 1).long(), generator).to(rates.dtype)
    many = (means == N_MEANS).nonzero().squeeze(1)
    large = some.index_select(0, many)
    drawn[many] = torch.poisson(early.index_select(0, large), generator=generator)
    expected_points = rates * end - tabulated
    expected_points[large] = rates.index_select(0, large) * (end - ahead)
    return torch.zeros_like(rates).index_put_((some,), drawn), expected_points


class _Sums:
    """One running sum per latent, the same bits on every run."""

    def __init__(self, like: Tensor, n_terms: float, whole: bool) -> None:
        self._whole = whole
        # Many small terms meet a large sum where rates are high; float32 would lose them.
        dtype = torch.int64 if whole else like.dtype if n_terms <= _FEW_TERMS else torch.float64
        self._sums = torch.zeros(like.shape, dtype=dtype, device=like.device)

    def add(self, latent: Int[Tensor, " point"], terms: Float[Tensor, " point"]) -> None:
        if self._whole:
            self._sums.scatter_add_(0, latent, (terms.double() * _FIXED_POINT).round_().long())
        else:
            self._sums.scatter_add_(0, latent, terms.to(self._sums.dtype))

    def total(self) -> Tensor:
        return self._sums / _FIXED_POINT if self._whole else self._sums
