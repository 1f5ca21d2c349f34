"""Do the latents of head-direction cells keep their structure from sleep to wake, and lie on a ring?

    python benchmarks/pvae/ring.py RECORDING.nwb --units 'g1*' --sleep 0 600 --wake 600 1200 -o ring.png

One model is fitted to all of it, without any behaviour. Rates of the latents are averaged in bins of 200 ms. Two things
are asked of the held-out and all other bins together:

* The correlations between pairs of latents in sleep and in wake, and how they correlate over pairs. Beside it the same
  with the latents of wake in every other order (all permutations of labels up to 2,000, drawn), which destroys what is
  shared; and the same for pairs of recorded units.
* A plane is laid through the latents of sleep (two principal axes of their square roots); wake is projected onto it. On
  a ring few points lie near the middle: the share with less than 0.4 of the median radius. A Gaussian cloud of the same
  covariance has the share that is told beside it.
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import numpy as np

from spikefit import pvae_pipeline
from spikefit.config import Config

MIDDLE_S, HOLE, N_ORDERS = 0.2, 0.4, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording")
    parser.add_argument("--units", required=True)
    parser.add_argument("--sleep", type=float, nargs=2, required=True)
    parser.add_argument("--wake", type=float, nargs=2, required=True)
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--max-epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", required=True)
    options = parser.parse_args()
    config = Config().replace(bin="20ms", units=options.units, latents=options.latents, seed=options.seed)
    config = config.replace(max_epochs=options.max_epochs)
    fitted = pvae_pipeline.fit(options.recording, config=config)
    (counts,) = pvae_pipeline.prepare_sessions([options.recording], config).counts
    latents = fitted.latents
    active = latents.arrays["divergence"] >= 1e-3
    step = round(MIDDLE_S / latents.bin_width_s)
    signals = {"latents": latents.expected_count[:, active], "units": counts.counts.astype(float)}
    parts = {
        name: [averaged(values, latents.time_s, window, step) for window in (options.sleep, options.wake)]
        for name, values in signals.items()
    }
    random = np.random.default_rng(options.seed)
    pairs = {}
    for name, (sleep, wake) in parts.items():
        first, second = np.corrcoef(sleep.T), np.corrcoef(wake.T)
        upper = np.triu_indices(len(first), 1)
        pairs[name] = first[upper], second[upper]
        agreement = np.corrcoef(*pairs[name])[0, 1]
        shuffled = []
        for _ in range(N_ORDERS):
            order = random.permutation(len(first))
            shuffled.append(np.corrcoef(first[upper], second[np.ix_(order, order)][upper])[0, 1])
        print(
            f"{name}: {len(first)}, {len(upper[0])} pairs, sleep against wake r = {agreement:.3f}; other orders reach "
            f"{np.quantile(shuffled, 0.95):.3f} in one of twenty"
        )
    sleep, wake = (np.sqrt(part) for part in parts["latents"])
    _, _, axes = np.linalg.svd(sleep - sleep.mean(0), full_matrices=False)
    planes = [(part - sleep.mean(0)) @ axes[:2].T for part in (sleep, wake)]
    for name, points in zip(("sleep", "wake"), planes, strict=True):
        cloud = random.multivariate_normal(points.mean(0), np.cov(points.T), size=200_000)
        print(
            f"{name}: near the middle {in_middle(points):.3f} of the points, of a Gaussian cloud {in_middle(cloud):.3f}"
        )
    draw(pairs["latents"], planes, options.out)


def averaged(values: np.ndarray, time_s: np.ndarray, window: list[float], step: int) -> np.ndarray:
    """Means over so many bins, of the bins that start in a window of time."""
    part = values[(time_s >= window[0]) & (time_s < window[1])]
    n = len(part) // step
    return part[: n * step].reshape(n, step, -1).mean(1)


def in_middle(points: np.ndarray) -> float:
    """Share of the points with less than 0.4 of the median radius, round their mean."""
    radius = np.linalg.norm(points - points.mean(0), axis=1)
    return float((radius < HOLE * np.median(radius)).mean())


def draw(pairs: tuple[np.ndarray, np.ndarray], planes: list[np.ndarray], out: str) -> None:
    """Pairs in sleep against wake, and both states on the plane of sleep."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    axes[0].axline((0, 0), slope=1, color="0.8", lw=1)
    axes[0].plot(*pairs, "o", ms=4, mfc="none", color="#2066a8")
    axes[0].set(xlabel="sleep", ylabel="wake", title="correlation of two latents")
    for place, name, points in zip(axes[1:], ("sleep", "wake"), planes, strict=True):
        edge = 1.05 * np.quantile(np.abs(np.concatenate(planes)), 0.998)
        place.hist2d(*points.T, bins=60, range=[[-edge, edge]] * 2, cmap="Blues")
        place.set(
            title=f"{name}, on the plane of sleep", xlabel="first axis of sleep", xticks=[], yticks=[], aspect="equal"
        )
    axes[1].set_ylabel("second axis of sleep")
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
