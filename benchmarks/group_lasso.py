"""The group lasso along its path: does a fit that starts from the one before take fewer iterations, and is each at its optimum?

60 recorded units for 20 minutes in bins of 10 ms, 5 % of the pairs coupled, five functions a filter; no common drive, one thread. The path
is that of `--group-lasso auto`: from the weakest penalty that silences every pair down by factors of 0.6. `cold` starts every strength
from nothing but the features' Gram matrix.

    OMP_NUM_THREADS=1 python benchmarks/group_lasso.py [--units 60] [--minutes 20] [--cold 0 4 9]

Columns: penalty as a share of the one that silences all; pairs that are left, true ones among them; iterations and CPU seconds warm, and cold where
that was asked for; the mismatch of the optimality conditions as a share of the penalty, and how much less than the cold fit the
objective is, in nats.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from spikefit.fitting.corners import Corners, fit_with_corners, weakest_that_silences
from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.knowing import PATH_RATIO, PATH_STEPS
from spikefit.fitting.memory import FitSize, plan_memory
from spikefit.models.basis import make_basis
from spikefit.simulate import random_network, simulate

BIN_S, WINDOW_S, N_FUNCTIONS, RIDGE = 0.01, 0.1, 5, 1.0


def timed(design: Design, corners: Corners, start: GLMFit | None) -> tuple[GLMFit, float]:
    """A fit and its CPU seconds."""
    began = time.process_time()
    fit = fit_with_corners(design, corners, ridge=RIDGE, start=start)
    return fit, time.process_time() - began


def nothing(fit: GLMFit, design: Design) -> GLMFit:
    """A start at constant rates that knows the Gram matrix."""
    rate = (design.count_sums() / design.n_bins).clamp(min=1e-6)
    baseline = torch.log(torch.expm1(rate))
    return GLMFit(
        torch.zeros_like(fit.weights), baseline, torch.zeros_like(rate), converged=False, spectrum=fit.spectrum
    )


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument(
        "--cold", type=int, nargs="*", default=[0, 4, 9], help="steps of the path to start cold as well"
    )
    parser.add_argument("--seed", type=int, default=90)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    network = random_network(n_visible=chosen.units, n_drivers=0, seed=chosen.seed, density=0.05, strength=1.0)
    counts = simulate(network, duration_s=60 * chosen.minutes, seed=chosen.seed).counts
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T))
    basis = make_basis("raised-cosine-log", window_s=WINDOW_S, bin_width_s=BIN_S, n_functions=N_FUNCTIONS)
    n_units, n_bins = by_unit.shape
    plan = plan_memory(FitSize(n_units, n_bins, int(by_unit.sum()), 1, N_FUNCTIONS, len(basis), 0), 1 << 30)
    design = Design(
        by_unit,
        np.array([[len(basis), n_bins]]),
        torch.from_numpy(basis).float(),
        cache_bytes=plan.cache_bytes,
        block_bins=plan.block_bins,
    )
    off = ~torch.eye(n_units, dtype=torch.bool)
    free = torch.zeros(n_units, n_units, dtype=torch.int64)
    true = torch.from_numpy(network.connectivity != 0) & off

    def corners(strength: float) -> Corners:
        return Corners(strength * off.double(), free, N_FUNCTIONS)

    began = time.process_time()
    strongest = weakest_that_silences(design, corners(1.0), ridge=RIDGE)
    print(
        f"{n_units} units x {n_bins} bins; the penalty that silences all, {strongest:.3g}, took {time.process_time() - began:.1f} CPU s\n"
    )
    print(
        "| share of the strongest | pairs left | true among them | iterations | CPU s | mismatch / penalty | cold: iterations | CPU s | warm − cold, nats |"
    )
    print("| --- " * 9 + "|")
    fit, spent = None, 0.0
    for step in range(PATH_STEPS):
        strength = strongest * PATH_RATIO**step
        fit, warm_s = timed(design, corners(strength), fit)
        spent += warm_s
        left = (fit.weights.unflatten(1, (n_units, -1)) != 0).any(2) & off
        assert fit.kkt is not None
        mismatch = fit.kkt.max().item() / strength
        cells = [
            f"{PATH_RATIO**step:.3f}",
            str(int(left.sum())),
            str(int((left & true).sum())),
            str(len(fit.objective) - 1),
        ]
        cells += [f"{warm_s:.1f}", f"{mismatch:.4f}"]
        if step in chosen.cold:
            again, cold_s = timed(design, corners(strength), nothing(fit, design))
            behind = fit.objective[-1] - again.objective[-1]
            cells += [str(len(again.objective) - 1), f"{cold_s:.1f}", f"{behind:+.4f}"]
        else:
            cells += ["", "", ""]
        print("| " + " | ".join(cells) + " |" + ("" if fit.converged else " not converged"), flush=True)
    print(f"\n{int(true.sum())} pairs are truly coupled; the warm path took {spent:.0f} CPU s")


if __name__ == "__main__":
    main()
