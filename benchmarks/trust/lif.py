"""A plain simulator of leaky integrate-and-fire networks, and the theory that its rate curve must meet.

    τ dV = (μ − V) dt + σ √(2τ) dW;   at V ≥ threshold: a spike, V = reset, and silence for the refractory time

A spike of a sender moves the receiver's V by J, a delay later. Between steps the equation is solved exactly; only the
threshold is looked at in steps, which loses crossings inside a step, as if it stood 0.5826 σ √(2 dt / τ) higher.

    python benchmarks/trust/lif.py       rates of single units against the theory

Sources: Siegert, "On the first passage time probability problem" (Phys Rev 1951); Broadie, Glasserman and Kou, "A
continuity correction for discrete barrier options" (Mathematical Finance 1997) for the shift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import erfcx

from spikefit.spikes import Counts

STEP_S, TAU_S, REFRACTORY_S = 0.0005, 0.02, 0.002
THRESHOLD_MV, RESET_MV, NOISE_MV = 20.0, 10.0, 5.0
DELAYS_S = (0.001, 0.005)
JUMP_MV = 3.0
CHUNK = 4000

Array = NDArray[np.float64]


def siegert_rate_hz(mean_mv: float, *, shifted: bool = True) -> float:
    """Firing rate of an unconnected unit; `shifted` moves the threshold as the simulation's steps do."""
    threshold = THRESHOLD_MV + (0.5826 * NOISE_MV * np.sqrt(2 * STEP_S / TAU_S) if shifted else 0.0)
    # With noise σ√(2τ) the stationary standard deviation of V is σ.
    low, high = ((v - mean_mv) / (np.sqrt(2) * NOISE_MV) for v in (RESET_MV, threshold))
    passage, _ = quad(lambda x: erfcx(-x), low, high)
    return 1 / (REFRACTORY_S + TAU_S * np.sqrt(np.pi) * passage)


def simulate(mean_mv: Array, jump_mv: Array, delay_s: Array, *, duration_s: float, seed: int, bin_s: float) -> Array:
    """Spike counts, (bin, unit).

    Args:
        mean_mv: μ of every unit.
        jump_mv: J, (post, pre).
        delay_s: (post, pre).
        duration_s: how long.
        seed: of the noise.
        bin_s: bin width, a multiple of the step.
    """
    rng = np.random.default_rng([seed, 11])
    n_units, n_steps, per_bin = len(mean_mv), round(duration_s / STEP_S), round(bin_s / STEP_S)
    keep = np.exp(-STEP_S / TAU_S)
    spread = NOISE_MV * np.sqrt(1 - keep**2)
    steps = np.maximum(1, np.round(delay_s / STEP_S).astype(int))
    ring = np.zeros((steps.max() + 1, n_units))
    receivers = [np.flatnonzero(column) for column in jump_mv.T]
    v, silent = mean_mv.copy(), np.zeros(n_units, dtype=int)
    counts = np.zeros((n_steps // per_bin, n_units), dtype=np.uint8)
    towards = (1 - keep) * mean_mv
    for t in range(n_steps):
        if t % CHUNK == 0:
            noise = towards + spread * rng.standard_normal((CHUNK, n_units))
        slot = t % len(ring)
        v = keep * v + noise[t % CHUNK] + ring[slot]
        ring[slot] = 0.0
        resting = silent > 0
        if resting.any():
            v[resting] = RESET_MV
            silent[resting] -= 1
        fired = v >= THRESHOLD_MV
        if fired.any():
            v[fired] = RESET_MV
            silent[fired] = round(REFRACTORY_S / STEP_S)
            for unit in np.flatnonzero(fired):
                counts[min(t // per_bin, len(counts) - 1), unit] += 1
                to = receivers[unit]
                ring[(slot + steps[to, unit]) % len(ring), to] += jump_mv[to, unit]
    return counts


def recording(
    seed: int, *, n_units: int, duration_s: float, bin_s: float, density: float
) -> tuple[Counts, NDArray[np.bool_]]:
    """A random network's counts and its connections, (post, pre)."""
    rng = np.random.default_rng([seed, 10])
    connected = rng.random((n_units, n_units)) < density
    np.fill_diagonal(connected, False)
    sign = np.where(rng.random((n_units, n_units)) < 0.5, -1.0, 1.0)
    jump_mv = connected * sign * JUMP_MV * np.exp(0.2 * rng.standard_normal((n_units, n_units)))
    delay_s = rng.uniform(*DELAYS_S, (n_units, n_units))
    mean_mv = rng.uniform(11.0, 15.0, n_units)
    counts = simulate(mean_mv, jump_mv, delay_s, duration_s=duration_s, seed=seed, bin_s=bin_s)
    return (
        Counts(
            counts=np.asfortranarray(counts),
            bin_width_s=bin_s,
            segment_offsets=np.array([0, len(counts)], dtype=np.int64),
            segment_start_s=np.array([0.0]),
            unit_ids=tuple(f"n{unit:02d}" for unit in range(n_units)),
        ),
        connected,
    )


def main() -> None:
    """Rates of single units against the theory."""
    means = np.array([8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0])
    apart = np.zeros((len(means), len(means)))
    duration_s = 400.0
    counts = simulate(means, apart, apart, duration_s=duration_s, seed=0, bin_s=0.01)
    print("| μ, mV | simulated, Hz | standard error | theory at this step, Hz | theory in continuous time, Hz |")
    print("| --- | --- | --- | --- | --- |")
    for mean_mv, column in zip(means, counts.T, strict=True):
        per_second = column.reshape(-1, 100).sum(axis=1)
        error = per_second.std() / np.sqrt(len(per_second))
        print(
            f"| {mean_mv:g} | {column.sum() / duration_s:.2f} | {error:.2f} | {siegert_rate_hz(mean_mv):.2f} | "
            f"{siegert_rate_hz(mean_mv, shifted=False):.2f} |"
        )


if __name__ == "__main__":
    main()
