"""Does the estimator's temperature matter? Linear decoder, Gaussian observations, where the exact gradient is known.

    python benchmarks/pvae/temperature.py

Every estimator trains the same network from the same start on the same counts (the Lorenz population of seed 0, taken
as real values) for the same epochs. Printed is the held-out bound in nats per bin, computed in closed form for all, and
how far it lies from that of exact training, in per cent of the gain of exact training over the network at its start.
"""

from __future__ import annotations

import torch
from lorenz import simulate

from spikefit.config import Config
from spikefit.fitting.pvae.data import windows_of
from spikefit.fitting.pvae.fit import new_training, pose_folds
from spikefit.fitting.pvae.objective import bound
from spikefit.pvae_pipeline import pvae_settings

EPOCHS = 40
SETTINGS = {
    "bin": "10ms", "decoder": "linear", "observation": "gaussian", "encoder": "linear", "unit_dropout": 0, "beta": 1,
    "latents": 8, "context": "50ms", "learning_rate": 0.005,
}  # fmt: skip


def heldout(model, windows) -> float:
    with torch.no_grad():
        total = sum(float(bound(model, batch, None).total().sum()) for batch in windows.batches(20))
    return total / windows.n_bins


def train(**changes) -> tuple[float, float]:
    """Held-out bound at the start and after training."""
    counts = simulate(0).binned()
    settings = pvae_settings(Config().replace(**(SETTINGS | changes)))
    ranges = pose_folds(counts, settings)
    training = new_training(counts, ranges, settings, torch.device("cpu"))
    windows = windows_of(counts, training.loop.model, ranges=ranges.heldout)
    before = heldout(training.loop.model, windows)
    for epoch in range(EPOCHS):
        training.loop.epoch(1 - epoch / EPOCHS, 1 - (epoch + 1) / EPOCHS)
    return before, heldout(training.loop.model, windows)


def main() -> None:
    torch.set_num_threads(1)
    before, exact = train(estimator="exact")
    print(f"start {before:.4f}; exact {exact:.4f}", flush=True)
    for name in ("eat-cubic", "eat-sigmoid", "gsm"):
        for temperature in (0.05, 0.2, 0.5, 1.0):
            _, found = train(estimator=name, temperature=temperature)
            off = 100 * (exact - found)
            print(
                f"{name:<12} τ {temperature:<5} {found:.4f}; below exact by {off / abs(exact):.2f} % of the bound, "
                f"{off / (exact - before):.2f} % of the gain",
                flush=True,
            )


if __name__ == "__main__":
    main()
