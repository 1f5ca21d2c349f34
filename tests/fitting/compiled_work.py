"""Work that is compiled, in a process of its own: the checks of shapes that pytest puts around every function cannot be compiled.

python compiled_work.py WHAT FOLDER      prints one JSON object; see the tests beside this file
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikefit.fitting.fit import fit_network
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.loop import Loop, LoopSettings
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.windows import Windows
from spikefit.models.kernels import Kernels
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.chain import categorical_estimator
from spikefit.prob.estimators import get_estimator
from spikefit.prob.single import occupancy
from spikefit.simulate import random_network, simulate

CPU = torch.device("cpu")
KINDS: dict[str, dict[str, Any]] = {
    "default": {"link": "softplus", "family": "categorical", "estimator": "eat-cubic"},
    "several spikes, gsm": {"link": "exp", "family": "categorical", "estimator": "gsm", "max_count": 2},
    "many units": {"link": "softplus", "family": "categorical", "estimator": "eat-cubic", "n_visible": 120},
    "scattered counts": {"link": "sigmoid", "family": "poisson", "estimator": "eat-cubic", "scattered": True},
}


def gradients(
    kernels: Kernels | None,
    *,
    link: str,
    family: str,
    estimator: str,
    max_count: int = 1,
    scattered: bool = False,
    n_restarts: int = 3,
    which: tuple[int, ...] = (0, 1, 2, 3, 4),
    part_windows: int = 8,
    n_visible: int = 6,
) -> list[Tensor]:
    """Bound and gradients of one step on windows of which the last is shorter than the others.

    Of many units the products are by spikes, and the drive lies in memory bin after bin.
    """
    generator = torch.Generator().manual_seed(5)
    counts = torch.poisson(torch.full((n_visible, 620), 0.9 / n_visible), generator=generator).to(torch.uint8)
    basis = torch.rand(4, 2, generator=generator)
    model = POGLMNetwork(
        n_visible, 2, basis, link=link, family=family, n_restarts=n_restarts, max_count=max_count, scattered=scattered
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) - 0.5)
    ranges = np.array([[10, 410], [420, 500]])
    windows = Windows(counts, np.array([0, 620]), ranges, context=model.context, core_bins=100)
    chosen = (
        categorical_estimator(estimator, temperature=0.5, max_count=max_count)
        if family == "categorical"
        else get_estimator(estimator, temperature=0.5)
    )
    loop = Loop(
        model,
        windows,
        estimator=chosen,
        settings=LoopSettings(0.01, 2, 1.0, 5, part_windows=part_windows, kernels=kernels),
        generator=torch.Generator().manual_seed(1),
        shuffle=torch.Generator().manual_seed(1),
        name_unit=str,
    )
    total = loop.add_gradients(torch.tensor(which), seed=7)
    return [total, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]


def furthest(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest difference, as a share of the largest value of the same tensor."""
    return max(
        ((a - b).abs().max() / b.abs().max().clamp(min=1e-12)).item() for a, b in zip(found, expected, strict=True)
    )


def steps() -> dict[str, Any]:
    """How far gradients of compiled steps are from those of steps as written, and of what was compiled; sizes; small rates."""
    from torch._dynamo.utils import counters

    out: dict[str, Any] = {"apart": {}, "compiled": {}}
    for name, kind in KINDS.items():
        kernels = Kernels()
        out["apart"][name] = furthest(gradients(kernels, **kind), gradients(None, **kind))
        if kernels.fault is not None:
            return {"fault": kernels.fault}
        out["compiled"][name] = kernels.n_compiled
    default, kernels, before = KINDS["default"], Kernels(), counters["stats"]["unique_graphs"]
    gradients(kernels, **default)
    out["first"] = kernels.n_compiled
    out["less_apart"] = []
    for less in ({"which": (0, 2, 4)}, {"which": (1, 3)}, {"n_restarts": 2}, {"part_windows": 3}):
        found = gradients(kernels, **default, **less)
        out["less_apart"].append(furthest(found, gradients(None, **default, **less)))
    out["after_less"] = kernels.n_compiled
    for _ in range(2):  # a single window has an axis of length one
        gradients(kernels, **default, which=(3,))
    out["after_one"], out["fault_of_sizes"] = kernels.n_compiled, kernels.fault
    out["graphs"] = counters["stats"]["unique_graphs"] - before
    fixed, before = torch.compile(_doubled, dynamic=False), counters["stats"]["unique_graphs"]
    for n in (5, 4, 3):
        fixed(torch.ones(n, 7))
    out["graphs_of_fixed_sizes"] = counters["stats"]["unique_graphs"] - before
    out["occupancy"], out["careless_occupancy"] = _digits(_occupancy), _digits(_careless)
    return out


def _doubled(x: Tensor) -> tuple[Tensor]:
    return (2 * x.exp(),)


def _occupancy(rate: Tensor) -> tuple[Tensor]:
    return (occupancy(rate),)


def _careless(rate: Tensor) -> tuple[Tensor]:
    return (1 - torch.exp(-rate),)


def _digits(function: Callable[[Tensor], tuple[Tensor]]) -> float:
    rate = torch.logspace(-8, 1, 5001)
    truth = -torch.expm1(-rate.double())
    (found,) = Kernels()(function, rate)
    return float(((found - truth) / truth).abs().max())


def settings(**changes: Any) -> FitSettings:
    usual: dict[str, Any] = {
        "hidden": (1,), "window_s": 0.05, "basis": "raised-cosine-log", "n_functions": 2, "link": "softplus",
        "family": "categorical", "posterior": "forward-backward", "hidden_sign": "any", "estimator": "eat-cubic",
        "temperature": 0.5, "n_draws": 2, "ridge": 1.0, "restarts": 2, "heldout": 0.25, "max_epochs": 4,
        "learning_rate": 0.02, "seed": 0,
    }  # fmt: skip
    return FitSettings(**(usual | changes))


def small_counts() -> Any:
    network = random_network(n_visible=4, n_drivers=1, seed=3, window_s=0.05, rate_hz=12.0, driver_rate_hz=10.0)
    return simulate(network, duration_s=24, seed=4).visible_counts


def summary(fit: Any) -> dict[str, Any]:
    names = ("heldout_nats_per_bin", "elbo_per_bin", "compiled", "compile_fault", "compile_s")
    kept = {name: fit.metrics.get(name) for name in names}
    return kept | {"notes": list(fit.notes), "couplings": fit.coupling_filters.sum(-1).tolist()}


class Stopped(Exception):
    """Raised to stop a fit."""


def resumes(folder: Path) -> dict[str, Any]:
    """A fit left alone, and two that were stopped and went on with the other setting."""
    counts = small_counts()
    out: dict[str, Any] = {"whole": summary(fit_network(counts, settings(), device=CPU))}

    def stop() -> None:
        raise Stopped

    for first in (False, True):
        epochs: list[float] = []
        place = folder / str(first)
        hooks = Hooks(
            checkpoints=place,
            update=lambda done, epochs=epochs, **_: epochs.append(done),
            should_stop=lambda epochs=epochs: len(epochs) >= 6,
            stop=stop,
        )
        try:
            fit_network(counts, settings(compiles=first), device=CPU, hooks=hooks)
            out[f"stopped {first}"] = False
        except Stopped:
            out[f"stopped {first}"] = bool(list(place.glob("*.safetensors")))
        onward = Hooks(checkpoints=place, resume=True)
        out[f"began {first}"] = summary(fit_network(counts, settings(compiles=not first), device=CPU, hooks=onward))
    return out


def no_compiler(folder: Path) -> dict[str, Any]:
    """A fit that asks for compiling where there is no compiler, and one that does not ask."""
    import torch._inductor.config as inductor

    inductor.cpp.cxx = (str(folder / "no-such-compiler"),)
    counts = small_counts()
    return {
        "plain": summary(fit_network(counts, settings(), device=CPU)),
        "asked": summary(fit_network(counts, settings(compiles=True), device=CPU)),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, place = sys.argv[1], Path(sys.argv[2])
    found = steps() if what == "steps" else {"resumes": resumes, "no_compiler": no_compiler}[what](place)
    print(json.dumps(found))
