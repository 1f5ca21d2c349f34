"""From counts to a fitted network: what every fit must have, whatever the candidates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from spikefit.errors import UsageError
from spikefit.fitting.fit import fit_network
from spikefit.fitting.outcome import notes_on
from spikefit.fitting.problem import pose_problem
from spikefit.fitting.settings import FitSettings
from spikefit.simulate import Network, simulate
from spikefit.spikes import Counts

CPU = torch.device("cpu")
Settings = Callable[..., FitSettings]


def test_the_couplings_of_a_simulated_network_are_found(tiny_settings: Settings) -> None:
    """A network whose filters the basis holds: 200 s determine every coupling to a fraction of its size."""
    from spikefit.models.basis import make_basis

    basis = make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=2)
    weights = np.zeros((3, 3, 2))
    weights[1, 0], weights[2, 1], weights[0, 2] = [1.5, 0.5], [-1.0, -0.5], [0.8, 0.8]
    network = Network(weights @ basis.T, np.array([-1.5, -1.0, -1.5]), n_visible=3, bin_width_s=0.01)
    counts = simulate(network, duration_s=200, seed=0).visible_counts
    fit = fit_network(counts, tiny_settings(ridge=0.1), device=CPU)
    off = np.abs(fit.coupling_filters.sum(axis=2) - network.connectivity)
    assert (off < 5 * fit.std_error).all()
    assert (fit.std_error < 0.3).all()
    np.testing.assert_allclose(fit.baseline, network.baseline, atol=0.15)
    assert fit.metrics["heldout_bits_per_spike"] > 3 * fit.metrics["heldout_bits_per_spike_se"] > 0
    assert fit.notes == ()


@pytest.mark.parametrize(
    ("family", "posterior"),
    [("poisson", "forward-backward"), ("categorical", "forward-backward")],
)
def test_a_fit_with_hidden_units_has_all_its_parts(
    small_counts: Counts, tiny_settings: Settings, family: str, posterior: str
) -> None:
    fit = fit_network(small_counts, tiny_settings(hidden=(2,), family=family, posterior=posterior), device=CPU)
    assert fit.n_hidden == fit.metrics["n_hidden"] == 2
    assert fit.coupling_filters.shape == (6, 6, 5)
    assert fit.hidden_count.shape == (len(fit.hidden_bins), 2)
    np.testing.assert_array_equal(fit.hidden_bins, np.arange(5, small_counts.n_bins))
    assert fit.hidden_count.min() >= 0
    assert family == "poisson" or fit.hidden_count.max() <= 1
    for array in (fit.coupling_filters, fit.baseline, fit.hidden_count, *fit.history.values()):
        assert np.isfinite(array).all()
    assert np.isfinite(fit.std_error[:4, :4]).all()
    assert np.isnan(fit.std_error[4:]).all()
    # Every series has its steps, and the steps go forward.
    for name, series in fit.history.items():
        if name.startswith(("heldout_block_", "heldout_piece_")):  # one entry per stretch of time, not per step
            continue
        steps = fit.history["step" if name in ("objective", "step") else f"{name.removesuffix('_step')}_step"]
        assert len(series) == len(steps)
        assert (np.diff(steps) > 0).all()
    # The strongest hidden unit comes first.
    strength = np.linalg.norm(fit.coupling_filters[:4, 4:].sum(axis=2), axis=0) * fit.hidden_count.std(axis=0)
    assert strength[0] >= strength[1]
    assert fit.metrics["elbo_per_bin"] < 0


def test_scores_of_candidates_are_paired_with_those_without_hidden_units(
    small_counts: Counts, tiny_settings: Settings
) -> None:
    alone = fit_network(small_counts, tiny_settings(), device=CPU).metrics
    both = fit_network(small_counts, tiny_settings(hidden=(0, 1)), device=CPU).metrics
    assert both["h0_heldout_nats_per_bin"] == alone["heldout_nats_per_bin"]
    assert [row["n_hidden"] for row in both["candidates"]] == [0, 1]
    assert both["candidates"][0]["heldout_gain_nats_per_bin"] == 0
    for name in ("n_bins", "n_train_bins", "n_heldout_bins", "n_visible", "n_lags"):
        assert both[name] == alone[name]


def test_nothing_need_be_held_out(small_counts: Counts, tiny_settings: Settings) -> None:
    for hidden in ((0,), (1,)):
        fit = fit_network(small_counts, tiny_settings(hidden=hidden, heldout=0.0), device=CPU)
        assert math.isnan(fit.metrics["heldout_nats_per_bin"])
        assert fit.metrics["n_train_bins"] == fit.metrics["n_bins"] == small_counts.n_bins - 5
        assert np.isfinite(fit.coupling_filters).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_the_type_that_counts_are_stored_in_changes_nothing(
    small_counts: Counts, tiny_settings: Settings, dtype: type[np.unsignedinteger]
) -> None:
    stored = dataclasses.replace(small_counts, counts=small_counts.counts.astype(dtype, order="F"))
    fit = fit_network(stored, tiny_settings(), device=CPU)
    expected = fit_network(small_counts, tiny_settings(), device=CPU)
    np.testing.assert_array_equal(fit.coupling_filters, expected.coupling_filters)


def test_counts_above_a_byte_are_kept_whole(small_counts: Counts, tiny_settings: Settings) -> None:
    large = dataclasses.replace(small_counts, counts=small_counts.counts.astype(np.uint16, order="F") + 40_000)
    problem = pose_problem(large, tiny_settings(), CPU)
    np.testing.assert_array_equal(problem.counts.numpy(), large.counts.T)
    assert problem.mean_count.min() > 40_000


def test_the_identity_of_a_problem_changes_with_everything_the_fit_depends_on(
    small_counts: Counts, tiny_settings: Settings
) -> None:
    usual = pose_problem(small_counts, tiny_settings(), CPU).identity
    assert pose_problem(small_counts, tiny_settings(), CPU).identity == usual
    # The list of candidates has no part in the fit of one of them.
    assert pose_problem(small_counts, tiny_settings(hidden=(0, 3)), CPU).identity == usual
    for name, value in {"ridge": 2.0, "seed": 1, "n_draws": 2, "link": "exp", "family": "categorical"}.items():
        assert pose_problem(small_counts, tiny_settings(**{name: value}), CPU).identity != usual, name
    cut = dataclasses.replace(
        small_counts, segment_offsets=np.array([0, 1000, small_counts.n_bins]), segment_start_s=np.array([0.0, 10.0])
    )
    assert pose_problem(cut, tiny_settings(), CPU).identity["data"] != usual["data"]


def test_the_mean_counts_are_those_of_the_training_bins(
    segmented: Callable[..., Counts], tiny_settings: Settings
) -> None:
    counts = segmented([900, 700])
    counts.counts[:, 1] = 0
    problem = pose_problem(counts, tiny_settings(), CPU)
    train = np.concatenate([np.arange(start, stop) for start, stop in problem.split.train])
    expected = counts.counts[train].mean(axis=0)
    expected[1] = 0.5 / len(train)  # half a spike where there was none
    np.testing.assert_allclose(problem.mean_count.numpy(), expected, rtol=1e-12)


def test_the_objective_that_is_told_contains_the_factorials(
    segmented: Callable[..., Counts], tiny_settings: Settings
) -> None:
    from scipy.special import gammaln

    counts = segmented([400, 300], expected=2.0)
    problem = pose_problem(counts, tiny_settings(), CPU)
    scored = np.concatenate([counts.counts[5:400], counts.counts[405:]]).astype(float)
    assert problem.factorials_per_bin == pytest.approx(gammaln(scored + 1).sum() / len(scored))


@pytest.mark.parametrize(
    ("metrics", "converged", "words"),
    [
        ({"n_hidden": 0}, True, []),
        ({"n_hidden": 0}, False, ["did not converge"]),
        ({"n_hidden": 0, "heldout_bits_per_spike": -0.05, "heldout_bits_per_spike_se": 0.01}, True, ["--ridge auto"]),
        ({"n_hidden": 0, "heldout_bits_per_spike": -0.005, "heldout_bits_per_spike_se": 0.01}, True, []),
        ({"n_hidden": 2, "heldout_gain_nats_per_bin": 0.3, "heldout_gain_se": 0.02}, True, []),
        (
            {"n_hidden": 2, "heldout_gain_nats_per_bin": 0.01, "heldout_gain_se": 0.02},
            True,
            ["2 hidden units from none"],
        ),
        (
            {"n_hidden": 1, "heldout_gain_nats_per_bin": 0.01, "heldout_gain_se": 0.02},
            True,
            ["1 hidden unit from none"],
        ),
        ({"n_hidden": 2, "heldout_gain_nats_per_bin": -0.3, "heldout_gain_se": 0.02}, True, ["H = 0 is better"]),
        ({"n_hidden": 2, "heldout_gain_nats_per_bin": -0.3, "heldout_gain_se": 0.02}, False, ["did not", "H = 0 is"]),
    ],
)
def test_the_notes_say_what_the_reader_must_know(metrics: dict[str, float], converged: bool, words: list[str]) -> None:
    notes = notes_on(metrics, converged)
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


def test_units_beyond_the_bounded_link_are_refused_before_the_fit(
    small_counts: Counts, tiny_settings: Settings
) -> None:
    busy = dataclasses.replace(small_counts, counts=(small_counts.counts + np.array([0, 0, 3, 0], dtype=np.uint8)))
    with pytest.raises(UsageError, match=r"unit '\w+' fires 3\.\d spikes per bin .* than 5") as refusal:
        pose_problem(busy, tiny_settings(link="sigmoid"), CPU)
    assert "--link softplus" in (refusal.value.hint or "")
    pose_problem(busy, tiny_settings(link="softplus"), CPU)
    pose_problem(small_counts, tiny_settings(link="sigmoid"), CPU)


@pytest.mark.parametrize("sign", ["excitatory", "inhibitory"])
def test_the_sign_of_hidden_units_holds_in_the_fit_that_is_reported(
    small_counts: Counts, tiny_settings: Settings, sign: str
) -> None:
    fit = fit_network(small_counts, tiny_settings(hidden=(2,), hidden_sign=sign, restarts=1), device=CPU)
    effects = fit.coupling_filters[:4, 4:]
    assert (effects >= 0).all() if sign == "excitatory" else (effects <= 0).all()
    assert np.abs(effects).max() > 1e-3
