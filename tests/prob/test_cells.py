"""Points on cells: every latent gets its own Poisson process, whatever its neighbours."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from spikefit.prob.cells import lay_out


def places(expected_points: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Latent of each point that is not void, and its place on its latent's stretch in expected points."""
    cells = lay_out(expected_points, generator)
    assert cells is not None
    latents, runs = [], []
    for latent, place in cells.points(1000, expected_points.device, generator):
        latents.append(latent)
        runs.append(place * cells.width)
    latent, run = torch.cat(latents), torch.cat(runs)
    alive = run < expected_points[latent]
    return latent[alive], run[alive]


@pytest.mark.statistical
@pytest.mark.parametrize(
    "expected", [[4000.0] * 3, [4000.0, 5000.0, 3900.0], [10.0, 9000.0, 0.0, 300.0, 4000.5], [0.0, 5000.0, 5000.0]]
)
def test_each_latent_gets_its_points(seeded, expected: list[float]) -> None:
    """Counts within five standard deviations and places uniform. False alarms: about one in a million a latent."""
    expected_points = torch.tensor(expected, dtype=torch.float64)
    latent, run = places(expected_points, seeded(4))
    for k, wanted in enumerate(expected):
        own = run[latent == k]
        assert abs(len(own) - wanted) <= 5 * wanted**0.5
        if wanted:
            assert stats.kstest(own.numpy() / wanted, "uniform").pvalue > 1e-6
            assert stats.kstest(own.numpy() / (1.2 * wanted), "uniform").pvalue < 1e-6 or wanted < 400


def test_no_rate_no_points(seeded) -> None:
    cells = lay_out(torch.zeros(5), seeded(0))
    assert cells is not None
    assert cells.n_points == 0


def test_an_invalid_batch_is_reported_on_the_way(seeded) -> None:
    assert lay_out(torch.ones(5), seeded(0), valid=torch.tensor(False)) is None
    assert lay_out(torch.ones(5), seeded(0), valid=torch.tensor(True)) is not None


def test_cells_stay_within_twice_the_latents(seeded) -> None:
    rates = torch.exp(3 * torch.randn(10_000, generator=seeded(1)))
    cells = lay_out(rates, seeded(2))
    assert cells is not None
    assert cells.n_cells <= 2 * rates.numel()
    assert cells.n_points <= 2.1 * float(rates.sum())
