"""Simulated networks do what their filters say."""

from __future__ import annotations

import numpy as np
import pytest

from spikefit.errors import UsageError
from spikefit.simulate import Network, random_network, simulate

WIDTH_S = 0.01


EXPECTED = {
    "softplus": lambda drive: np.logaddexp(0, drive),
    "exp": np.exp,
    "sigmoid": lambda drive: 5 / (1 + np.exp(-drive)),
}


def network(
    filters: np.ndarray, baseline: list[float], n_visible: int | None = None, link: str = "softplus"
) -> Network:
    return Network(filters, np.array(baseline), n_visible or len(baseline), WIDTH_S, link)


@pytest.mark.statistical
@pytest.mark.parametrize("link", EXPECTED)
def test_uncoupled_units_are_poisson_at_the_count_their_baseline_says(link: str) -> None:
    """Mean and variance within five standard errors: one false alarm in half a million."""
    baseline = [-3.0, -1.0, 0.0]
    simulation = simulate(network(np.zeros((3, 3, 4)), baseline, link=link), duration_s=300, seed=1)
    expected = EXPECTED[link](np.array(baseline))
    n_bins = len(simulation.counts)
    off = simulation.counts.mean(axis=0) - expected
    assert (np.abs(off) < 5 * np.sqrt(expected / n_bins)).all()
    assert (np.abs(off + 0.1 * expected) > 5 * np.sqrt(expected / n_bins))[1:].all()  # a tenth less would be seen
    spread = simulation.counts.var(axis=0) - expected
    assert (np.abs(spread) < 5 * np.sqrt((expected + 2 * expected**2) / n_bins)).all()


@pytest.mark.statistical
def test_a_spike_acts_through_its_filter_at_the_right_lags_and_in_one_direction() -> None:
    """The receiver's mean count behind a sender's spike, lag by lag, within five standard errors of the link's value."""
    filters = np.zeros((2, 2, 4))
    filters[1, 0] = [1.5, 0.0, -2.0, 0.8]  # 0 sends, 1 receives
    drive = -1.5
    simulation = simulate(network(filters, [-4.0, drive]), duration_s=600, seed=2)
    sender, receiver = simulation.counts.T.astype(float)
    lonely = np.flatnonzero(sender)
    # A sender's spike with no other within five bins, so that one filter acts alone.
    lonely = lonely[(np.diff(lonely, prepend=-9) > 5) & (np.diff(lonely, append=lonely[-1] + 9) > 5)]
    lonely = lonely[(sender[lonely] == 1) & (lonely < len(sender) - 6)]
    assert len(lonely) > 500
    for lag, effect in enumerate([0.0, *filters[1, 0], 0.0]):  # in its own bin and behind the window: nothing
        expected = np.logaddexp(0, drive + effect)
        found = receiver[lonely + lag].mean()
        assert abs(found - expected) < 5 * np.sqrt(expected / len(lonely)), f"{lag} bins behind"
    unmoved = np.logaddexp(0, drive)
    assert abs(receiver[lonely + 1].mean() - unmoved) > 5 * np.sqrt(unmoved / len(lonely))
    back = sender[np.flatnonzero(receiver[:-1]) + 1]
    assert abs(back.mean() - np.logaddexp(0, -4.0)) < 5 * np.sqrt(np.logaddexp(0, -4.0) / len(back))


def test_each_bin_is_drawn_from_the_whole_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected counts that the simulation draws from, against a sum over senders and lags."""
    rng = np.random.default_rng(3)
    filters = rng.normal(scale=0.5, size=(3, 3, 5))
    net = network(filters, [-1.0, -1.5, -0.5])
    drawn: list[np.ndarray] = []
    default = np.random.default_rng

    class Watched:
        def __init__(self, seed: object) -> None:
            self.rng = default(seed)

        def poisson(self, expected: np.ndarray) -> np.ndarray:
            drawn.append(expected.copy())
            return self.rng.poisson(expected)

    monkeypatch.setattr(np.random, "default_rng", Watched)
    counts = simulate(net, duration_s=0.6, seed=4).counts
    for t in range(len(counts)):
        drive = net.baseline.copy()
        for lag in range(min(t, 5)):
            drive += filters[:, :, lag] @ counts[t - 1 - lag]
        np.testing.assert_allclose(drawn[t], np.logaddexp(0, drive), rtol=1e-12)


def test_seeds_repeat_and_differ() -> None:
    settings = {"n_visible": 5, "n_drivers": 1}
    first, again, other = (random_network(**settings, seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.coupling_filters, again.coupling_filters)
    assert not np.array_equal(first.coupling_filters, other.coupling_filters)
    runs = [simulate(first, duration_s=5, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].counts, runs[1].counts)
    assert not np.array_equal(runs[0].counts, runs[2].counts)
    np.testing.assert_array_equal(runs[0].trains().spike_times_s, runs[1].trains().spike_times_s)


def test_trains_fall_back_into_the_bins_they_came_from() -> None:
    simulation = simulate(random_network(n_visible=4, n_drivers=2, seed=0, rate_hz=60), duration_s=20, seed=0)
    trains = simulation.trains(name="sim")
    binned = trains.bin(WIDTH_S)
    np.testing.assert_array_equal(binned.counts, simulation.counts[:, :4])
    np.testing.assert_array_equal(binned.counts, simulation.visible_counts.counts)
    assert binned.unit_ids == simulation.visible_counts.unit_ids == ("n00", "n01", "n02", "n03")
    np.testing.assert_array_equal(simulation.hidden_counts, simulation.counts[:, 4:])
    assert trains.intervals_s.tolist() == [[0.0, 20.0]]
    assert simulation.counts.max() > 1  # bins with several spikes were among them


def test_a_random_network_has_the_shares_and_shapes_that_were_asked_for() -> None:
    net = random_network(n_visible=60, n_drivers=4, seed=1, density=0.2, fan_out=0.5, strength=2.0, window_s=0.1)
    assert net.coupling_filters.shape == (64, 64, 10)
    assert (net.n_units, net.n_visible, net.n_hidden) == (64, 60, 4)
    between = net.connectivity[:60, :60][~np.eye(60, dtype=bool)]
    assert np.mean(between != 0) == pytest.approx(0.2, abs=0.03)
    assert np.mean(between[between != 0] > 0) == pytest.approx(0.5, abs=0.08)
    assert np.median(np.abs(between[between != 0])) == pytest.approx(2.0, rel=0.1)
    drivers = net.connectivity[:60, 60:]
    assert np.mean(drivers != 0) == pytest.approx(0.5, abs=0.12)
    assert (drivers >= 0).all()
    assert (net.connectivity[60:][:, :60] == 0).all()  # nobody drives a driver
    own = net.coupling_filters[np.arange(64), np.arange(64)]
    assert (own < 0).all()  # refractory
    assert (np.diff(own, axis=1) > 0).all()


@pytest.mark.parametrize("link", EXPECTED)
def test_uncoupled_rates_are_around_the_rate_that_was_asked_for(link: str) -> None:
    net = random_network(n_visible=400, n_drivers=3, seed=2, rate_hz=8.0, driver_rate_hz=3.0, link=link)
    expected = EXPECTED[link](net.baseline)
    rates = expected / net.bin_width_s
    assert np.median(rates[:400]) == pytest.approx(8.0, rel=0.1)
    np.testing.assert_allclose(rates[400:], 3.0)


def test_activity_that_runs_away_is_refused_with_the_moment_and_what_to_lower() -> None:
    filters = np.full((3, 3, 3), 0.9)
    with pytest.raises(
        UsageError, match=r"runs away after \d+\.\d\d s \(\d+ spikes expected in one bin of 0\.01 s"
    ) as e:
        simulate(network(filters, [0.0, 0.0, 0.0]), duration_s=60, seed=0)
    assert "lower the strength" in str(e.value.hint)
    simulate(network(-filters, [0.0, 0.0, 0.0]), duration_s=60, seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_visible": 0}, "at least one visible unit"),
        ({"n_drivers": -1}, "no fewer than 0 drivers"),
        ({"density": 1.5}, r"density is a share between 0 and 1, got 1\.5"),
        ({"fan_out": -0.1}, "fan_out is a share"),
        ({"rate_hz": 0.0}, "must be above 0"),
        ({"window_s": 0.001}, "at least one bin long"),
    ],
)
def test_networks_that_cannot_be_are_refused(change: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        random_network(**({"n_visible": 3, "n_drivers": 1, "seed": 0} | change))


def test_a_duration_shorter_than_a_bin_is_refused() -> None:
    with pytest.raises(UsageError, match=r"0\.004 s is shorter than one bin \(0\.01 s\)"):
        simulate(random_network(n_visible=2, n_drivers=0, seed=0), duration_s=0.004, seed=0)


def test_rates_that_the_bounded_link_cannot_express_are_refused() -> None:
    with pytest.raises(UsageError, match=r"spikes per bin; the sigmoid link ends at 5") as refusal:
        random_network(n_visible=3, n_drivers=0, seed=0, rate_hz=400.0, link="sigmoid")
    assert refusal.value.hint is not None
