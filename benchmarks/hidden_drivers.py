"""Does the fit find units that were not recorded? Simulated networks with strong unrecorded drivers.

Each network has 30 recorded units, sparsely coupled, and 5 drivers that each excite about 60 % of them; 400 s in bins
of 10 ms. A fit with hidden units is compared with the fit without, and with the same fit of counts whose units were
shifted against one another in time, which leaves every unit as it was and no hidden driver to find.

    python benchmarks/hidden_drivers.py                    the table, all of it
    python benchmarks/hidden_drivers.py --seeds 0 --families categorical
    python benchmarks/hidden_drivers.py --seeds 20 21 22 23 --families categorical --depths 0 1 --no-shifted

Columns: gain of the held-out score over H = 0 in nats per bin with its standard error; correlation of each driver's
true spikes with the posterior of the hidden unit matched to it (bins of 10 ms, no smoothing), median and least; average
precision of the recorded units' couplings, ranked by size, with hidden units and without; time on this machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import time

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import average_precision_score

import spikefit
import spikefit.fitted
from spikefit.simulate import Network, Simulation, random_network, simulate
from spikefit.spikes import Counts

N_VISIBLE, N_DRIVERS, DURATION_S, BIN_S = 30, 5, 400.0, 0.01


def network(seed: int) -> Network:
    """The benchmark's network of that seed."""
    return random_network(
        n_visible=N_VISIBLE,
        n_drivers=N_DRIVERS,
        seed=seed,
        bin_width_s=BIN_S,
        strength=1.2,
        fan_out=0.6,
        driver_strength=5.0,
        driver_rate_hz=6.0,
    )


def driver_correlations(fit: spikefit.fitted.Fit, simulation: Simulation, bin_s: float = BIN_S) -> np.ndarray:
    """Correlation of each driver's true spikes with the hidden unit matched to it."""
    bins = np.round(fit.hidden.time_s / bin_s).astype(int)
    both = np.corrcoef(fit.hidden.expected_count.T, simulation.hidden_counts[bins].T)
    n_hidden = fit.hidden.expected_count.shape[1]
    cross = np.nan_to_num(both[:n_hidden, n_hidden:])
    rows, columns = linear_sum_assignment(-cross)
    return cross[rows, columns][np.argsort(columns)]


def edge_precision(fit: spikefit.fitted.Fit, truth: Network) -> float:
    """Average precision of the visible couplings, ranked by absolute size."""
    pairs = ~np.eye(N_VISIBLE, dtype=bool)
    wanted = truth.connectivity[:N_VISIBLE, :N_VISIBLE][pairs] != 0
    found = np.abs(fit.connectivity[:N_VISIBLE, :N_VISIBLE][pairs])
    return float(average_precision_score(wanted, found))


def shifted(counts: Counts, seed: int) -> Counts:
    """The same counts with every unit turned round in time by an amount of its own."""
    rng = np.random.default_rng([seed, 9])
    turned = [np.roll(column, rng.integers(1000, counts.n_bins - 1000)) for column in counts.counts.T]
    return dataclasses.replace(counts, counts=np.asfortranarray(np.stack(turned, axis=1)))


def run(
    seed: int, family: str, *, shift: bool = False, depth: int = 0, learning_rate: float | str = 0.01
) -> dict[str, float]:
    """Fit one network and measure."""
    truth = network(seed)
    simulation = simulate(truth, duration_s=DURATION_S, seed=seed)
    counts = shifted(simulation.visible_counts, seed) if shift else simulation.visible_counts
    settings = {"bin": "10ms", "window": "100ms", "common_drive": "off", "device": "cpu"}
    began, cpu = time.perf_counter(), time.process_time()
    fit = spikefit.POGLM(
        hidden=N_DRIVERS, family=family, posterior_depth=depth, learning_rate=learning_rate, **settings
    ).fit(counts)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    without = spikefit.POGLM(hidden=0, **settings).fit(counts)
    correlations = driver_correlations(fit, simulation)
    return {
        "gain": fit.metrics["heldout_gain_nats_per_bin"],
        "gain_se": fit.metrics["heldout_gain_se"],
        "r_median": float(np.median(correlations)),
        "r_least": float(correlations.min()),
        "found": int((correlations >= 0.35).sum()),
        "ap": edge_precision(fit, truth),
        "ap_h0": edge_precision(without, truth),
        "wall_s": wall_s,
        "cpu_s": cpu_s,
    }


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--families", nargs="+", default=["poisson", "categorical"])
    parser.add_argument("--depths", type=int, nargs="+", default=[0], help="convolutions in the posterior's read-out")
    parser.add_argument("--no-shifted", action="store_true", help="leave out the control")
    parser.add_argument("--learning-rate", default="auto")
    chosen = parser.parse_args()
    print(
        "| counts | posterior | seed | gain, nats/bin | r median | r least | found | AP | AP, H = 0 | wall s | CPU s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for shift in (False,) if chosen.no_shifted else (False, True):
        for family, depth in itertools.product(chosen.families, chosen.depths):
            name = family if not depth else f"{family}, depth {depth}"
            rows = []
            for seed in chosen.seeds:
                row = run(seed, family, shift=shift, depth=depth, learning_rate=chosen.learning_rate)
                rows.append(row)
                print(_line("shifted" if shift else "as simulated", name, str(seed), row), flush=True)
            middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            print(_line("shifted" if shift else "as simulated", name, "median", middle), flush=True)


def _line(kind: str, family: str, seed: str, row: dict[str, float]) -> str:
    return (
        f"| {kind} | {family} | {seed} | {row['gain']:.3f} ± {row['gain_se']:.3f} | {row['r_median']:.2f} | "
        f"{row['r_least']:.2f} | {row['found']:g} of {N_DRIVERS} | {row['ap']:.3f} | {row['ap_h0']:.3f} | "
        f"{row['wall_s']:.0f} | {row['cpu_s']:.0f} |"
    )


if __name__ == "__main__":
    main()
