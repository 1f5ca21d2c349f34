"""Does the temperature matter for hidden neurons? A partially observed network, fitted with every estimator.

20 recorded units and 3 unrecorded drivers that each excite about 60 % of them, 200 s in bins of 10 ms. Every fit
has three hidden units, one restart and two draws per step, and is judged by what it gains over the fit without hidden
units on held-out blocks, with whole counts drawn from its posterior, so that the judging has no temperature. Two networks
(seeds 20 and 21), both families of the posterior; mean and range.
"""

from __future__ import annotations

from pathlib import Path

from tables import markdown

import spikefit
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

TAUS = (0.05, 0.1, 0.2, 0.5, 1.0)
SEEDS = (20, 21)
FAMILIES = ("categorical", "poisson")
NAMES = ("eat-cubic", "eat-sigmoid", "gsm")
WITHOUT = ("exact", "score")
BIN_S, DURATION_S = 0.01, 200.0


def recording(seed: int) -> Counts:
    """What is seen of the network of that seed."""
    network = random_network(
        n_visible=20,
        n_drivers=3,
        seed=seed,
        bin_width_s=BIN_S,
        strength=1.2,
        fan_out=0.6,
        driver_strength=5.0,
        driver_rate_hz=6.0,
    )
    return simulate(network, duration_s=DURATION_S, seed=seed).visible_counts


def gain(counts: Counts, family: str, name: str, tau: float | None) -> float:
    """Held-out gain over the fit without hidden units, in nats per bin."""
    settings = {} if tau is None else {"temperature": tau}
    model = spikefit.POGLM(
        hidden=3, family=family, estimator=name, restarts=1, bin="10ms", window="100ms", device="cpu", **settings
    )
    return float(model.fit(counts).metrics["heldout_gain_nats_per_bin"])


def run(images: Path) -> dict[str, str]:
    import matplotlib.pyplot as plt

    counts = {seed: recording(seed) for seed in SEEDS}
    cases = [(name, tau) for name in NAMES for tau in TAUS] + [(name, None) for name in WITHOUT]
    found = {}
    for family in FAMILIES:
        for case in cases:
            found[family, *case] = [gain(counts[seed], family, *case) for seed in SEEDS]
            print(family, case, found[family, *case], flush=True)

    def cell(values: list[float]) -> str:
        return f"{sum(values) / len(values):.3f} ({min(values):.3f}…{max(values):.3f})"

    rows = [
        (f"{name}, {family}", *(cell(found[family, name, tau]) for tau in TAUS))
        for family in FAMILIES
        for name in NAMES
    ]
    table = markdown(["gain, nats per bin", *(f"τ = {tau:g}" for tau in TAUS)], rows)
    rows = [(name, *(cell(found[family, name, None]) for family in FAMILIES)) for name in WITHOUT]
    table += "\n" + markdown(["without a temperature", *FAMILIES], rows)

    figure, all_axes = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained", sharex=True)
    for axis, family in zip(all_axes, FAMILIES, strict=True):
        for style, name in zip(("-o", "-s", "-^"), NAMES, strict=True):
            values = [found[family, name, tau] for tau in TAUS]
            axis.plot(TAUS, [sum(pair) / len(pair) for pair in values], style, label=name, markersize=4)
            axis.fill_between(TAUS, [min(pair) for pair in values], [max(pair) for pair in values], alpha=0.12)
        for name, color in zip(WITHOUT, ("k", "0.6"), strict=True):
            axis.axhline(
                sum(found[family, name, None]) / len(SEEDS), color=color, linestyle=":", linewidth=1, label=name
            )
        axis.set_xscale("log")
        axis.set_xticks(TAUS, [f"{tau:g}" for tau in TAUS])
        axis.minorticks_off()
        axis.set_xlabel("temperature τ")
        axis.set_ylabel("held-out gain (nats per bin)")
        axis.set_title(f"{family} posterior", fontsize=9)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    all_axes[0].legend(fontsize=7, frameon=False)
    figure.savefig(images / "estimators-poglm.png", dpi=150)
    plt.close(figure)
    return {"poglm": table}
