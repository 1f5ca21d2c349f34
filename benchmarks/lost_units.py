"""Units that are lost part of the time: what the mask costs, and what it saves.

20 recorded units for 30 minutes in bins of 10 ms, sparsely coupled; ten of them are lost for a third of the time, one stretch
each at a time of its own. The same spikes are fitted three times: *whole*, with nobody lost; *masked*, with the lost time given; *silent*,
with the spikes taken out but the lost time not given, as a recording would be whose file does not tell. Without drivers the fit has no
hidden units, with two drivers it has two (two restarts).

    OMP_NUM_THREADS=1 python benchmarks/lost_units.py [--seeds 80 81 82] [--drivers 0 2] [--minutes 30]

Columns: whether the fit converged; CPU seconds; the score on held-out bins in bits per spike, each over its own bins;
the couplings' distance from the truth, root mean square in units of the whole fit's standard errors, of pairs
with no lost unit, a lost receiver, a lost sender, both; the mean error of the baselines of lost units and of the others, in the drive; with
drivers the correlation of each driver's spikes with the hidden unit matched to it. The errors are those of the fit without
hidden units and without drivers; with them the distance is in units of the drive, as there are no errors of that kind for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

import numpy as np
from hidden_drivers import driver_correlations
from numpy.typing import NDArray

import spikefit
from spikefit.fitted import Fit
from spikefit.simulate import Simulation, random_network, simulate
from spikefit.spikes import Counts

N_UNITS, N_LOST, BIN_S = 20, 10, 0.01
LOST_SHARE = 1 / 3


def lose(counts: Counts, seed: int) -> NDArray[np.bool_]:
    """Where the first ten units are lost, (bin, unit): one stretch each."""
    rng = np.random.default_rng([seed, 1])
    length = round(LOST_SHARE * counts.n_bins)
    lost = np.zeros(counts.counts.shape, dtype=bool, order="F")
    for unit, start in enumerate(rng.integers(0, counts.n_bins - length, N_LOST).tolist()):
        lost[start : start + length, unit] = True
    return lost


def three_ways(simulation: Simulation, seed: int) -> dict[str, Counts]:
    """The recording whole, with its lost time given, and with it not given."""
    whole = simulation.visible_counts
    lost = lose(whole, seed)
    taken_out = np.asfortranarray(np.where(lost, 0, whole.counts).astype(np.uint8))
    silent = dataclasses.replace(whole, counts=taken_out)
    return {"whole": whole, "masked": dataclasses.replace(silent, lost=lost), "silent": silent}


def distances(fit: Fit, simulation: Simulation, scale: NDArray[np.float64]) -> list[str]:
    """Root-mean-square distance of couplings from the truth, by who is lost, then mean errors of baselines."""
    truth = simulation.network
    off = ~np.eye(N_UNITS, dtype=bool)
    is_lost = np.arange(N_UNITS) < N_LOST
    away = (fit.connectivity[:N_UNITS, :N_UNITS] - truth.connectivity[:N_UNITS, :N_UNITS]) / scale
    cells = []
    for receiver, sender in ((False, False), (True, False), (False, True), (True, True)):
        pairs = off & (is_lost == receiver)[:, None] & (is_lost == sender)
        cells.append(f"{np.sqrt(np.mean(away[pairs] ** 2)):.2f}")
    off_by = fit.baseline[:N_UNITS] - truth.baseline[:N_UNITS]
    return [*cells, f"{off_by[is_lost].mean():+.3f}", f"{off_by[~is_lost].mean():+.3f}"]


def rows(n_drivers: int, seed: int, duration_s: float) -> list[list[str]]:
    """The rows of one network."""
    network = random_network(
        n_visible=N_UNITS, n_drivers=n_drivers, seed=seed, density=0.1, strength=1.0, fan_out=0.6, driver_rate_hz=6.0
    )
    simulation = simulate(network, duration_s=duration_s, seed=seed)
    settings: dict[str, Any] = {"hidden": n_drivers, "bin": "10ms", "common_drive": "off", "device": "cpu"}
    if n_drivers:
        settings |= {"restarts": 2}
    out, scale = [], np.ones((N_UNITS, N_UNITS))
    for name, counts in three_ways(simulation, seed).items():
        began = time.process_time()
        fit = spikefit.POGLM(**settings).fit(counts)
        cpu_s = time.process_time() - began
        if name == "whole" and not n_drivers:
            scale = np.asarray(fit.std_error)
        found = ", ".join(f"{r:.2f}" for r in driver_correlations(fit, simulation, BIN_S)) if n_drivers else "–"
        converged = "yes" if fit.metrics["converged"] else "no"
        bits = f"{fit.metrics['heldout_bits_per_spike']:.4f}"
        out.append(
            [
                str(n_drivers),
                str(seed),
                name,
                converged,
                f"{cpu_s:.1f}",
                bits,
                *distances(fit, simulation, scale),
                found,
            ]
        )
    return out


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[80, 81, 82])
    parser.add_argument("--drivers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--minutes", type=float, default=30.0)
    chosen = parser.parse_args()
    columns = ["drivers", "seed", "fit", "converged", "CPU s", "bits per spike", "no unit lost", "receiver lost"]
    columns += ["sender lost", "both lost", "baseline, lost", "baseline, others", "r of drivers"]
    print("| " + " | ".join(columns) + " |")
    print("| --- " * len(columns) + "|")
    for n_drivers in chosen.drivers:
        for seed in chosen.seeds:
            for row in rows(n_drivers, seed, 60 * chosen.minutes):
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
