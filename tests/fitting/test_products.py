"""Products by spikes are the products with the features: same drives, same sums, same fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.fitting import design as design_module
from spikefit.fitting.design import Design
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import glm_log_likelihood
from spikefit.models.coupling import history_features
from spikefit.models.products import (
    CHUNK_BINS,
    MOST_COLUMNS,
    Bands,
    DenseProducts,
    SpikeProducts,
    Weights,
    by_spikes,
)

N_UNITS, N_LAGS, N_FUNCTIONS = 7, 5, 2


def both(n_bins: int, scored: Tensor | None, *, with_covariates: bool) -> tuple[DenseProducts, SpikeProducts]:
    generator = torch.Generator().manual_seed(n_bins)
    padded = torch.poisson(torch.full((N_UNITS, n_bins + N_LAGS), 0.4), generator).to(torch.uint8)
    assert padded.max() > 1
    basis = torch.rand(N_LAGS, N_FUNCTIONS, dtype=torch.float64, generator=generator)
    features, covariates = history_features(padded.double(), basis), None
    if with_covariates:
        covariates = torch.rand(3, n_bins, dtype=torch.float64, generator=generator)
        features = torch.cat([features, covariates])
    if scored is not None:
        features = features[:, scored]
        covariates = None if covariates is None else covariates[:, scored]
    return DenseProducts(features), SpikeProducts(padded, Bands(basis), scored, covariates)


@pytest.mark.parametrize("with_covariates", [False, True])
@pytest.mark.parametrize("scored", [None, torch.tensor([0, 1, 2, 9, 10, 17])])
@pytest.mark.parametrize("n_bins", [18, CHUNK_BINS, 3 * CHUNK_BINS + 1])
def test_products_by_spikes_are_those_with_the_features(
    n_bins: int, scored: Tensor | None, with_covariates: bool
) -> None:
    dense, spikes = both(n_bins, scored, with_covariates=with_covariates)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(4, len(dense.features), dtype=torch.float64, generator=generator)
    offset = torch.randn(4, dtype=torch.float64, generator=generator)
    expected = dense.drive(Weights(weights), offset)
    torch.testing.assert_close(spikes.drive(Weights(weights), offset), expected, rtol=1e-12, atol=1e-12)
    values = torch.randn(4, dense.features.shape[1], dtype=torch.float64, generator=generator)
    torch.testing.assert_close(spikes.against(values), dense.against(values), rtol=1e-12, atol=1e-12)
    # The twin: a spike in another bin is another product.
    assert (spikes.drive(Weights(weights.roll(1, 1)), offset) - expected).abs().max() > 0.1


def test_many_rows_are_worked_through_in_parts() -> None:
    dense, spikes = both(40, None, with_covariates=False)
    values = torch.randn(MOST_COLUMNS + 3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(spikes.against(values), dense.against(values), rtol=1e-12, atol=1e-12)


def test_a_bin_without_spikes_and_a_block_without_any() -> None:
    bands = Bands(torch.rand(N_LAGS, N_FUNCTIONS, dtype=torch.float64))
    silent = SpikeProducts(torch.zeros(3, 30 + N_LAGS, dtype=torch.uint8), bands, None, None)
    offset = torch.tensor([0.5, -0.5], dtype=torch.float64)
    weights = torch.ones(2, 3 * N_FUNCTIONS, dtype=torch.float64)
    assert torch.equal(silent.drive(Weights(weights), offset), offset[:, None].expand(2, 30))
    assert (silent.against(torch.ones(2, 30, dtype=torch.float64)) == 0).all()


def test_they_are_for_many_units_that_fire_rarely_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    assert by_spikes(1000, 25.0, 20, cpu)
    assert not by_spikes(20, 0.5, 20, cpu)
    assert not by_spikes(300, 150.0, 20, cpu)
    assert not by_spikes(1000, 25.0, 20, torch.device("cuda"))


def test_a_fit_by_spikes_finds_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(4)
    counts = torch.poisson(torch.full((6, 2000), 0.2), generator).to(torch.uint8)
    # A long range, short ones that are pooled, and a covariate.
    ranges = np.array([[N_LAGS, 1400], [1410, 1450], [1460, 1530], [1600, 2000]])
    basis = torch.rand(N_LAGS, N_FUNCTIONS, dtype=torch.float64, generator=generator)
    covariates = torch.randn(1, 2000, dtype=torch.float64, generator=generator)

    def fit(spikes: bool) -> tuple[Design, object]:
        monkeypatch.setattr(design_module, "by_spikes", lambda *_: spikes)
        design = Design(counts, ranges, basis, covariates=covariates, cache_bytes=10**7)
        return design, fit_glm(design, ridge=1.0, tolerance_nats=1e-9)

    (dense_design, dense), (sparse_design, sparse) = fit(False), fit(True)
    torch.testing.assert_close(sparse.weights, dense.weights, rtol=0, atol=1e-5)  # type: ignore[attr-defined]
    torch.testing.assert_close(
        glm_log_likelihood(sparse_design, sparse),  # type: ignore[arg-type]
        glm_log_likelihood(dense_design, sparse),  # type: ignore[arg-type]
        rtol=1e-10,
        atol=1e-10,
    )
    centre = dense_design.feature_sums() / dense_design.n_bins
    whole = torch.cat([features for features, _ in dense_design.blocks()], dim=1)
    torch.testing.assert_close(centre, whole.mean(1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(dense_design.count_sums(), sum(c.sum(1) for _, c in dense_design.blocks()))
    reference = (whole - centre[:, None]) @ (whole - centre[:, None]).T
    for design in (dense_design, sparse_design):
        gram, n_seen = design.gram(centre, 1)
        assert n_seen == dense_design.n_bins
        torch.testing.assert_close(gram, reference, rtol=1e-9, atol=1e-9)
