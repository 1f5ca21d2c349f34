"""A small population with shared ups and downs, and a network for it."""

import numpy as np
import pytest
import torch

from spikefit.models.pvae import PVAE, Shape
from spikefit.spikes import Counts, SpikeTrains


def make_counts(n_units=8, lengths=(100,) * 12, seed=0, bin_width_s=0.01):
    """Two slow signals drive all units; segments of the given lengths, 10 s apart."""
    random = np.random.default_rng(seed)
    n = sum(lengths)
    slow = np.stack([np.sin(2 * np.pi * np.arange(n) / 37), np.cos(2 * np.pi * np.arange(n) / 53)], axis=1)
    expected = 0.2 * np.exp(slow @ random.normal(size=(2, n_units)))
    return Counts(
        counts=np.asfortranarray(random.poisson(expected).astype(np.uint8)),
        bin_width_s=bin_width_s,
        segment_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        segment_start_s=10.0 * np.arange(len(lengths)),
        unit_ids=tuple(f"u{k}" for k in range(n_units)),
    )


@pytest.fixture
def counts():
    return make_counts


@pytest.fixture
def network():
    """`network(encoder="gru", n_units=4)` with weights large enough to matter."""

    def make(seed=0, **changes):
        parts = {
            "n_units": 8, "n_latents": 3, "encoder": "conv", "decoder": "conv", "observation": "poisson",
            "link": "softplus", "encoder_reach": 6, "decoder_reach": 4, "width": 10, "excitatory": False,
        } | changes  # fmt: skip
        if parts["decoder"] != "conv":
            parts["decoder_reach"] = 0
        n = parts["n_units"]
        generator = torch.Generator().manual_seed(seed)
        made = PVAE(Shape(**parts), mean_count=torch.full((n,), 0.3), scale=torch.full((n,), 0.5), generator=generator)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        made.hold_constraints()
        return made

    return make


@pytest.fixture(scope="session")
def session():
    """A recording of 60 s whose six units share one slow signal; `session("name", seed=1)`."""

    def make(name="one", seed=0, n_units=6, duration_s=60.0):
        random = np.random.default_rng(seed)
        time_s = np.arange(0, duration_s, 0.002)
        signal = np.sin(2 * np.pi * time_s / 1.3)
        trains = {}
        for k in range(n_units):
            rate = 12 * np.exp((-1) ** k * 1.2 * signal)
            trains[f"u{k}"] = time_s[random.random(time_s.size) < rate * 0.002]
        return SpikeTrains.from_trains(trains, intervals_s=[[0, duration_s]], name=name)

    return make
