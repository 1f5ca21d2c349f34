"""Co-smoothing of a Lorenz-driven population: the Poisson VAE beside simpler methods and the true rates.

    python benchmarks/pvae/cosmoothing.py                 seeds 0, 1, 2 with the defaults of `spikefit pvae fit`
    python benchmarks/pvae/cosmoothing.py --seeds 0 --set latents=8 beta=1

Every method predicts the same 10 units from the other 29 in the same held-out trials, in bits per spike. `of true` is
the share of what the true rates give in the same bins. R² is of the three true coordinates, read out linearly (ridge)
from the latents of all units, in held-out trials; smoothed counts beside it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from lorenz import N_IN, N_OUT, simulate

from spikefit.config import Config
from spikefit.diagnostics import latent_scores as scores
from spikefit.diagnostics.baselines import Smoothing
from spikefit.diagnostics.cosmoothing import bits_per_spike
from spikefit.fitting.pvae.fit import fit_pvae
from spikefit.pvae_pipeline import pvae_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="settings, as latents=8")
    parser.add_argument("--no-baselines", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    units = scores.HeldoutUnits(tuple(range(N_IN)), tuple(range(N_IN, N_IN + N_OUT)))
    for seed in options.seeds:
        population = simulate(seed)
        counts = population.binned()
        settings = pvae_settings(
            Config().replace(**{"bin": "10ms", "seed": seed, **dict(pair.split("=", 1) for pair in options.set)})
        )
        began = time.process_time()
        fitted = fit_pvae(counts, settings, device=torch.device("cpu"))
        spent = time.process_time() - began
        folds = fitted.ranges.of(counts)
        rows = np.concatenate([np.arange(a, b) for a, b in fitted.ranges.heldout.tolist()])
        expected = population.expected.reshape(-1, N_IN + N_OUT)[rows][:, N_IN:]
        true = bits_per_spike(expected, folds.heldout.counts[:, N_IN:]).pooled
        found = {
            "pvae": scores.co_smoothing_readout(fitted.network, folds, units).co_bps.pooled,
            "own decoder": scores.co_smoothing(fitted.network, folds.heldout, units).pooled,
        }
        widths = {}
        if not options.no_baselines:
            for name, baseline in scores.baselines(folds, units).items():
                found[name] = baseline.co_bps.pooled
                widths[name] = baseline.chosen["width_s"]
        latent = population.latent.reshape(-1, 3)
        trained = np.concatenate(
            [np.arange(a, b) for part in (fitted.ranges.fit, fitted.ranges.choose) for a, b in part.tolist()]
        )
        targets = (latent[trained], latent[rows])
        recovered = {"pvae": scores.decoding(scores.LatentFeatures(fitted.network), folds, targets)}
        if widths:
            smoothing = Smoothing(widths["smoothing"], tuple(range(counts.n_units)))
            recovered["smoothing"] = scores.decoding(smoothing, folds, targets)
        told = ", ".join(f"{name} {value:.3f} ({value / true:.3f} of true)" for name, value in found.items())
        r2 = ", ".join(f"{name} {value:.3f}" for name, value in recovered.items())
        print(
            f"seed {seed}: true rates {true:.3f}; {told}; R² {r2}; "
            f"{fitted.n_epochs} epochs, {spent:.0f} CPU s, converged {fitted.converged}",
            flush=True,
        )


if __name__ == "__main__":
    main()
