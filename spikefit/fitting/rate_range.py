"""A learning rate from a short trial: how far up can it go before the bound stops rising?

From the start of training a copy of the network takes steps whose rate rises geometrically. While the rate is too small the
bound hardly moves, then it climbs, and where steps overshoot it stops climbing and falls. The bound is judged on training windows
that the steps do not see, always the same with the same draws: so neither noise nor learning by heart moves the turning point.
Restarts run side by side; each has its own.

Source: Smith, "Cyclical learning rates for training neural networks" (WACV 2017), for the range test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.loop import Diverged, Loop, LoopSettings, judge
from spikefit.fitting.pruning import keep_restarts
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.protocol import Estimator

LOWEST, HIGHEST = 1e-4, 1.0
N_STEPS = 40
SAFE_SHARE = 0.1  # of the rate at the turning point
SMALLEST_CHOSEN, LARGEST_CHOSEN = 1e-3, 0.05
SMOOTHING = 0.5  # share of the newest value in the running mean of the curve


@dataclass(frozen=True, eq=False)
class RateRange:
    """What the trial found.

    Attributes:
        rates: of the steps.
        bounds: per scored bin after each step, of every restart; NaN from where training went astray.
        turning: rate at which each restart's smoothed bound was highest.
        chosen: the learning rate.
    """

    rates: list[float]
    bounds: Float[Tensor, "step restart"]
    turning: list[float]
    chosen: float


def try_rates(
    model: POGLMNetwork,
    windows: Windows,
    *,
    estimator: Estimator,
    settings: LoopSettings,
    early_signs: list[int],
    seed: int,
) -> RateRange:
    """Run the trial; the model stays as it is.

    Args:
        model: at the start of its training, with all restarts.
        windows: training windows; as many as a step takes judge, or half of them where there are no more.
        estimator: of gradients through hidden counts.
        settings: of the optimiser; its learning rate is not looked at.
        early_signs: as those of `Loop`.
        seed: of the choice of windows and the draws, which are the trial's own.
    """
    shuffle = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(windows), generator=shuffle)
    n_judge = max(1, min(settings.batch_windows, len(windows) // 2))
    judging, parts = order[:n_judge], (order[n_judge:] if len(order) > 1 else order).split(settings.batch_windows)
    loop = Loop(
        keep_restarts(model, torch.arange(model.n_restarts)),
        windows,
        estimator=estimator,
        settings=settings,
        generator=torch.Generator(model.basis.device).manual_seed(seed),
        shuffle=shuffle,
        name_unit=str,
        early_signs=early_signs,
    )
    n_scored = windows.n_scored(judging)
    rates = [LOWEST * (HIGHEST / LOWEST) ** (k / (N_STEPS - 1)) for k in range(N_STEPS)]
    bounds = torch.full((N_STEPS, model.n_restarts), torch.nan, dtype=torch.float64)
    for k, rate in enumerate(rates):
        try:
            loop.step(parts[k % len(parts)], int(torch.randint(2**62, (), generator=shuffle)), rate)
        except Diverged:
            break
        bounds[k] = judge(loop.model, windows, only=judging).sum(0) / n_scored
    turning = [rates[_highest(curve)] for curve in bounds.T]
    middle = sorted(turning)[(len(turning) - 1) // 2]
    return RateRange(rates, bounds, turning, min(max(SAFE_SHARE * middle, SMALLEST_CHOSEN), LARGEST_CHOSEN))


def _highest(curve: Float[Tensor, " step"]) -> int:
    """Step that led to the highest smoothed bound; where nothing is known, the first."""
    best, at, mean = -float("inf"), 0, None
    for k, value in enumerate(curve.tolist()):
        if math.isnan(value):
            break
        mean = value if mean is None else SMOOTHING * value + (1 - SMOOTHING) * mean
        if mean > best:
            best, at = mean, k
    return at
