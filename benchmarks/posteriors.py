"""What an epoch costs with each posterior: forward and backward over all bins of 50 + 10 units × 30 000 bins, five draws.

    python benchmarks/posteriors.py
    python benchmarks/posteriors.py --family poisson --core 500 --windows 60

Windows and batches are those of `spikefit infer` unless given. One thread; CPU seconds of one pass in steps, the
optimiser's steps included; the least of `--repeats` passes after one to warm up.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from spikefit.fitting.loop import Loop, LoopSettings
from spikefit.fitting.sizes import CORE_BINS, batch_windows
from spikefit.fitting.windows import Windows
from spikefit.models.basis import make_basis
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.posteriors import POSTERIORS
from spikefit.prob import get_estimator
from spikefit.prob.single import single_spike_estimator

BIN_S, WINDOW_S, N_FUNCTIONS, EXPECTED_COUNT = 0.005, 0.1, 5, 0.06


def start(model: POGLMNetwork, generator: torch.Generator) -> None:
    """Small random couplings round plausible rates: what is timed does not depend on them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            rate = -2.8 if name in ("baseline", "posterior.offset") else 0.0
            parameter.copy_(rate + 0.02 * torch.randn(parameter.shape, generator=generator))


def main() -> None:
    """Print a row of a Markdown table for every posterior."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visible", type=int, default=50)
    parser.add_argument("--hidden", type=int, default=10)
    parser.add_argument("--bins", type=int, default=30_000)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--family", default="categorical")
    parser.add_argument("--estimator", default="eat-cubic")
    parser.add_argument("--core", type=int, default=CORE_BINS)
    parser.add_argument("--windows", type=int, help="windows per step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--posteriors", nargs="*", default=list(POSTERIORS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    basis = make_basis("raised-cosine-log", window_s=WINDOW_S, bin_width_s=BIN_S, n_functions=N_FUNCTIONS)
    counts = torch.poisson(torch.full((chosen.visible, chosen.bins), EXPECTED_COUNT), generator).to(torch.uint8)
    choose = single_spike_estimator if chosen.family == "categorical" else get_estimator
    estimator = choose(chosen.estimator, temperature=0.5)
    n_windows = chosen.windows or batch_windows(chosen.bins, chosen.core)
    print("| posterior | family | estimator | bins of a window | windows a step | CPU s an epoch |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in chosen.posteriors:
        model = POGLMNetwork(
            chosen.visible,
            chosen.hidden,
            torch.from_numpy(basis).float(),
            link="softplus",
            family=chosen.family,
            posterior=kind,
        )
        start(model, generator)
        ranges = np.array([[len(basis), chosen.bins]])
        offsets = np.array([0, chosen.bins])
        loop = Loop(
            model,
            Windows(counts, offsets, ranges, context=model.context, core_bins=chosen.core),
            estimator=estimator,
            settings=LoopSettings(
                learning_rate=1e-4,
                n_draws=chosen.draws,
                ridge=1.0,
                batch_windows=n_windows,
                part_windows=max(1, 4096 // chosen.core),
            ),
            generator=generator,
            shuffle=torch.Generator().manual_seed(0),
            name_unit=str,
        )
        costs = []
        for _ in range(chosen.repeats + 1):
            began = time.process_time()
            loop.epoch(1.0, 1.0)
            costs.append(time.process_time() - began)
        cells = (kind, chosen.family, estimator.name, str(chosen.core), str(n_windows), f"{min(costs[1:]):.1f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
