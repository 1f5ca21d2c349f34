"""What is an ordinary hidden unit worth? Sixty units of one sparse network, ten of which are not recorded.

Unlike the drivers of `hidden_drivers.py` the ten are neurons like the others, few of them coupled to any one unit. 30 segments
of 1000 bins of 5 ms, softplus link. The fit with ten hidden units is held against the fit without any, both at the default
ridge and without common drive, by held-out nats per 1000 bins.

    OMP_NUM_THREADS=1 python benchmarks/hidden_ordinary.py [--seeds 300 301 302 303 304]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import spikefit
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

N_UNITS, N_HIDDEN, N_SEGMENTS, SEGMENT_BINS, BIN_S = 60, 10, 30, 1000, 0.005


def recording(seed: int) -> Counts:
    """What is seen of the network of that seed."""
    network = random_network(
        n_visible=N_UNITS,
        n_drivers=0,
        seed=seed,
        bin_width_s=BIN_S,
        window_s=0.05,
        rate_hz=10.0,
        density=0.1,
        strength=1.5,
    )
    counts = simulate(network, duration_s=N_SEGMENTS * SEGMENT_BINS * BIN_S, seed=seed).visible_counts
    kept = np.arange(N_UNITS - N_HIDDEN)
    return Counts(
        counts=np.asfortranarray(counts.counts[:, kept]),
        bin_width_s=BIN_S,
        segment_offsets=np.arange(N_SEGMENTS + 1, dtype=np.int64) * SEGMENT_BINS,
        segment_start_s=np.arange(N_SEGMENTS) * 2 * SEGMENT_BINS * BIN_S,
        unit_ids=tuple(counts.unit_ids[unit] for unit in kept),
    )


def run(seed: int, learning_rate: float | str) -> dict[str, float]:
    """Fit one network with and without hidden units."""
    counts = recording(seed)
    began = time.process_time()
    settings = {"bin": "5ms", "window": "50ms", "common_drive": "off", "device": "cpu", "learning_rate": learning_rate}
    fit = spikefit.POGLM(hidden=N_HIDDEN, **settings).fit(counts)
    return {
        "spikes_per_bin": float(counts.counts.mean()),
        "without": 1000 * fit.metrics["h0_heldout_nats_per_bin"],
        "gain": 1000 * fit.metrics["heldout_gain_nats_per_bin"],
        "gain_se": 1000 * fit.metrics["heldout_gain_se"],
        "cpu_s": time.process_time() - began,
    }


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[300, 301, 302, 303, 304])
    parser.add_argument("--learning-rate", default="auto")
    chosen = parser.parse_args()
    rows = []
    print("| seed | spikes per bin and unit | H = 0, nats per 1000 bins | gain of H = 10 | CPU s |")
    print("| --- | --- | --- | --- | --- |")
    for seed in chosen.seeds:
        rows.append(run(seed, chosen.learning_rate))
        print(_line(str(seed), rows[-1]), flush=True)
    print(_line("median", {key: statistics.median(row[key] for row in rows) for key in rows[0]}))


def _line(seed: str, row: dict[str, float]) -> str:
    return (
        f"| {seed} | {row['spikes_per_bin']:.3f} | {row['without']:.0f} | {row['gain']:.1f} ± {row['gain_se']:.1f} | "
        f"{row['cpu_s']:.0f} |"
    )


if __name__ == "__main__":
    main()
