"""A thousand units for an hour without hidden units: how long, and how much memory?

    OMP_NUM_THREADS=2 python benchmarks/thousand.py            1,000 units × 1 h at 5 ms × 6 functions
    python benchmarks/thousand.py --units 300 --seconds 600
    python benchmarks/thousand.py --write thousand.nwb         the recording alone, for a whole run:
    spikefit infer thousand.nwb -o results/ --bin 5ms --window 100ms --functions 6

Spikes are made here, block after block: lognormal rates (median 3 Hz) and, for every unit, excitation for 20 ms by five others, so that there
is something to find. The fit is the one that a run makes on its training bins and then on all of them, common drive and standard
errors included; reading, figures and files are not. `peak` is what the process held at most, less what it held after its imports.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from spikefit.config import Config
from spikefit.exporters import recording_nwb
from spikefit.fitted import fit_settings
from spikefit.fitting.fit import fit_network
from spikefit.fitting.hooks import Hooks
from spikefit.spikes import Counts, SpikeTrains

BIN_S, MEDIAN_HZ, N_INPUTS, EXTRA = 0.005, 3.0, 5, 0.1


def make_counts(n_units: int, n_bins: int, seed: int) -> np.ndarray:
    """Counts, (bin, unit): each unit's expected count rises by a tenth of a spike for four bins behind a spike of an input."""
    rng = np.random.default_rng(seed)
    base = np.minimum(MEDIAN_HZ * rng.lognormal(0, 0.7, n_units), 30.0) * BIN_S
    inputs = np.stack([rng.choice(n_units, N_INPUTS, replace=False) for _ in range(n_units)])
    counts = np.zeros((n_units, n_bins), dtype=np.uint8)
    block = 4  # four bins at once: excitation comes from the four bins before them
    for start in range(0, n_bins, block):
        before = counts[:, max(0, start - block) : start].sum(1)
        expected = base + EXTRA / block * before[inputs].sum(1)
        counts[:, start : start + block] = rng.poisson(expected[:, None], (n_units, min(block, n_bins - start)))
    return counts.T


def write(path: Path, counts: np.ndarray, seed: int) -> None:
    """The recording as spike times, each somewhere in its bin."""
    rng = np.random.default_rng([seed, 1])
    trains = {}
    for unit, own in enumerate(counts.T):
        bins = np.repeat(np.arange(len(own)), own)
        trains[f"u{unit}"] = np.sort((bins + rng.uniform(0.01, 0.99, len(bins))) * BIN_S)
    recording_nwb.write(SpikeTrains.from_trains(trains, t_start_s=0.0, t_stop_s=len(counts) * BIN_S), path)


def memory_kb(name: str) -> int:
    """A line of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Print what was done when, and one row of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--functions", type=int, default=6)
    parser.add_argument("--memory-gb", type=float, default=10.0, help="limit that the fit plans with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="write the recording to this NWB file, and fit nothing")
    chosen = parser.parse_args()
    if chosen.write is not None:
        write(chosen.write, make_counts(chosen.units, round(chosen.seconds / BIN_S), chosen.seed), chosen.seed)
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.zeros(1000, 1000) @ torch.zeros(1000, 1000)
    after_imports = memory_kb("VmRSS")
    n_bins = round(chosen.seconds / BIN_S)
    counts = Counts(
        counts=make_counts(chosen.units, n_bins, chosen.seed),
        bin_width_s=BIN_S,
        segment_offsets=np.array([0, n_bins], dtype=np.int64),
        segment_start_s=np.zeros(1),
        unit_ids=tuple(f"u{k}" for k in range(chosen.units)),
    )
    print(f"spikes per bin and unit: {counts.counts.mean():.4f}", flush=True)
    began, began_cpu = time.perf_counter(), time.process_time()

    def tell(done: float, **figures: float) -> None:
        told = ", ".join(f"{name} {value:.6g}" for name, value in figures.items())
        print(
            f"{time.perf_counter() - began:7.0f} s, {time.process_time() - began_cpu:7.0f} CPU s: {done:g}, {told}",
            flush=True,
        )

    settings = Config().replace(functions=chosen.functions, memory_limit=f"{chosen.memory_gb}GB")
    fit = fit_network(counts, fit_settings(settings), device=torch.device("cpu"), hooks=Hooks(update=tell))
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    peak = (memory_kb("VmHWM") - after_imports) / 1e6
    print("| units × bins × functions | threads | wall s | CPU s | peak GB | converged | held out, bits per spike |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {chosen.units} × {n_bins} × {chosen.functions} | {torch.get_num_threads()} | {wall:.0f} | {cpu:.0f} | {peak:.1f} | "
        f"{fit.metrics['converged']} | {fit.metrics['heldout_bits_per_spike']:.3f} |"
    )


if __name__ == "__main__":
    main()
