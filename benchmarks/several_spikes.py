"""Wide bins, in which a hidden unit fires several spikes: what is it worth that the posterior can say so?

Networks of 20 recorded units, sparsely coupled, and 2 drivers that each excite about 60 % of them at 20 spikes per second; 600 s,
simulated in bins of 50 ms and fitted in the same bins with `hidden=2`, a window of 250 ms and no common drive. A categorical posterior of
at most one spike is held against one of at most three and against the Poisson one, on the same held-out blocks.

    OMP_NUM_THREADS=1 python benchmarks/several_spikes.py [--seeds 60 61 62 63 64]

Columns: mean hidden spikes per bin and the share of bins that hold two or more; then, for each posterior, the gain of the held-out
bound over H = 0 in nats per bin with its standard error, the lesser of the two drivers' correlations with the hidden unit matched to it,
and CPU seconds.
"""

from __future__ import annotations

import argparse
import time

from hidden_drivers import driver_correlations

import spikefit
from spikefit.simulate import random_network, simulate

N_DRIVERS, DURATION_S, BIN_S = 2, 600.0, 0.05
POSTERIORS = {"at most 1": {"max_count": 1}, "at most 3": {"max_count": 3}, "poisson": {"family": "poisson"}}


def run(seed: int) -> list[str]:
    """The cells of one row."""
    network = random_network(
        n_visible=20,
        n_drivers=N_DRIVERS,
        seed=seed,
        bin_width_s=BIN_S,
        window_s=0.25,
        rate_hz=6.0,
        density=0.05,
        strength=0.5,
        fan_out=0.6,
        driver_strength=1.0,
        driver_rate_hz=20.0,
    )
    simulation = simulate(network, duration_s=DURATION_S, seed=seed)
    hidden = simulation.hidden_counts
    cells = [str(seed), f"{hidden.mean():.2f}", f"{(hidden >= 2).mean():.2f}"]
    settings = {"hidden": N_DRIVERS, "bin": "50ms", "window": "250ms", "common_drive": "off", "device": "cpu"}
    for chosen in POSTERIORS.values():
        began = time.process_time()
        fit = spikefit.POGLM(**settings, **chosen).fit(simulation.visible_counts)
        cpu_s = time.process_time() - began
        least = driver_correlations(fit, simulation, BIN_S).min()
        gain, error = fit.metrics["heldout_gain_nats_per_bin"], fit.metrics["heldout_gain_se"]
        cells.append(f"{gain:.3f} ± {error:.3f}, {least:.2f}, {cpu_s:.0f} s")
    return cells


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[60, 61, 62, 63, 64])
    print("| seed | hidden spikes per bin | bins with ≥ 2 | " + " | ".join(POSTERIORS) + " |")
    print("| --- | --- | --- |" + " --- |" * len(POSTERIORS))
    for seed in parser.parse_args().seeds:
        print("| " + " | ".join(run(seed)) + " |", flush=True)


if __name__ == "__main__":
    main()
