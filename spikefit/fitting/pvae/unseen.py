"""Rates of units that the encoder is not shown: how they are corrected after training.

A network that must do with any part of the population says too little about a unit it does not see, or too much. Two numbers
per unit mend that, a gain and an offset of the logarithm of its rate. They are learnt on training bins, in which every unit
is hidden in turn with a random quarter of the others, by Poisson regression: log rate = offset + gain · log(rate as told).
"""

from __future__ import annotations

import numpy as np
import torch

from spikefit.fitting.pvae.data import windows_of
from spikefit.fitting.pvae.folds import FoldRanges, thinned
from spikefit.fitting.pvae.loop import hidden_in_turn
from spikefit.models.pvae.network import PVAE
from spikefit.spikes import Counts

MOST_BINS = 30_000
MOST_STEPS = 30
RIDGE = 1.0  # of the gain's distance from 1 and the offset's from 0, in nats: a unit without spikes keeps what it has


@torch.no_grad()
def learn_unseen(model: PVAE, counts: Counts, ranges: FoldRanges) -> None:
    """Set the gain and the offset of every unit, from bins that train.

    Args:
        model: trained; changed in place.
        counts: of all bins.
        ranges: which of them train.
    """
    if not model.observation.whole_counts or model.shape.n_units < 2:
        return
    n = model.shape.n_units
    windows = windows_of(counts, model, ranges=thinned(ranges.fit, MOST_BINS))
    told: list[list[np.ndarray]] = [[] for _ in range(n)]
    seen: list[list[np.ndarray]] = [[] for _ in range(n)]
    for values, expected, hidden in hidden_in_turn(model, windows):
        for unit in range(n):
            here = hidden[:, unit]
            told[unit].append(expected[:, unit][here].double().log().cpu().numpy())
            seen[unit].append(values[:, unit][here].double().cpu().numpy())
    found = [_regress(np.concatenate(told[unit]), np.concatenate(seen[unit])) for unit in range(n)]
    gain, offset = np.array(found).T
    model.unseen_gain.copy_(torch.from_numpy(gain))
    model.unseen_offset.copy_(torch.from_numpy(offset))


def _regress(log_told: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Gain and offset of one unit by Newton's method; the problem is convex."""
    place = np.array([1.0, 0.0])
    x = np.stack([log_told, np.ones_like(log_told)])

    def loss(at: np.ndarray) -> float:
        drive = np.clip(at @ x, -30, 10)
        return float((np.exp(drive) - counts * drive).sum() + 0.5 * RIDGE * np.square(at - [1, 0]).sum())

    now = loss(place)
    for _ in range(MOST_STEPS):
        expected = np.exp(np.clip(place @ x, -30, 10))
        gradient = x @ (expected - counts) + RIDGE * (place - [1, 0])
        step = np.linalg.solve((x * expected) @ x.T + RIDGE * np.eye(2), gradient)
        size = 1.0
        while size > 1e-6 and loss(place - size * step) > now:
            size /= 2
        place = place - size * step
        before, now = now, loss(place)
        if before - now < 1e-6:
            break
    return float(place[0]), float(place[1])
