"""How good each estimator's gradient is at the parameters of a fit, beside the exact one.

What is compared is what reaches the posterior through the drawn hidden counts: the part of the bound's gradient that
estimators differ in. The other part is closed form and the same for all. At an optimum the two cancel, so a bias of the
one is not made good by the other: it moves the optimum.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.objective import elbo
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.chain import categorical_estimator
from spikefit.prob.estimators import get_estimator
from spikefit.prob.gradient_quality import gradient_quality
from spikefit.prob.protocol import Draws, Estimator

WITHOUT_TEMPERATURE = ("score", "exact")
DEFAULT_ESTIMATORS = ("eat-cubic", "eat-sigmoid", "gsm", "score", "exact")
DEFAULT_TEMPERATURES = (0.1, 0.2, 0.5, 1.0)
REFERENCE_DRAWS = 256
# A bias below a tenth of the gradient, along it, moves the optimum less than a fit's standard errors do.
HARMLESS_BIAS, ALONG_IT = 0.1, 0.99
# Adam's first moment remembers about so many steps.
STEPS_AVERAGED = 10


@dataclass(frozen=True)
class GradientCase:
    """One estimator at one temperature.

    Attributes:
        estimator: its name.
        temperature: None where it has none.
        n_draws: draws of the hidden counts that make one gradient.
        relative_bias: length of the mean error over that of the exact gradient.
        bias_error: what so many gradients cannot tell from no bias.
        relative_noise: standard deviation of one gradient over the length of the exact one.
        cosine_of_mean: between the mean gradient and the exact one.
        mean_cosine: mean over gradients of the cosine with the exact one.
        cost_s: CPU seconds of one gradient.
    """

    estimator: str
    temperature: float | None
    n_draws: int
    relative_bias: float
    bias_error: float
    relative_noise: float
    cosine_of_mean: float
    mean_cosine: float
    cost_s: float

    @property
    def label(self) -> str:
        return self.estimator if self.temperature is None else f"{self.estimator}, τ = {self.temperature:g}"

    @property
    def bias_text(self) -> str:
        """The bias in per cent of the gradient's length, or what it lies below."""
        if self.relative_bias < self.bias_error:
            return f"< {100 * self.bias_error:.2g} %"
        return f"{100 * self.relative_bias:.2g} %"

    def error_at_cost_of(self, other: GradientCase) -> float:
        """Squared error of a step when both have the same time: noise averages out over steps, bias does not."""
        return self.relative_bias**2 + self.cost_s / other.cost_s * self.relative_noise**2 / STEPS_AVERAGED


@dataclass(frozen=True)
class GradientComparison:
    """All cases, and what they were measured on.

    Attributes:
        name: of the result.
        family: of the posterior.
        n_bins: bins whose bound's gradient was taken.
        n_gradients: gradients of each case.
        reference_error: standard error of the exact gradient itself, over its length.
        cases: one per estimator and temperature.
        used: the case that the fit was made with.
    """

    name: str
    family: str
    n_bins: int
    n_gradients: int
    reference_error: float
    cases: tuple[GradientCase, ...]
    used: GradientCase

    @property
    def advice(self) -> str:
        """A sentence or two on whether to change anything."""
        used = self.used
        off = f"the gradient is off by {used.bias_text} of its length on average"
        if used.relative_bias <= HARMLESS_BIAS and used.cosine_of_mean >= ALONG_IT:
            return (
                f"Nothing to change: with {used.label}, as in this fit, {off} and points along the exact one (cosine "
                f"{used.cosine_of_mean:.3f})."
            )
        found = f"With {used.label}, as in this fit, {off} (cosine with the exact one {used.cosine_of_mean:.3f})."
        best = min(self.cases, key=lambda case: case.error_at_cost_of(used))
        if best.error_at_cost_of(used) > 0.5 * used.error_at_cost_of(used):
            return f"{found} Nothing that was tried here is much better for the same time."
        flags = f"--estimator {best.estimator}" + (
            "" if best.temperature is None else f" --temperature {best.temperature:g}"
        )
        return (
            f"{found} Fit again with {flags}: {best.bias_text}, at {best.cost_s / used.cost_s:.1f} times the cost of a "
            "step."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "result": self.name,
            "family": self.family,
            "n_bins": self.n_bins,
            "n_gradients": self.n_gradients,
            "reference_error": self.reference_error,
            "used": asdict(self.used),
            "cases": [asdict(case) for case in self.cases],
            "advice": self.advice,
        }


def compare_estimators(
    model: POGLMNetwork,
    windows: Windows,
    *,
    name: str,
    used: tuple[str, float],
    estimators: Sequence[str] = DEFAULT_ESTIMATORS,
    temperatures: Sequence[float] = DEFAULT_TEMPERATURES,
    n_gradients: int = 200,
    most_bins: int = 4000,
    seed: int = 0,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> GradientComparison:
    """Measure bias, noise and direction of estimators at a model's parameters.

    Args:
        model: the fit, with one restart and at least one hidden unit.
        windows: of the recording; evenly spaced ones are used.
        name: of the result.
        used: estimator and temperature of the fit.
        estimators: names; the fit's own is added.
        temperatures: for those that have one; the fit's own is added.
        n_gradients: gradients of each case, at least two.
        most_bins: bins whose bound's gradient is taken, about.
        seed: of all draws.
        on_case: told how many cases of how many are done.
    """
    batch = _some_windows(windows, most_bins)
    n_reference = max(2, REFERENCE_DRAWS // 8)
    generator = torch.Generator(model.basis.device).manual_seed(seed)
    measured = _Gradients(model, batch, generator)
    reference = torch.stack([measured(_estimator(model, "exact", 1.0), 8) for _ in range(n_reference)])
    exact = reference.mean(0)
    error = (reference.var(0).sum() / n_reference).sqrt() / exact.norm()

    wanted = _cases(estimators, temperatures, used)
    cases = []
    for done, (which, temperature) in enumerate(wanted):
        on_case(done, len(wanted))
        estimator = _estimator(model, which, temperature or 1.0)
        began = time.process_time()
        gradients = torch.stack([measured(estimator, estimator.min_draws) for _ in range(n_gradients)])
        cost_s = (time.process_time() - began) / n_gradients
        quality = gradient_quality(gradients, exact)
        # The reference's own error stands in every bias; on average it adds its square.
        bias = math.sqrt(max(0.0, quality.relative_bias**2 - float(error) ** 2))
        cases.append(
            GradientCase(
                which,
                temperature,
                estimator.min_draws,
                relative_bias=bias,
                bias_error=math.hypot(quality.relative_noise / math.sqrt(n_gradients), float(error)),
                relative_noise=quality.relative_noise,
                cosine_of_mean=quality.cosine_of_mean,
                mean_cosine=quality.mean_cosine,
                cost_s=cost_s,
            )
        )
    on_case(len(wanted), len(wanted))
    own = (used[0], None if used[0] in WITHOUT_TEMPERATURE else used[1])
    return GradientComparison(
        name=name,
        family=model.family,
        n_bins=batch.n_scored,
        n_gradients=n_gradients,
        reference_error=float(error),
        cases=tuple(cases),
        used=cases[wanted.index(own)],
    )


class _Gradients:
    """Draws of the part of the gradient that passes through the hidden counts, in the posterior's parameters.

    Args:
        model: whose parameters; one restart.
        batch: windows whose bound it is.
        generator: source of the draws.
    """

    def __init__(self, model: POGLMNetwork, batch: WindowBatch, generator: torch.Generator) -> None:
        self.model, self.batch, self.generator = model, batch, generator
        self.parameters = list(model.posterior.parameters())
        self.rate = model.posterior(model.posterior.features(batch.counts)).exp()

    def __call__(self, estimator: Estimator, n_draws: int) -> Float[Tensor, " parameter"]:
        leaf = self.rate.detach().requires_grad_()

        def draw(_: Tensor) -> Draws:
            return estimator.draw(leaf, n_draws=n_draws, generator=self.generator)

        bound = elbo(self.model, self.batch, draw)
        (by_rate,) = torch.autograd.grad(bound.total.mean(0).sum() + bound.correction, leaf)
        parts = torch.autograd.grad(self.rate, self.parameters, by_rate, retain_graph=True)
        return torch.cat([part.flatten() for part in parts]).double()


def _some_windows(windows: Windows, most_bins: int) -> WindowBatch:
    n = max(1, min(len(windows), most_bins // max(1, windows.core)))
    return windows.batch(torch.linspace(0, len(windows) - 1, n).round().long().unique())


def _estimator(model: POGLMNetwork, name: str, temperature: float) -> Estimator:
    if model.family == "categorical":
        return categorical_estimator(name, temperature=temperature, max_count=model.max_count)
    return get_estimator(name, temperature=temperature)


def _cases(
    estimators: Sequence[str], temperatures: Sequence[float], used: tuple[str, float]
) -> list[tuple[str, float | None]]:
    names = list(dict.fromkeys([*estimators, used[0]]))
    levels = sorted({*temperatures, used[1]})
    found: list[tuple[str, float | None]] = []
    for name in names:
        found += [(name, None)] if name in WITHOUT_TEMPERATURE else [(name, level) for level in levels]
    return found
