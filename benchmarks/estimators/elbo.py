"""Does the temperature matter for what is learnt? A linear Poisson VAE on scikit-learn's digits.

Counts z ~ Poisson(r·δr(x)) with 32 latents, log δr linear in the image, learnt prior rates r, a linear decoder and
Gaussian pixels of learnt variance. For this model the bound is known in closed form, so every fit is scored without
sampling on 360 images that were left out, and "closed form" is the same training with the exact gradient of the bound.
One draw per image and step (eight for score), Adam at 0.005, batches of 128, 60 passes; seeds 0, 1, 2; mean and range.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import torch
from tables import markdown

from spikefit.prob import get_estimator, poisson_kl
from spikefit.prob.linear_decoder import effect_of_one_more, expected_squared_error, squared_error

TAUS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SEEDS = (0, 1, 2)
N_LATENTS, N_PASSES, N_BATCH, N_HELD_OUT = 32, 60, 128, 360


class LinearVae(torch.nn.Module):
    """Linear encoder and decoder round a Poisson code."""

    def __init__(self, n_pixels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = torch.nn.Parameter(0.05 * torch.randn(N_LATENTS, n_pixels, generator=generator))
        self.decoder = torch.nn.Parameter(0.1 * torch.randn(n_pixels, N_LATENTS, generator=generator))
        self.offset = torch.nn.Parameter(torch.zeros(n_pixels))
        self.log_prior = torch.nn.Parameter(torch.zeros(N_LATENTS))
        self.log_variance = torch.nn.Parameter(torch.tensor(-2.0))

    def rates(self, images: torch.Tensor) -> torch.Tensor:
        return (self.log_prior + (images @ self.encoder.T).clamp(-8, 4)).exp()

    def bound(self, images: torch.Tensor, error: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """ELBO per image from the (expected) squared error."""
        n_pixels = images.shape[1]
        likelihood = -0.5 * error / self.log_variance.exp() - 0.5 * n_pixels * (
            self.log_variance + math.log(2 * math.pi)
        )
        return likelihood - poisson_kl(rates, self.log_prior.exp()).sum(-1)

    def exact_bound(self, images: torch.Tensor) -> torch.Tensor:
        rates = self.rates(images)
        return self.bound(images, expected_squared_error(rates, self.decoder, images - self.offset), rates)


def fit(name: str, tau: float | None, images: torch.Tensor, held_out: torch.Tensor, seed: int) -> float:
    """Exact bound per held-out image after training, in nats."""
    generator = torch.Generator().manual_seed(seed)
    model = LinearVae(images.shape[1], generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    settings = {} if tau is None else {"temperature": tau}
    estimator = None if name == "closed form" else get_estimator(name, **settings)
    for _ in range(N_PASSES):
        for rows in torch.randperm(len(images), generator=generator).split(N_BATCH):
            batch = images[rows]
            if estimator is None:
                loss = -model.exact_bound(batch).mean()
            else:
                rates = model.rates(batch)
                draws = estimator.draw(rates, n_draws=8 if name == "score" else 1, generator=generator)
                target = batch - model.offset
                objective = -model.bound(batch, squared_error(draws.counts, model.decoder, target), rates)
                effect = None
                if estimator.needs_effect:
                    scale = 0.5 / model.log_variance.detach().exp()
                    effect = scale * effect_of_one_more(draws.counts, model.decoder, target)
                loss = (objective.mean(0).sum() + draws.correction(objective, effect)) / len(batch)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
            optimiser.step()
    with torch.no_grad():
        return float(model.exact_bound(held_out).mean())


def run(images_folder: Path) -> dict[str, str]:
    import matplotlib.pyplot as plt
    import numpy as np
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().data.astype(np.float32)) / 16
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    held_out, images = digits[order[:N_HELD_OUT]], digits[order[N_HELD_OUT:]]
    names = ("eat-cubic", "eat-linear", "eat-sigmoid", "gsm")
    cases = [("closed form", None), ("exact", None), ("score", None)] + [(name, tau) for name in names for tau in TAUS]
    found = {}
    with warnings.catch_warnings():
        # Temperatures above 1 are meant here.
        warnings.simplefilter("ignore", UserWarning)
        for case in cases:
            found[case] = [fit(*case, images, held_out, seed) for seed in SEEDS]
            print(case, found[case], flush=True)

    def cell(values: list[float]) -> str:
        return f"{sum(values) / len(values):.2f} ({min(values):.2f}…{max(values):.2f})"

    rows = [(name, *(cell(found[name, tau]) for tau in TAUS)) for name in names]
    table = markdown(["held-out bound, nats per image", *(f"τ = {tau:g}" for tau in TAUS)], rows)
    table += "\n" + markdown(
        ["without a temperature", "nats per image"], [(n, cell(found[n, None])) for n, _ in cases[:3]]
    )

    figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for style, name in zip(("-o", "--d", "-s", "-^"), names, strict=True):
        values = np.array([found[name, tau] for tau in TAUS])
        axis.plot(TAUS, values.mean(1), style, label=name, markersize=4)
        axis.fill_between(TAUS, values.min(1), values.max(1), alpha=0.15)
    for (name, _), color in zip(cases[:3], ("k", "0.4", "0.7"), strict=True):
        axis.axhline(sum(found[name, None]) / len(SEEDS), color=color, linestyle=":", linewidth=1, label=name)
    axis.set_xscale("log")
    axis.set_xticks(TAUS, [f"{tau:g}" for tau in TAUS])
    axis.minorticks_off()
    axis.set_xlabel("temperature τ")
    axis.set_ylabel("held-out bound (nats per image)")
    axis.set_ylim(-6, 8)  # what falls below stands in the table
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.legend(fontsize=7, frameon=False)
    figure.savefig(images_folder / "estimators-elbo.png", dpi=150)
    plt.close(figure)
    return {"elbo": table}
