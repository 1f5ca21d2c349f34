"""Gradient quality on a linear decoder whose gradient and Hessian are known in closed form.

64 pixels from 16 Poisson latents; decoder entries are normal with variance 1/64, the target is one draw of the model at
other rates, rates are lognormal around 0.5. The gradient is that in the log-rates. Five such problems (seeds 0–4),
20,000 draws of each estimator's gradient on each; figures are means over the problems. The score estimator uses eight
draws with leave-one-out, and its noise is therefore that of eight draws.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tables import markdown

from spikefit.prob import GradientQuality, get_estimator, gradient_quality
from spikefit.prob.linear_decoder import effect_of_one_more, gradient_and_hessian, squared_error

N_PROBLEMS, N_GRADIENTS = 5, 20_000
TAUS = (0.05, 0.1, 0.2, 0.5, 1.0)
CASES = [(name, tau) for name in ("eat-cubic", "eat-linear", "eat-sigmoid", "gsm") for tau in TAUS]
CASES += [("score", None), ("exact", None)]


def problem(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-rates, decoder and target."""
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.randn(64, 16, dtype=torch.float64, generator=generator) / 8
    log_rates = 0.7 * torch.randn(16, dtype=torch.float64, generator=generator) - 0.7
    others = torch.exp(0.7 * torch.randn(16, dtype=torch.float64, generator=generator))
    return log_rates, decoder, decoder @ torch.poisson(others, generator=generator)


def quality(name: str, tau: float | None, seed: int) -> GradientQuality:
    log_rates, decoder, target = problem(seed)
    generator = torch.Generator().manual_seed(100 + seed)
    leaf = log_rates.expand(N_GRADIENTS, -1).clone().requires_grad_()
    settings = {} if tau is None else {"temperature": tau}
    draws = get_estimator(name, **settings).draw(leaf.exp(), n_draws=8 if name == "score" else 1, generator=generator)
    objective = squared_error(draws.counts, decoder, target)
    effect = effect_of_one_more(draws.counts.detach(), decoder, target)
    total = objective.mean(0).sum() + draws.correction(objective, effect)
    (gradients,) = torch.autograd.grad(total, leaf)
    return gradient_quality(gradients, *gradient_and_hessian(log_rates.exp(), decoder, target))


def run(images: Path) -> dict[str, str]:
    import matplotlib.pyplot as plt

    found = {}
    for case in CASES:
        each = [quality(*case, seed) for seed in range(N_PROBLEMS)]
        found[case] = GradientQuality(*(sum(values) / N_PROBLEMS for values in zip(*each, strict=True)))
    rows = [
        (
            name if tau is None else f"{name}, τ = {tau:g}",
            f"{q.relative_bias:.3f}",
            f"{q.relative_noise:.2f}",
            f"{q.cosine_of_mean:.4f}",
            f"{q.mean_cosine:.3f}",
            f"{q.bias_energy:.1f}",
            f"{q.noise_energy:.0f}",
        )
        for (name, tau), q in found.items()
    ]
    header = ["estimator", "bias", "noise", "cosine of mean", "mean cosine", "bias energy", "noise energy"]

    panels = [
        ("relative bias", lambda q: q.relative_bias),
        ("relative noise of a draw", lambda q: q.relative_noise),
        ("mean cosine of a draw", lambda q: q.mean_cosine),
        ("½ bᵀHb + ½ tr(HΣ)", lambda q: q.bias_energy + q.noise_energy),
    ]
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
    for axis, (label, pick) in zip(axes, panels, strict=True):
        for style, name in zip(
            ("-o", "--", "-s", "-^"), ("eat-cubic", "eat-linear", "eat-sigmoid", "gsm"), strict=True
        ):
            axis.plot(TAUS, [pick(found[name, tau]) for tau in TAUS], style, label=name, markersize=4)
        for name, color in (("score", "0.6"), ("exact", "k")):
            axis.axhline(pick(found[name, None]), color=color, linewidth=1, linestyle=":", label=name)
        axis.set_xscale("log")
        axis.set_xticks(TAUS, [f"{tau:g}" for tau in TAUS])
        axis.minorticks_off()
        axis.set_xlabel("temperature τ")
        axis.set_ylabel(label)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[3].set_yscale("log")
    axes[0].legend(fontsize=7, frameon=False)
    figure.savefig(images / "estimators-gradients.png", dpi=150)
    plt.close(figure)
    return {"gradients": markdown(header, rows)}
