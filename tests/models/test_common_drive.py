"""The traces of the population against sums written out, and what a segment may know of another."""

from __future__ import annotations

import numpy as np
import torch

from spikefit.models.common_drive import CommonDrive

OFFSETS = np.array([0, 40, 41, 90])


def made_up(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).poisson(0.4, (3, 90)).astype(np.uint8))


def test_traces_are_the_decaying_sums_of_their_definition() -> None:
    counts = made_up()
    drive = CommonDrive.of(counts, (0.02, 0.5), 0.01)
    population = counts.numpy().sum(axis=0).astype(float)
    assert drive.level == population.mean()
    found = drive.features(counts, OFFSETS).numpy()
    for row, tau_s in enumerate((0.02, 0.5)):
        for start, stop in ((0, 40), (40, 41), (41, 90)):
            for t in range(start, stop):
                past = np.arange(start, t)
                kernel = np.exp(-(t - 1 - past) * 0.01 / tau_s)
                trace = (kernel * (population[past] - drive.level)).sum()
                assert abs(found[row, t] - drive.gain[row] * trace) < 1e-5


def test_a_feature_has_the_energy_of_a_basis_function() -> None:
    drive = CommonDrive(np.array([0.5, 0.99]), 0.0)
    impulse = torch.zeros(1, 4000, dtype=torch.uint8)
    impulse[0, 0] = 1
    features = drive.features(impulse, np.array([0, 4000])).double()
    torch.testing.assert_close(features.square().sum(1), torch.ones(2, dtype=torch.float64), rtol=1e-5, atol=0)


def test_a_trace_never_sees_its_own_bin_another_segment_or_the_future() -> None:
    counts = made_up()
    drive = CommonDrive.of(counts, (0.1,), 0.01)
    before = drive.features(counts, OFFSETS)
    changed = counts.clone()
    changed[1, 60] += 5
    after = drive.features(changed, OFFSETS)
    moved = (after != before)[0].nonzero()[:, 0]
    assert moved.min() == 61
    assert moved.max() < 90
    changed = counts.clone()
    changed[:, :41] += 3  # in the first two segments
    assert (drive.features(changed, OFFSETS)[:, 41:] == before[:, 41:]).all()
    # The check can see: without the edge between them the third segment would have changed.
    joined = np.array([0, 90])
    assert (drive.features(changed, joined)[:, 41:] != drive.features(counts, joined)[:, 41:]).any()
