"""A population driven by the Lorenz attractor: what is simulated, and how it is cut.

29 recorded and 10 held-out units, 100 trials of 1 s in bins of 10 ms. Each trial starts somewhere else on the
attractor; three standardised coordinates drive log-rates through random directions of one length, and every unit fires
12 spikes per second on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikefit.spikes import Counts

N_IN, N_OUT, N_TRIALS, N_BINS, BIN_S = 29, 10, 100, 100, 0.01
SPEED, RATE_HZ, STRENGTH = 1.5, 12.0, 1.2  # attractor time per second; mean rate; spread of the log-rates
STEP = 0.002


@dataclass(frozen=True)
class Population:
    """A simulated population: latent (trial, bin, 3), expected counts and counts (trial, bin, unit)."""

    latent: np.ndarray
    expected: np.ndarray
    counts: np.ndarray

    def binned(self) -> Counts:
        """Every trial a segment of its own, 2 s apart."""
        flat = self.counts.reshape(-1, N_IN + N_OUT).astype(np.uint8)
        return Counts(
            counts=np.asfortranarray(flat),
            bin_width_s=BIN_S,
            segment_offsets=np.arange(N_TRIALS + 1) * N_BINS,
            segment_start_s=np.arange(N_TRIALS) * 2.0,
            unit_ids=tuple(f"u{k}" for k in range(N_IN + N_OUT)),
        )


def simulate(seed: int) -> Population:
    """The population of that seed."""
    random = np.random.default_rng(seed)
    state = random.normal(size=(N_TRIALS, 3)) * [8, 9, 8] + [0, 0, 25]
    for _ in range(2000):
        state = _step(state)
    latent = np.empty((N_TRIALS, N_BINS, 3))
    for t in range(N_BINS):
        for _ in range(round(SPEED * BIN_S / STEP)):
            state = _step(state)
        latent[:, t] = state
    latent = (latent - latent.mean((0, 1))) / latent.std((0, 1))
    weights = random.normal(size=(N_IN + N_OUT, 3))
    weights *= STRENGTH / np.linalg.norm(weights, axis=1, keepdims=True)
    expected = np.exp(latent @ weights.T)
    expected *= RATE_HZ * BIN_S / expected.mean((0, 1))
    return Population(latent, expected, random.poisson(expected))


def _step(x: np.ndarray) -> np.ndarray:
    """One Runge-Kutta step of all trials."""
    k1 = _flow(x)
    k2 = _flow(x + STEP / 2 * k1)
    k3 = _flow(x + STEP / 2 * k2)
    k4 = _flow(x + STEP * k3)
    return x + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _flow(x: np.ndarray) -> np.ndarray:
    a, b, c = x.T
    return np.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], axis=1)
