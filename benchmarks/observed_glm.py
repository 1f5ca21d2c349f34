"""The GLM without hidden units against scikit-learn: the same optimum, how much sooner?

    python benchmarks/observed_glm.py                   20 units × 60 000 bins × 8 functions, all units
    python benchmarks/observed_glm.py --units 100 --bins 180000 --compare 2

Both maximise the same ridge-penalised Poisson likelihood with the exp link (scikit-learn has no other) on the same
features; scikit-learn is given them ready-made in float64, unit after unit, while our time includes making them. One
thread, CPU seconds. `behind` is how many nats of penalised log-likelihood our worst unit lacks to the better of the
two; a negative number says that scikit-learn stopped short.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from sklearn.linear_model import PoissonRegressor

from spikefit.fitting.design import Design
from spikefit.fitting.glm import fit_glm
from spikefit.models.basis import make_basis
from spikefit.models.coupling import history_features
from spikefit.simulate import random_network, simulate

BIN_S, WINDOW_S, RIDGE = 0.005, 0.1, 1.0


def penalised(weights: np.ndarray, baseline: float, features: np.ndarray, counts: np.ndarray) -> float:
    """Penalised log-likelihood in nats, factorials left out, in float64."""
    drive = features @ weights + baseline
    return float(counts @ drive - np.exp(drive).sum() - 0.5 * RIDGE * weights @ weights)


def main() -> None:
    """Print one row of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--bins", type=int, default=60_000)
    parser.add_argument("--functions", type=int, default=8)
    parser.add_argument(
        "--compare", type=int, help="units given to scikit-learn, its time scaled to all (default: all)"
    )
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    truth = random_network(
        n_visible=chosen.units, n_drivers=0, seed=chosen.seed, bin_width_s=BIN_S, strength=1.0, density=0.05, link="exp"
    )
    counts = simulate(truth, duration_s=chosen.bins * BIN_S, seed=chosen.seed).counts
    basis = make_basis("raised-cosine-log", window_s=WINDOW_S, bin_width_s=BIN_S, n_functions=chosen.functions)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T))
    ranges = np.array([[len(basis), len(counts)]])

    began = time.process_time()
    design = Design(by_unit, ranges, torch.from_numpy(basis).float(), cache_bytes=2 * 1024**3)
    fit = fit_glm(design, ridge=RIDGE, link="exp")
    ours_s = time.process_time() - began

    features = history_features(by_unit.double(), torch.from_numpy(basis)).T.contiguous().numpy()
    targets = counts[len(basis) :].astype(np.float64)
    compared = range(chosen.units if chosen.compare is None else min(chosen.compare, chosen.units))
    theirs_s, behind = 0.0, []
    for unit in compared:
        began = time.process_time()
        # Its objective is the mean loss with alpha / 2 · ‖w‖².
        model = PoissonRegressor(alpha=RIDGE / len(targets), solver="newton-cholesky", tol=1e-8, max_iter=100)
        model.fit(features, targets[:, unit])
        theirs_s += time.process_time() - began
        theirs = penalised(model.coef_, float(model.intercept_), features, targets[:, unit])
        ours = penalised(fit.weights[unit].numpy(), float(fit.baseline[unit]), features, targets[:, unit])
        behind.append(theirs - ours)
    theirs_s *= chosen.units / len(compared)
    print(
        "| units × bins × functions | ours, CPU s | scikit-learn newton-cholesky, CPU s | ratio | behind, nats | converged |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    size = f"{chosen.units} × {chosen.bins} × {chosen.functions}"
    print(f"| {size} | {ours_s:.2f} | {theirs_s:.1f} | {theirs_s / ours_s:.0f} | {max(behind):.4f} | {fit.converged} |")


if __name__ == "__main__":
    main()
