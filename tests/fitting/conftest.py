"""What the tests of the fitting share: small networks with a known answer, and a check of means that can fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.fitting.settings import FitSettings
from spikefit.models.poglm import POGLMNetwork
from spikefit.simulate import Network, random_network, simulate
from spikefit.spikes import Counts


@pytest.fixture(scope="session")
def assert_mean() -> Callable[..., None]:
    """Checks means over the first axis against the truth within `n_sigma` standard errors, entry by entry.

    At 6 standard errors one entry in five hundred million is a false alarm.
    """

    def check(draws: Tensor, expected: Tensor, n_sigma: float = 6.0) -> None:
        error = draws.std(0) / len(draws) ** 0.5
        z = ((draws.mean(0) - expected) / error).abs().max().item()
        assert z < n_sigma, f"a mean lies {z:.1f} standard errors from the truth"

    return check


@pytest.fixture(scope="session")
def make_model() -> Callable[..., POGLMNetwork]:
    """`make_model(n_visible, n_hidden, n_lags=…)`: a POGLM with random parameters of a sensible size."""

    def make(
        n_visible: int,
        n_hidden: int,
        *,
        n_lags: int = 3,
        n_functions: int = 2,
        n_restarts: int = 1,
        seed: int = 0,
        size: float = 0.4,
        link: str = "softplus",
        family: str = "poisson",
        posterior: str = "forward-backward",
        depth: int = 0,
        max_count: int = 1,
        dtype: torch.dtype = torch.float64,
    ) -> POGLMNetwork:
        generator = torch.Generator().manual_seed(seed)
        basis = torch.rand(n_lags, n_functions, dtype=dtype, generator=generator)
        model = POGLMNetwork(
            n_visible,
            n_hidden,
            basis,
            link=link,
            family=family,
            posterior=posterior,
            n_restarts=n_restarts,
            posterior_depth=depth,
            max_count=max_count,
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                shift = -1.0 if name in ("baseline", "posterior.offset") else 0.0
                parameter.copy_(shift + size * torch.randn(parameter.shape, dtype=dtype, generator=generator))
        return model

    return make


@pytest.fixture(scope="session")
def small_network() -> Network:
    """Four recorded units and a driver."""
    return random_network(n_visible=4, n_drivers=1, seed=3, window_s=0.05, rate_hz=12.0, driver_rate_hz=10.0)


@pytest.fixture(scope="session")
def small_counts(small_network: Network) -> Counts:
    """24 s of it, as one segment."""
    return simulate(small_network, duration_s=24, seed=4).visible_counts


@pytest.fixture(scope="session")
def segmented() -> Callable[..., Counts]:
    """`segmented([200, 350], n_units=3)`: independent counts in segments of so many bins."""

    def make(lengths: list[int], *, n_units: int = 3, expected: float = 0.2, seed: int = 0) -> Counts:
        rng = np.random.default_rng(seed)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Counts(
            counts=np.asfortranarray(rng.poisson(expected, (int(offsets[-1]), n_units)).astype(np.uint8)),
            bin_width_s=0.01,
            segment_offsets=offsets,
            segment_start_s=np.arange(len(lengths)) * 1000.0,
            unit_ids=tuple(f"u{k}" for k in range(n_units)),
        )

    return make


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[..., FitSettings]:
    """Settings of a fit that takes a second or two; `tiny_settings(hidden=(1,))` changes them."""

    def make(**changes: Any) -> FitSettings:
        settings: dict[str, Any] = {
            "hidden": (0,),
            "window_s": 0.05,
            "basis": "raised-cosine-log",
            "n_functions": 2,
            "link": "softplus",
            "family": "poisson",
            "posterior": "forward-backward",
            "hidden_sign": "any",
            "estimator": "eat-cubic",
            "temperature": 0.5,
            "n_draws": 1,
            "ridge": 1.0,
            "restarts": 2,
            "heldout": 0.25,
            "max_epochs": 2,
            "learning_rate": 0.05,
            "seed": 0,
        }
        return FitSettings(**(settings | changes))

    return make
