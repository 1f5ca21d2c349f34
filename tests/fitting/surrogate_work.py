"""What one process of two does for the test that surrogates are shared: `torchrun … surrogate_work.py OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import spikefit
from spikefit.fitted import fit_settings
from spikefit.fitting import surrogates
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.problem import pose_problem
from spikefit.fitting.processes import joined, place
from spikefit.fitting.without_hidden import fit_observed
from spikefit.simulate import random_network, simulate

N_SURROGATES = 60  # three pieces, of two batches and one


def main(out: Path) -> None:
    """Surrogates of a fit alone, then shared; leaves both, and which of them this process refitted."""
    network = random_network(n_visible=8, n_drivers=0, seed=3, window_s=0.05, rate_hz=15.0, density=0.3)
    counts = simulate(network, duration_s=30, seed=3).visible_counts
    config = spikefit.Config().replace(window="50ms", functions=2, threads=1)
    problem = pose_problem(counts, fit_settings(config), torch.device("cpu"))
    # Alone so far: the fit is the same bits in both processes.
    design, fit = fit_observed(problem, problem.split.everything, Hooks(), None)
    refitted: list[int] = []
    refit = surrogates._refit

    def watched(moved: object, draw: object, n_steps: int, which: range) -> object:
        refitted.extend(which)
        return refit(moved, draw, n_steps, which)

    surrogates._refit = watched
    alone = surrogates.fit_surrogates(problem, design, fit, "shift", N_SURROGATES, Hooks())
    everything = list(refitted)
    refitted.clear()
    asked = []
    with joined(torch.device("cpu")):
        hooks = Hooks(should_stop=lambda: bool(asked.append(1)))
        together = surrogates.fit_surrogates(problem, design, fit, "shift", N_SURROGATES, hooks)
        np.savez(
            out / f"{place()[0]}.npz",
            alone=alone.z,
            together=together.z,
            everything=everything,
            own=refitted,
            n_asked=len(asked),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
