"""Is the search for hidden units ever worse than plain random restarts that are given the same time?

Networks as in `hidden_drivers.py`, 30 recorded units and 5 drivers, but 200 s of them. The search is the one that every fit makes:
several restarts side by side from the residuals' factors, too many hidden units at first, pruned later. A plain restart has
exactly 5 hidden units from the start, small random weights from them to all units, nothing else, no factors, no sign held, no posterior fitted
beforehand; it is trained by the same phases to the same stopping rule. Plain restarts with other seeds follow until
they have taken as many CPU seconds as the search, the last one finished beyond that, and the best of them counts.

    OMP_NUM_THREADS=1 python benchmarks/restarts.py [--seeds 10 11 12 13 14] [--family categorical] [--duration 200]

Columns: gain of the held-out bound over H = 0 in nats per bin, by whole draws; of the search, of the best plain restart, and their
difference with its paired standard error over held-out windows; how many plain restarts there were; CPU seconds.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from hidden_drivers import N_DRIVERS, network
from torch import Tensor

from spikefit.config import Config
from spikefit.fitted import fit_settings
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.loop import LoopSettings
from spikefit.fitting.problem import Problem, pose_problem
from spikefit.fitting.scores import glm_nats, poglm_nats
from spikefit.fitting.sizes import CORE_BINS, HELDOUT_CORE_BINS, batch_windows
from spikefit.fitting.start import START_COUNT, calibrate
from spikefit.fitting.training import Trained, Training
from spikefit.fitting.with_hidden import choose_estimator, train_candidate
from spikefit.fitting.without_hidden import fit_observed
from spikefit.models.link import inverse_link
from spikefit.models.poglm import POGLMNetwork
from spikefit.simulate import simulate

RANDOM_SIZE = 0.1  # standard deviation of each weight from a hidden unit


def plain_restart(problem: Problem, seed: int) -> Trained:
    """Train from small random weights."""
    settings = problem.settings
    model = POGLMNetwork(
        len(problem.counts), N_DRIVERS, problem.basis, link=settings.link, family=settings.family, n_restarts=1
    )
    train = problem.windows(problem.split.train, CORE_BINS)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        random = RANDOM_SIZE * torch.randn(model.hidden_weights.shape, generator=generator)
        model.hidden_weights.copy_(random)
        model.baseline[:, : model.n_visible] = inverse_link(settings.link, problem.mean_count).to(model.baseline)
        hidden = torch.tensor(START_COUNT[settings.family], dtype=torch.float64)
        model.baseline[:, model.n_visible :] = inverse_link(settings.link, hidden).to(model.baseline)
    calibrate(model, train)
    training = Training(
        model,
        n_hidden=N_DRIVERS,
        train=train,
        heldout=problem.windows(problem.split.heldout, HELDOUT_CORE_BINS),
        everything=problem.windows(problem.split.everything, CORE_BINS),
        estimator=choose_estimator(settings),
        settings=LoopSettings(
            learning_rate=settings.learning_rate,
            n_draws=settings.n_draws,
            ridge=problem.ridge,
            batch_windows=batch_windows(problem.split.n_train, train.core),
            part_windows=problem.memory.part_windows,
        ),
        max_epochs=settings.max_epochs,
        seed=seed,
        name_unit=str,
        polish=False,
    )
    return training.run()


def run(seed: int, family: str, duration_s: float) -> dict[str, float]:
    """Both on one network."""
    counts = simulate(network(seed), duration_s=duration_s, seed=seed).visible_counts
    config = Config().replace(hidden=N_DRIVERS, bin="10ms", window="100ms", common_drive="off", family=family)
    problem = pose_problem(counts, fit_settings(config), torch.device("cpu"))
    design, fit = fit_observed(problem, problem.split.train, Hooks(), None)
    heldout = problem.windows(problem.split.heldout, HELDOUT_CORE_BINS)
    without = glm_nats(fit, heldout, problem.basis, problem.settings.link, problem.inputs)

    began = time.process_time()
    searched = train_candidate(problem, N_DRIVERS, design, fit, Hooks(), polish=False)
    search_s = time.process_time() - began
    of_search = poglm_nats(searched.scored, heldout).flatten()

    began, plain = time.process_time(), []
    while time.process_time() - began < search_s:
        plain.append(poglm_nats(plain_restart(problem, seed=1000 * seed + len(plain)).scored, heldout).flatten())
    plain_s = time.process_time() - began
    best = max(plain, key=lambda nats: float(nats.sum()))
    return {
        "search": _per_bin(of_search - without, heldout.n_bins),
        "plain": _per_bin(best - without, heldout.n_bins),
        "difference": _per_bin(of_search - best, heldout.n_bins),
        "error": float((of_search - best).std()) * math.sqrt(len(best)) / heldout.n_bins,
        "n_plain": len(plain),
        "search_s": search_s,
        "plain_s": plain_s,
    }


def _per_bin(nats: Tensor, n_bins: int) -> float:
    return float(nats.sum()) / n_bins


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    parser.add_argument("--family", default="categorical")
    parser.add_argument("--duration", type=float, default=200.0, help="seconds of each recording")
    chosen = parser.parse_args()
    print(
        "| seed | search, gain | best plain restart, gain | search ahead by | plain restarts | CPU s, search / plain |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for seed in chosen.seeds:
        row = run(seed, chosen.family, chosen.duration)
        print(
            f"| {seed} | {row['search']:.3f} | {row['plain']:.3f} | {row['difference']:.3f} ± {row['error']:.3f} | "
            f"{row['n_plain']} | {row['search_s']:.0f} / {row['plain_s']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
