"""The GLM without hidden units against scikit-learn and nemos: the same optimum, how much sooner?

    python benchmarks/observed_glm.py                   20 units × 60 000 bins × 8 functions, all units
    python benchmarks/observed_glm.py --units 100 --bins 180000 --compare 2
    python benchmarks/observed_glm.py --compare 0 --nemos ~/nemos/bin/python

All maximise the same ridge-penalised Poisson likelihood with the exp link (scikit-learn has no other) on the same
features; the others are given them ready-made in float64, while our time includes making them. scikit-learn goes unit after
unit, nemos takes all units in one call. nemos is no dependency of ours: `python -m venv ~/nemos && ~/nemos/bin/pip install nemos`, and
give that Python with `--nemos`.

One thread, CPU seconds. `behind` is how many nats of penalised log-likelihood our worst unit lacks to theirs; a negative
number says that they stopped short. `peak` is the most memory that our fit held above what the process held after its imports, the
recording included.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import PoissonRegressor

from spikefit.fitting.design import Design
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.memory import FitSize, plan_memory
from spikefit.models.basis import make_basis
from spikefit.models.coupling import history_features
from spikefit.simulate import random_network, simulate

BIN_S, WINDOW_S, RIDGE = 0.005, 0.1, 1.0
NEMOS_TOLERANCES = (1e-6, 1e-8, 1e-10)  # its own default is 1e-6 or so; tighter until it stops or gives up


def penalised(weights: np.ndarray, baseline: float, features: np.ndarray, counts: np.ndarray) -> float:
    """Penalised log-likelihood in nats, factorials left out, in float64."""
    drive = features @ weights + baseline
    return float(counts @ drive - np.exp(drive).sum() - 0.5 * RIDGE * weights @ weights)


def memory_kb(name: str) -> int:
    """A line of /proc/self/status in kB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise RuntimeError(f"{name} is not told on this system")


def our_fit(by_unit: torch.Tensor, basis: np.ndarray, limit_bytes: int) -> tuple[GLMFit, float]:
    """Our fit, with its memory planned as a run plans it, and its CPU seconds."""
    n_units, n_bins = by_unit.shape
    size = FitSize(n_units, n_bins, int(by_unit.sum()), 1, basis.shape[1], basis.shape[0], 0)
    plan = plan_memory(size, limit_bytes)
    ranges = np.array([[len(basis), n_bins]])
    began = time.process_time()
    design = Design(
        by_unit,
        ranges,
        torch.from_numpy(basis).float(),
        cache_bytes=plan.cache_bytes,
        block_bins=plan.block_bins,
    )
    fit = fit_glm(design, ridge=RIDGE, link="exp")
    return fit, time.process_time() - began


def sklearn_fit(features: np.ndarray, targets: np.ndarray, n_units: int) -> tuple[list[np.ndarray], list[float], float]:
    """Weights, baselines and CPU seconds for the first units."""
    weights, baselines, seconds = [], [], 0.0
    for unit in range(n_units):
        began = time.process_time()
        # Its objective is the mean loss with alpha / 2 · ‖w‖².
        model = PoissonRegressor(alpha=RIDGE / len(targets), solver="newton-cholesky", tol=1e-8, max_iter=100)
        model.fit(features, targets[:, unit])
        seconds += time.process_time() - began
        weights.append(model.coef_)
        baselines.append(float(model.intercept_))
    return weights, baselines, seconds


def nemos_fit(python: Path, features: np.ndarray, targets: np.ndarray, tolerance: float) -> dict[str, np.ndarray]:
    """What `nemos_glm.py` writes."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, features=features, counts=targets, ridge=RIDGE, tolerance=tolerance)
        one_thread = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        subprocess.run(
            ["env", f"XLA_FLAGS={one_thread}", str(python), Path(__file__).with_name("nemos_glm.py"), given, found],
            check=True,
        )
        return dict(np.load(found))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--bins", type=int, default=60_000)
    parser.add_argument("--functions", type=int, default=8)
    parser.add_argument(
        "--compare", type=int, help="units given to scikit-learn, its time scaled to all (default: all)"
    )
    parser.add_argument("--nemos", type=Path, help="Python of an environment that holds nemos")
    parser.add_argument("--memory-mb", type=int, default=1000, help="limit that our fit plans with")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    after_imports = memory_kb("VmRSS")
    truth = random_network(
        n_visible=chosen.units, n_drivers=0, seed=chosen.seed, bin_width_s=BIN_S, strength=1.0, density=0.05, link="exp"
    )
    counts = simulate(truth, duration_s=chosen.bins * BIN_S, seed=chosen.seed).counts
    basis = make_basis("raised-cosine-log", window_s=WINDOW_S, bin_width_s=BIN_S, n_functions=chosen.functions)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak of the simulation
    fit, ours_s = our_fit(by_unit, basis, chosen.memory_mb << 20)
    peak_mb = (memory_kb("VmHWM") - after_imports) / 1e3

    features = history_features(by_unit.double(), torch.from_numpy(basis)).T.contiguous().numpy()
    targets = counts[len(basis) :].astype(np.float64)
    ours = [(fit.weights[unit].numpy(), float(fit.baseline[unit])) for unit in range(chosen.units)]

    def score(weights: np.ndarray, baseline: float, unit: int) -> float:
        return penalised(weights, baseline, features, targets[:, unit])

    size = f"{chosen.units} × {chosen.bins} × {chosen.functions}"
    print(
        "| units × bins × functions | against | ours, CPU s | theirs, CPU s | ratio | behind, nats | peak, MB | converged |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")

    def row(name: str, theirs_s: float, behind: list[float]) -> None:
        print(
            f"| {size} | {name} | {ours_s:.2f} | {theirs_s:.1f} | {theirs_s / ours_s:.0f} | {max(behind):.4f} | "
            f"{peak_mb:.0f} | {fit.converged} |",
            flush=True,
        )

    n_compared = chosen.units if chosen.compare is None else min(chosen.compare, chosen.units)
    if n_compared:
        weights, baselines, theirs_s = sklearn_fit(features, targets, n_compared)
        behind = [score(weights[u], baselines[u], u) - score(*ours[u], u) for u in range(n_compared)]
        row("scikit-learn newton-cholesky", theirs_s * chosen.units / n_compared, behind)
    if chosen.nemos is not None:
        for tolerance in NEMOS_TOLERANCES:
            found = nemos_fit(chosen.nemos, features, targets, tolerance)
            theirs = list(zip(found["weights"], found["baseline"], strict=True))
            behind = [score(w, float(b), u) - score(*ours[u], u) for u, (w, b) in enumerate(theirs)]
            name = f"nemos {found['version']} L-BFGS, tol {tolerance:g}, {found['iterations']} iterations"
            row(f"{name}, first call", float(found["cpu_s"]), behind)
            row(f"{name}, compiled already", float(found["again_s"]), behind)


if __name__ == "__main__":
    main()
