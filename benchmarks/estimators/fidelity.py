"""How far soft counts are from Poisson counts: mean, variance and Wasserstein-1 distance over rate and temperature.

EAT's mean and variance are closed forms; Gumbel-softmax's, and every distance, come from 40,000 draws. Seed 1.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tables import markdown

from spikefit.prob import eat_moments, get_estimator, wasserstein_floor, wasserstein_to_poisson

RATES = (0.1, 1.0, 10.0)
TAUS = (0.05, 0.1, 0.2, 0.5, 1.0)
NAMES = ("eat-cubic", "eat-linear", "eat-quintic", "eat-cosine", "eat-sigmoid", "gsm")
N_DRAWS = 40_000


def figures(name: str, rate: float, tau: float) -> tuple[float, float, float]:
    """Mean over λ, variance over λ, and distance in spikes."""
    generator = torch.Generator().manual_seed(1)
    rates = torch.full((N_DRAWS,), rate, dtype=torch.float64)
    draws = get_estimator(name, temperature=tau).draw(rates, n_draws=1, generator=generator).counts[0]
    distance = wasserstein_to_poisson(draws, rate)
    if name.startswith("eat"):
        moments = eat_moments(rates[:1], edge=name[4:], temperature=tau)
        return moments.mean.item() / rate, moments.variance.item() / rate, distance
    return draws.mean().item() / rate, draws.var().item() / rate, distance


def run(images: Path) -> dict[str, str]:
    import matplotlib.pyplot as plt

    found = {(name, rate, tau): figures(name, rate, tau) for name in NAMES for rate in RATES for tau in TAUS}
    rows = [
        (f"{name}, λ = {rate:g}", *(" / ".join(f"{v:.3f}" for v in found[name, rate, tau]) for tau in TAUS))
        for rate in RATES
        for name in NAMES
    ]
    floor = [f"Poisson itself, λ = {rate:g}: {wasserstein_floor(rate, N_DRAWS):.4f}" for rate in RATES]
    table = markdown(["mean/λ, variance/λ, W₁", *(f"τ = {tau:g}" for tau in TAUS)], rows)
    table += f"\nDistance that {N_DRAWS:,} whole draws would show: " + "; ".join(floor) + ".\n"

    figure, axes = plt.subplots(3, len(RATES), figsize=(9, 7.2), sharex=True, layout="constrained")
    for column, rate in enumerate(RATES):
        for row, label in enumerate(("mean / λ", "variance / λ", "Wasserstein-1 distance (spikes)")):
            axis = axes[row, column]
            for style, name in zip(("-o", "--", ":", "-.", "-s", "-^"), NAMES, strict=True):
                axis.plot(TAUS, [found[name, rate, tau][row] for tau in TAUS], style, label=name, markersize=4)
            if row < 2:
                axis.axhline(1, color="0.7", linewidth=0.8, zorder=0)
            axis.set_xscale("log")
            axis.set_xticks(TAUS, [f"{tau:g}" for tau in TAUS])
            axis.minorticks_off()
            axis.set_title(f"λ = {rate:g} spikes per bin" if row == 0 else "")
            axis.set_xlabel("temperature τ (fraction of a bin)" if row == 2 else "")
            axis.set_ylabel(label if column == 0 else "")
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.savefig(images / "estimators-fidelity.png", dpi=150)
    plt.close(figure)
    return {"fidelity": table}
