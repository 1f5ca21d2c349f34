"""Time of one training epoch and of encoding: 1 h in bins of 20 ms, 100 units, 32 latents, conv | conv, one thread.

    python benchmarks/pvae/speed.py

CPU seconds of this process; imports left out. The peak of memory is printed for 1 h and for 2 h.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from spikefit.config import Config
from spikefit.fitting.pvae.apply import encode
from spikefit.fitting.pvae.fit import new_training
from spikefit.fitting.pvae.folds import FoldRanges
from spikefit.provenance import peak_rss_bytes
from spikefit.pvae_pipeline import pvae_settings
from spikefit.spikes import Counts


def counts(hours: int) -> Counts:
    """Poisson counts of 5 spikes per second."""
    n_bins = 180_000 * hours
    values = np.random.default_rng(0).poisson(0.1, size=(100, n_bins)).astype(np.uint8)
    return Counts(values.T, 0.02, np.array([0, n_bins]), np.zeros(1), tuple(f"u{k}" for k in range(100)))


def main() -> None:
    torch.set_num_threads(1)
    settings = pvae_settings(Config().replace(bin="20ms", latents=32))
    for hours in (1, 2):
        data = counts(hours)
        everything = np.array([[0, data.n_bins]])
        ranges = FoldRanges(everything, everything, everything)
        training = new_training(data, ranges, settings, torch.device("cpu"))
        began = time.process_time()
        training.loop.epoch((1.0, 1.0))
        epoch_s = time.process_time() - began
        began = time.process_time()
        encode(training.loop.model, data)
        encode_s = time.process_time() - began
        print(
            f"{hours} h: epoch {epoch_s:.1f} s, encoding {encode_s:.1f} s, peak {peak_rss_bytes() / 1e6:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
