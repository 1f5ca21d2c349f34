"""How many hidden units are tried: none without shared inputs, a few about their number, and the choice is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spikefit
from spikefit.config import Config
from spikefit.fitted import fit_settings
from spikefit.fitting.fit import fit_network
from spikefit.fitting.how_many import candidates_for, say_auto
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

SETTINGS = {"bin": "10ms", "window": "50ms", "functions": 2, "max_epochs": 1, "restarts": 1, "draws": 1}


@pytest.fixture(scope="module")
def counts() -> Counts:
    """Ten units without any driver, 60 s."""
    network = random_network(n_visible=10, n_drivers=0, seed=5, window_s=0.05, rate_hz=12.0)
    return simulate(network, duration_s=60, seed=5).visible_counts


@pytest.mark.parametrize(
    ("n_shared", "n_units", "tried"),
    [
        (None, 5, (0,)),
        (0, 20, (0,)),
        (1, 20, (0, 1, 2)),
        (4, 20, (0, 3, 4, 5)),
        (6, 20, (0, 5, 6)),  # 20 units cannot tell seven apart
        (1, 3, (0, 1)),
    ],
)
def test_only_numbers_about_the_shared_inputs_are_tried(
    n_shared: int | None, n_units: int, tried: tuple[int, ...]
) -> None:
    assert candidates_for(n_shared, n_units) == tried


def test_every_choice_is_told() -> None:
    assert "too few pairs" in say_auto(None, 0, (0,))
    assert "not needed: the couplings show no input" in say_auto(0, 0, (0,))
    assert "not needed: the couplings show 1 shared input, but" in say_auto(1, 0, (0, 1, 2))
    assert "3 of 0, 2, 3, 4 hidden units" in (enough := say_auto(3, 3, (0, 2, 3, 4)))
    assert "to try more" not in enough
    assert "no more than 4 were tried" in say_auto(3, 4, (0, 2, 3, 4))


def test_what_is_shared_decides_what_is_trained(counts: Counts) -> None:
    settings = fit_settings(Config().replace(hidden="auto", **SETTINGS))
    shapes = []

    def two(couplings: np.ndarray, errors: np.ndarray, correlation: np.ndarray) -> int:
        assert correlation.shape[1:] == errors.shape
        shapes.append((couplings.shape, errors.shape))
        assert (errors > 0).all()
        return 2

    fit = fit_network(counts, settings, device=torch.device("cpu"), count_shared=two)
    assert shapes == [((10, 10), (10, 10))]
    assert [row["n_hidden"] for row in fit.metrics["candidates"]] == [0, 1, 2, 3]
    assert fit.metrics["n_shared_inputs_train"] == 2
    n_parameters = 10 * (10 * 2 + 4 + 1)  # couplings, common drive, baseline
    assert fit.metrics["hidden_bar_nats_per_bin"] == n_parameters / (2 * fit.metrics["n_train_bins"])
    # One epoch of training predicts nothing, so none is kept, however many inputs are said to be shared.
    assert fit.n_hidden == 0
    assert "hidden units are not needed: the couplings show 2 shared inputs" in fit.metrics["hidden_choice"]
    none = fit_network(counts, settings, device=torch.device("cpu"), count_shared=lambda z, e, c: 0)
    assert "candidates" not in none.metrics
    np.testing.assert_array_equal(none.coupling_filters, fit.coupling_filters)


def test_the_bar_counts_the_parameters_that_there_are(counts: Counts) -> None:
    """What a unit may not use, functions for others' own history or a pair taken out by a penalty, costs nothing to estimate."""
    own = {"self_basis": "raw", "self_functions": 3, "self_window": "30ms"}
    settings = fit_settings(Config().replace(hidden="auto", **SETTINGS, **own))
    metrics = fit_network(counts, settings, device=torch.device("cpu"), count_shared=lambda z, e, c: 0).metrics
    n_parameters = 10 * (9 * 2 + 3 + 4 + 1)  # couplings of the others, own functions, common drive, baseline
    assert metrics["hidden_bar_nats_per_bin"] == n_parameters / (2 * metrics["n_train_bins"])


def test_auto_is_a_setting_of_every_fit(counts: Counts) -> None:
    fit = spikefit.POGLM(hidden="auto", device="cpu", threads=1, **SETTINGS).fit(counts)
    assert fit.metrics["hidden_auto"] is True
    assert fit.metrics["n_shared_inputs_train"] in (0, 1)
    assert fit.metrics["hidden_choice"].startswith("--hidden auto")
    assert fit.config["model"]["hidden"] == "auto"
