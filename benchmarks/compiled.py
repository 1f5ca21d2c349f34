"""What `--compile` costs and brings: time to compile, and time of a training step with and without, one after the other in turn.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py

Independent Poisson counts in 30,000 bins; 30 visible units with `--hidden 5` (bins of 10 ms, 0.05 spikes per bin) and 200 with
`--hidden 10` (5 ms, 0.025), three restarts, categorical posterior, two draws, a history of 100 ms, so with the hidden units that a search begins with
(8 and 16). Blocks of steps alternate between the two, since a busy machine slows both; medians of CPU seconds over blocks and the median of the
ratio of neighbouring blocks, with its range. To see the compiler start from nothing, set TORCHINDUCTOR_CACHE_DIR to an empty folder.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from spikefit.fitting.loop import Loop, LoopSettings
from spikefit.fitting.sizes import CORE_BINS, batch_windows, n_start
from spikefit.fitting.windows import Windows
from spikefit.models.basis import make_basis
from spikefit.models.kernels import Kernels
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.single import single_spike_estimator

N_BINS, RESTARTS, BLOCKS = 30_000, 3, 15
SIZES = (
    (30, 5, 0.01, 0.05, 15),
    (200, 10, 0.005, 0.025, 5),
)  # visible, hidden, bin in s, expected count, steps of a block


def make_loop(n_visible: int, n_hidden: int, bin_s: float, expected: float, kernels: Kernels | None) -> Loop:
    """A loop at the start of a search."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full((n_visible, N_BINS), expected), generator=generator).to(torch.uint8)
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.1, bin_width_s=bin_s, n_functions=5)).float()
    model = POGLMNetwork(
        n_visible, n_start(n_hidden), basis, link="softplus", family="categorical", n_restarts=RESTARTS
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
        model.baseline -= 3.0
        model.posterior.offset -= 3.0
    ranges = np.array([[len(basis), N_BINS]])
    windows = Windows(counts, np.array([0, N_BINS]), ranges, context=model.context, core_bins=CORE_BINS)
    return Loop(
        model,
        windows,
        estimator=single_spike_estimator("eat-cubic", temperature=0.5),
        settings=LoopSettings(1e-4, 2, 1.0, batch_windows(N_BINS, CORE_BINS), kernels=kernels),
        generator=torch.Generator().manual_seed(0),
        shuffle=torch.Generator().manual_seed(0),
        name_unit=str,
    )


def block(loop: Loop, n_steps: int) -> float:
    """CPU seconds of one step."""
    parts = torch.arange(len(loop.windows)).split(loop.settings.batch_windows)
    began = time.process_time()
    for step in range(n_steps):
        loop.step(parts[step % len(parts)], step, 1e-4)
    return (time.process_time() - began) / n_steps


def main() -> None:
    """Print a Markdown table."""
    torch.set_num_threads(1)
    print("| units | compiling, s | step, ms | step compiled, ms | ratio (range) | paid back after steps |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n_visible, n_hidden, bin_s, expected, n_steps in SIZES:
        kernels = Kernels()
        loops = [make_loop(n_visible, n_hidden, bin_s, expected, each) for each in (None, kernels)]
        for loop in loops:
            block(loop, 16)  # all batches, the last one too
        if kernels.fault is not None:
            raise SystemExit(f"torch.compile does not work here: {kernels.fault}")
        plain, compiled = np.array([[block(loop, n_steps) for loop in loops] for _ in range(BLOCKS)]).T
        ratios = sorted((compiled / plain).tolist())
        steps = kernels.compile_s / max(1e-9, statistics.median(plain) - statistics.median(compiled))
        paid = f"{steps:.0f}" if ratios[len(ratios) // 2] < 1 else "never"
        print(
            f"| {n_visible} + {n_hidden} | {kernels.compile_s:.0f} | {1e3 * statistics.median(plain):.1f} | "
            f"{1e3 * statistics.median(compiled):.1f} | {ratios[len(ratios) // 2]:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) | {paid} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
