"""A check of the port on what the Poisson VAE was first shown on: patches of pictures, linear encoder and linear decoder.

    python benchmarks/pvae/images.py            seed 0; add --seeds 0 1 2 for more

Patches of 10 × 10 grey pixels (their logarithm) from the two photographs that scikit-learn ships, each less its mean and
divided by its contrast, as whole numbers in steps of a quarter of a standard deviation. Every patch is one bin of its own; the network has no context. Exact gradients and three estimators
train the same network from the same start on the same 4,000 patches for the same epochs; β rises to 1 over the
first fifth. Printed is the bound on
1,000 patches of the other halves of the pictures, in closed form for all, in nats per patch, and how far it lies below that
of exact training, in per cent of the bound and of what training gained.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from sklearn.datasets import load_sample_image

from spikefit.fitting.pvae.data import moments, windows_of
from spikefit.fitting.pvae.loop import LoopSettings, PvaeLoop
from spikefit.fitting.pvae.objective import bound
from spikefit.models.pvae import PVAE, Shape
from spikefit.prob import get_estimator
from spikefit.spikes import Counts

BATCH = 200
SIDE, N_TRAIN, N_TEST, N_LATENTS, EPOCHS, STEPS_PER_SD = 10, 4000, 1000, 64, 60, 4


def patches(seed: int) -> tuple[Counts, np.ndarray, np.ndarray]:
    """All patches as bins, and the ranges that train and that are scored; left halves train, right halves are scored."""
    random = np.random.default_rng(seed)
    pictures = [load_sample_image(name).mean(axis=2) for name in ("china.jpg", "flower.jpg")]
    found = []
    for n, halves in ((N_TRAIN, slice(None, 310)), (N_TEST, slice(330, None))):
        for picture in (each[:, halves] for each in pictures):
            top = random.integers(0, picture.shape[0] - SIDE, n // 2)
            left = random.integers(0, picture.shape[1] - SIDE, n // 2)
            found += [picture[a : a + SIDE, b : b + SIDE].ravel() for a, b in zip(top, left, strict=True)]
    values = np.log1p(np.array(found))
    values -= values.mean(axis=1, keepdims=True)
    values /= values.std(axis=1, keepdims=True) + 0.02  # contrast; a smooth sky stays smooth
    values -= values[:N_TRAIN].mean(axis=0)
    values /= values[:N_TRAIN].std()
    whole = np.clip(np.round(values * STEPS_PER_SD) + 128, 0, 255).astype(np.uint8)
    n = N_TRAIN + N_TEST
    counts = Counts(
        np.asfortranarray(whole), 1.0, np.arange(n + 1), np.arange(n, dtype=float), tuple(map(str, range(SIDE**2)))
    )
    each = np.stack([np.arange(n), np.arange(1, n + 1)], axis=1)
    return counts, each[:N_TRAIN], each[N_TRAIN:]


def network(counts: Counts, train: np.ndarray, seed: int) -> PVAE:
    mean, spread = moments(counts, train)
    shape = Shape(
        n_units=SIDE**2, n_latents=N_LATENTS, encoder="linear", decoder="linear", observation="gaussian", link="exp",
        encoder_reach=0, decoder_reach=0, width=1, excitatory=False,
    )  # fmt: skip
    made = PVAE(
        shape,
        mean_count=torch.from_numpy(mean),
        scale=torch.from_numpy(spread),
        generator=torch.Generator().manual_seed(seed),
    )
    with torch.no_grad():
        made.observation.log_variance.copy_(2 * torch.from_numpy(spread).log())
        made.decoder.baseline.sub_(made.decoder.weights() @ made.log_prior.exp())
    return made


def score(model: PVAE, windows) -> float:
    with torch.no_grad():
        return sum(float(bound(model, batch, None).total().sum()) for batch in windows.batches(1000)) / windows.n_bins


def train_one(counts: Counts, train, test, seed: int, name: str, temperature: float) -> tuple[float, float, float]:
    """Bound on the scored patches before and after, and the CPU seconds that the training took."""
    model = network(counts, train, seed)
    judged = windows_of(counts, model, ranges=test)
    estimator = None if name == "exact" else get_estimator(name, temperature=temperature)
    loop = PvaeLoop(
        model,
        windows_of(counts, model, ranges=train),
        estimator=estimator,
        settings=LoopSettings(learning_rate=0.02, n_draws=2, beta=1.0, unit_dropout=0.0),
        generator=torch.Generator().manual_seed(seed),
        shuffle=torch.Generator().manual_seed(seed),
    )
    loop.batch_windows = BATCH
    before, began = score(model, judged), time.process_time()
    for epoch in range(EPOCHS):
        charged = [min(1.0, (epoch + k) / (0.2 * EPOCHS)) for k in (0, 1)]
        loop.epoch((1 - epoch / EPOCHS, 1 - (epoch + 1) / EPOCHS), (charged[0], charged[1]))
    return before, score(model, judged), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.05, 0.2, 0.5, 1.0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seeds:
        counts, train, test = patches(seed)
        before, exact, spent = train_one(counts, train, test, seed, "exact", 0.0)
        print(f"seed {seed}: start {before:.3f}; exact {exact:.3f} ({spent:.0f} CPU s)", flush=True)
        for name in ("eat-cubic", "eat-sigmoid", "gsm"):
            for temperature in options.temperatures:
                _, found, spent = train_one(counts, train, test, seed, name, temperature)
                below = 100 * (exact - found)
                print(
                    f"  {name:<12} τ {temperature:<5} {found:.3f}; below exact by {below / abs(exact):.2f} % of the bound, "
                    f"{below / (exact - before):.2f} % of the gain ({spent:.0f} CPU s)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
