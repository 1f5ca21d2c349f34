"""What a fit of one epoch and an encoding need in memory above the counts and the latents themselves, by the length of the recording.

    python benchmarks/pvae/memory.py --hours 1
    python benchmarks/pvae/memory.py --hours 4

100 units in bins of 20 ms, 32 latents. One process measures one length: the peak of a process never falls.
"""

from __future__ import annotations

import argparse
import resource

import numpy as np
import torch

from spikefit.config import Config
from spikefit.fitting.pvae.apply import encode
from spikefit.fitting.pvae.fit import fit_pvae
from spikefit.pvae_pipeline import pvae_settings
from spikefit.spikes import Counts

N_UNITS, BIN_S = 100, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Ten minutes go through everything first, so that libraries and the buffers of whole batches are not counted.
    settings = pvae_settings(Config().replace(bin="20ms", latents=32, max_epochs=1))
    work(drawn(600.0), settings)
    counts = drawn(3600 * options.hours)
    before = peak_mb()
    size = work(counts, settings)
    print(
        f"{options.hours:g} h: counts {counts.counts.nbytes / 1e6:.0f} MB, latents {size:.0f} MB, peak above both "
        f"{peak_mb() - before - size:.0f} MB"
    )


def work(counts: Counts, settings) -> float:
    """Fit and encode; the size of the latents in MB."""
    fitted = fit_pvae(counts, settings, device=torch.device("cpu"))
    return encode(fitted.network, counts).nbytes / 1e6


def drawn(duration_s: float) -> Counts:
    """Independent units of 2 spikes per second, drawn unit by unit."""
    random = np.random.default_rng(0)
    n_bins = round(duration_s / BIN_S)
    values = np.empty((n_bins, N_UNITS), dtype=np.uint8, order="F")
    for unit in range(N_UNITS):
        values[:, unit] = random.random(n_bins) < 0.04
    return Counts(values, BIN_S, np.array([0, n_bins]), np.zeros(1), tuple(f"u{k}" for k in range(N_UNITS)))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
