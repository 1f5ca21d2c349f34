"""Draws that belong to their window: each draws from a generator of its own.

Whatever windows are computed together, in one batch, in parts where the memory is short or spread over processes, each
gets the same draws, so that the step is the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikefit.models.hidden_draws import EstimatorDraws, HardDraws, RelaxedTurns, Turns, is_relaxed
from spikefit.prob.protocol import Draws

_MASK = (1 << 64) - 1


def window_seeds(seed: int, windows: Tensor) -> list[int]:
    """`window_seed` of each of some windows, given by their numbers."""
    return [window_seed(seed, window) for window in windows.tolist()]


def window_seed(seed: int, window: int) -> int:
    """A seed for one window, from that of a step; neighbouring windows get unlike ones.

    Source: SplitMix64, Steele et al., "Fast splittable pseudorandom number generators" (OOPSLA 2014).
    """
    z = (seed + (window + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 1


@dataclass(frozen=True)
class WindowDraws:
    """Draws of the hidden counts of some windows, the first axis of the rates.

    The posterior that reads its own spikes asks for all windows bin by bin. What is random about soft draws of categorical
    counts is known beforehand and belongs to its window there too; other draws then come from the first window's
    generator, and so depend on which windows are drawn together.

    Attributes:
        make: the draws that go with a generator.
        seeds: one per window, or a generator each, for draws that go on from one call to the next.
    """

    make: Callable[[torch.Generator], EstimatorDraws | HardDraws]
    seeds: Sequence[int] | Sequence[torch.Generator]

    @property
    def n_draws(self) -> int:
        return self.make(torch.Generator()).n_draws

    def __call__(self, rate: Tensor) -> Draws:
        """Draws of every count of `rate`, (window, restart, hidden, bin)."""
        if len(self.seeds) != len(rate):
            raise ValueError(f"{len(self.seeds)} seeds for {len(rate)} windows")
        first = self._of(0, rate.device)
        if isinstance(first, EstimatorDraws) and first.in_one_pass:
            own = (self._of(k, rate.device) for k in range(len(rate)))
            noise = [draws.noise(rate[k : k + 1]) for k, draws in enumerate(own) if isinstance(draws, EstimatorDraws)]
            return first.from_noise(rate, torch.cat(noise, dim=1))
        return _Joined([self._of(k, rate.device)(rate[k : k + 1]) for k in range(len(rate))])

    def turns(self, like: Tensor, *, with_slopes: bool) -> Turns:
        """As `DrawsInTurn.turns`; `like` is (bin, restart, draw · window, hidden) and whatever lies behind."""
        first = self._of(0, like.device)
        if not is_relaxed(first):
            return first.turns(like, with_slopes=with_slopes)
        by_window = like.unflatten(2, (first.n_draws, len(self.seeds)))
        noise = [
            first.estimator.noise(torch.empty_like(by_window[:, :, :, k]), self._of(k, like.device).generator)
            for k in range(len(self.seeds))
        ]
        return RelaxedTurns(first.estimator, torch.stack(noise, dim=3).flatten(2, 3), with_slopes)

    def gather(self, counts: Tensor, rate: Tensor) -> Draws:
        """As `DrawsInTurn.gather`."""
        return self._of(0, rate.device).gather(counts, rate)

    def _of(self, window: int, device: torch.device) -> EstimatorDraws | HardDraws:
        seed = self.seeds[window]
        return self.make(seed if isinstance(seed, torch.Generator) else torch.Generator(device).manual_seed(seed))


class _Joined:
    """The draws of single windows, put together along the window axis."""

    def __init__(self, parts: list[Draws]) -> None:
        self.parts = parts
        self.counts = torch.cat([part.counts for part in parts], dim=1)
        self.needs_effect = parts[0].needs_effect

    def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
        total = objective.new_zeros(())
        for k, part in enumerate(self.parts):
            own = slice(k, k + 1)
            total = total + part.correction(objective[:, own], None if effect is None else effect[:, own])
        return total
