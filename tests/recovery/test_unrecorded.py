"""Unrecorded neurons: what is simulated and fitted, the networks against the rates of the fit, and what is found with hidden units and without."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

import spikefit
from spikefit.cli.main import cli
from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.recovery import plan_recovery, recover
from spikefit.recovery.hidden import BY_Q, BY_Q_WITHOUT, BY_SIZE, AgainstHidden, HiddenRun, called_by
from spikefit.recovery.jobs import WITH, WITHOUT, config_of, jobs_of
from spikefit.recovery.matched import edge_strength, matched_network, unrecorded_like
from spikefit.recovery.rates import at_rates
from spikefit.recovery.scores import RecoveryScore
from spikefit.recovery.truth import edges_of, mean_counts
from spikefit.simulate import LINK_INVERSES, random_network, simulate

SETTINGS = {"bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "threads": 1, "restarts": 1}


@pytest.fixture(scope="module")
def fit():
    """Twelve units with strong edges, 200 s."""
    network = random_network(n_visible=12, n_drivers=0, seed=6, window_s=0.05, rate_hz=12.0, strength=3.0)
    return spikefit.POGLM(**SETTINGS).fit(simulate(network, duration_s=200, seed=6).visible_counts)


@pytest.fixture(scope="module")
def edges(fit):
    return edges_of(fit, 0.05)[0]


def score(**counted) -> RecoveryScore:
    """A score of which only what was counted matters."""
    names = [item.name for item in dataclasses.fields(RecoveryScore)]
    plain = dict.fromkeys(names, math.nan) | {"network": "random", "length": 1.0, "seed": 0}
    return RecoveryScore(**plain | dict.fromkeys([name for name in names if name.startswith("n_")], 0) | counted)


# -- what is simulated and fitted ----------------------------------------------------------------------------------


def test_every_simulation_is_made_once_and_stands_in_all_tables_that_want_it():
    def keys(config, n_own, hidden):
        jobs = jobs_of(config, n_own=n_own, lengths=(0.5, 1.0), seeds=(4,), hidden=hidden, at=1.0)
        assert len({(j.network, j.length, j.seed, j.n_hidden) for j in jobs}) == len(jobs)
        return [(j.network, j.length, j.n_hidden, j.ways, j.against_length, j.against_hidden) for j in jobs]

    assert keys(Config(), 0, (0, 2)) == [
        ("fit", 0.5, 0, (WITHOUT,), True, False),
        ("fit", 1.0, 0, (WITHOUT,), True, False),
        ("random", 0.5, 0, (WITHOUT,), True, False),
        ("random", 1.0, 0, (WITHOUT,), True, True),
        ("random", 1.0, 2, (WITHOUT, WITH), False, True),
    ]
    assert keys(Config().replace(hidden=2), 2, (0, 2)) == [
        ("fit", 0.5, 2, (WITH,), True, False),
        ("fit", 1.0, 2, (WITHOUT, WITH), True, True),
        ("random", 0.5, 2, (WITH,), True, False),
        ("random", 1.0, 2, (WITHOUT, WITH), True, True),
        ("random", 1.0, 0, (WITHOUT, WITH), False, True),
    ]
    assert not any(against_hidden for *_, against_hidden in keys(Config(), 0, ()))


def test_fits_have_the_settings_of_the_result_where_it_has_hidden_units_and_otherwise_know_how_many_there_are():
    plain, own = Config().replace(ridge=3.0), Config().replace(hidden="auto", ridge=3.0)
    assert config_of(plain, WITHOUT, 4) is plain
    assert config_of(plain, WITH, 4) == plain.replace(hidden=4)
    assert config_of(own, WITH, 4) is own
    assert config_of(own, WITHOUT, 4) == own.replace(hidden=0)
    # What goes without hidden units alone does not stop the fit with them.
    assert config_of(Config().replace(significance="jitter"), WITH, 2).fit.significance == "null"
    assert config_of(Config().replace(long_lags="on"), WITH, 2).fit.long_lags == "off"


def test_what_would_take_too_long_is_left_out_and_said_unless_it_was_asked_for(fit, monkeypatch):
    every = plan_recovery(fit, seeds=1)
    assert every.hidden == (0, 1, 3)  # five would need fifteen recorded units
    assert every.left_out == ()
    assert (every.n_simulations, every.n_fits, every.n_fits_with_hidden) == (8, 10, 2)
    monkeypatch.setattr("spikefit.recovery.plan.MOST_TIME_S", 0.0)
    short = plan_recovery(fit, seeds=1)
    assert (short.hidden, short.left_out) == ((0,), (1, 3))
    assert short.time_s + short.left_out_time_s == pytest.approx(every.time_s)
    assert any("--hidden 0,1,3 simulates them all the same" in line for line in short.lines())
    assert plan_recovery(fit, seeds=1, hidden=[3, 1]).hidden == (1, 3)
    with pytest.raises(UsageError, match="0 to 12 unrecorded neurons"):
        plan_recovery(fit, hidden=[0, 13])


def test_longer_recordings_and_more_hidden_units_are_said_to_take_longer(fit):
    times = [plan_recovery(fit, lengths=(1.0,), hidden=numbers).time_s for numbers in ((), (0,), (1,), (1, 3))]
    assert times[0] == times[1] < times[2] < times[3]
    assert plan_recovery(fit, lengths=(2.0,), hidden=()).time_s > 1.5 * times[0]


# -- networks ------------------------------------------------------------------------------------------------------


def test_the_recorded_part_does_not_depend_on_who_is_unrecorded(fit, edges):
    networks = {k: matched_network(fit, edges, seed=2, n_unrecorded=k) for k in (0, 1, 3)}
    for k, truth in networks.items():
        assert truth.network.n_hidden == k
        np.testing.assert_array_equal(truth.edges, networks[0].edges)
        np.testing.assert_array_equal(
            truth.network.coupling_filters[:12, :12], networks[0].network.coupling_filters[:12, :12]
        )
        assert not truth.network.coupling_filters[12:, :12].any()  # nobody drives them
    first = [networks[k].network.coupling_filters[:12, 12] for k in (1, 3)]
    np.testing.assert_array_equal(*first)
    assert (networks[3].network.coupling_filters[:12, 13] != first[0]).any()


def test_unrecorded_neurons_are_as_they_are_said_to_be(fit, edges):
    said = unrecorded_like(fit, edges)
    assert said.strength == pytest.approx(2.5 * edge_strength(fit, edges))
    assert "each excites 50% of the recorded ones" in str(said)
    reach = np.concatenate(
        [matched_network(fit, edges, seed=k, n_unrecorded=4).network.connectivity[:12, 12:].ravel() for k in range(10)]
    )
    assert (reach >= 0).all()
    assert abs((reach > 0).mean() - 0.5) < 5 * 0.5 / math.sqrt(reach.size)  # binomial; false alarms one in two million
    assert np.median(reach[reach > 0]) == pytest.approx(said.strength, rel=0.15)


@pytest.mark.statistical
@pytest.mark.parametrize("n_unrecorded", [0, 4])
def test_random_networks_fire_at_the_rates_of_the_fit(fit, edges, n_unrecorded):
    """Within a twentieth, all recorded units together; their own noise is 1 % in 200 s, that of the baselines about as much.

    The twin: baselines that take away the mean of what comes in, and no more.
    """
    counts = mean_counts(fit)
    network = matched_network(fit, edges, seed=3, n_unrecorded=n_unrecorded).network

    def off(baseline):
        run = simulate(dataclasses.replace(network, baseline=baseline), duration_s=200, seed=4)
        return run.counts[:, :12].mean() / counts.mean() - 1

    assert abs(off(network.baseline)) < 0.05
    rates = np.append(counts, simulate(network, duration_s=200, seed=4).counts[:, 12:].mean(axis=0))
    assert off(LINK_INVERSES["softplus"](rates) - network.connectivity @ rates) > 0.05


def test_baselines_of_units_that_nobody_drives_are_known():
    network = random_network(n_visible=4, n_drivers=0, seed=0)
    alone = dataclasses.replace(network, coupling_filters=np.zeros_like(network.coupling_filters))
    wanted = np.array([0.01, 0.1, 0.5, 2.0])
    np.testing.assert_allclose(at_rates(alone, wanted, seed=0).baseline, LINK_INVERSES["softplus"](wanted), atol=1e-5)


# -- what is told --------------------------------------------------------------------------------------------------


def test_the_sentence_is_hand_counts_over_all_simulations():
    runs = []
    for seed, (without, with_, found) in enumerate([((20, 14, 16), (18, 17, 16), 2), ((20, 16, 20), (20, 19, 20), 1)]):
        for way, (n_called, n_right, n_true), n_found in ((WITHOUT, without, 0), (WITH, with_, found)):
            counted = {"seed": seed, "n_called": n_called, "n_right": n_right, "n_true": n_true}
            runs.append(HiddenRun(way, BY_Q, score(**counted, n_hidden_true=3, n_hidden_found=n_found)))
    runs.append(HiddenRun(WITHOUT, BY_Q, score(n_called=5, n_right=1, n_true=9, n_hidden_true=1)))
    told = AgainstHidden(tuple(runs)).sentence()
    assert told == (
        "With 3 neurons unrecorded, 10 of 40 calls were false without hidden units and 2 of 38 with them; of 36 edges 30 and 36 were found, "
        "and 3 of the 6 unrecorded neurons (2 simulations together)."
    )
    first = [run for run in runs if run.score.n_hidden_true == 1]
    assert AgainstHidden(tuple(first)).sentence() == (
        "With 1 neuron unrecorded, 4 of 5 calls were false without hidden units; 1 of 9 edges were found."
    )
    by_size = [dataclasses.replace(run, called_by=BY_SIZE) if run.fitted == WITH else run for run in runs]
    assert "no q-values of their own here" in AgainstHidden(tuple(by_size)).sentence()
    assert "2 of 5 fits" in AgainstHidden(tuple(by_size)).notes()[0]


def test_means_are_over_simulations_and_rows_go_up_with_the_unrecorded():
    def run(way, k, seed, recall):
        return HiddenRun(way, BY_Q, score(seed=seed, n_hidden_true=k, recall=recall))

    runs = (run(WITH, 3, 0, 0.5), run(WITHOUT, 3, 0, 0.2), run(WITHOUT, 0, 0, 1.0), run(WITHOUT, 3, 1, 0.4))
    rows = AgainstHidden(runs).means()
    assert [(row["n_hidden_true"], row["fitted"], row["n_seeds"]) for row in rows] == [
        (0, WITHOUT, 1),
        (3, WITHOUT, 2),
        (3, WITH, 1),
    ]
    assert [row["recall"] for row in rows] == [1.0, pytest.approx(0.3), 0.5]


def test_calls_that_are_not_at_q_are_told_apart(fit):
    assert called_by(fit) == BY_Q
    bare = dataclasses.replace(fit, q_value=np.full((12, 12), np.nan))
    assert called_by(bare) == BY_SIZE
    lent = dataclasses.replace(fit, metrics=fit.metrics | {"tested_on": "fit without hidden units"})
    assert called_by(lent) == BY_Q_WITHOUT


# -- all of it -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recovery(fit):
    return recover(fit, lengths=[1.0], seeds=1, hidden=[0, 2])


@pytest.mark.statistical
def test_unrecorded_neurons_are_found_with_hidden_units_and_only_where_they_do_something(recovery, fit, monkeypatch):
    """The twin: unrecorded neurons that reach nobody leave nothing to be found."""
    found = {(run.score.n_hidden_true, run.fitted): run.score for run in recovery.hidden.runs}
    assert sorted(found) == [(0, WITHOUT), (2, WITH), (2, WITHOUT)]
    assert (found[2, WITHOUT].n_hidden_fitted, found[2, WITHOUT].n_hidden_found) == (0, 0)
    assert (found[2, WITH].n_hidden_fitted, found[2, WITH].n_hidden_found) == (2, 2)
    assert found[2, WITH].average_precision > found[2, WITHOUT].average_precision - 0.05
    monkeypatch.setattr("spikefit.recovery.matched.FAN_OUT", 0.0)
    blind = recover(fit, lengths=[1.0], seeds=1, hidden=[2])
    with_hidden = [run.score for run in blind.hidden.runs if run.fitted == WITH]
    assert [score.n_hidden_found for score in with_hidden] == [0]


def test_nobody_unrecorded_is_the_random_network_of_the_other_table(recovery):
    by_length = next(score for score in recovery.scores if score.network == "random")
    by_hidden = next(run.score for run in recovery.hidden.runs if run.score.n_hidden_true == 0)
    assert by_hidden is by_length


def test_files_hold_what_was_found(recovery, tmp_path):
    folder = recovery.save(tmp_path / "out")
    told = json.loads((folder / "recover.json").read_text())["hidden"]
    with (folder / "hidden.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["n_hidden_true"], row["fitted"]) for row in rows] == [("0", WITHOUT), ("2", WITHOUT), ("2", WITH)]
    assert [int(row["n_called"]) for row in rows] == [run.score.n_called for run in recovery.hidden.runs]
    assert [run["n_called"] for run in told["runs"]] == [run.score.n_called for run in recovery.hidden.runs]
    page = (folder / "recover.html").read_text()
    assert told["sentence"] == recovery.hidden.sentence()
    assert told["sentence"] in page
    assert "Against the number of unrecorded neurons" in page
    assert recovery.hidden.unrecorded in page
    without = dataclasses.replace(recovery, hidden=AgainstHidden()).save(tmp_path / "other")
    assert not (without / "hidden.csv").exists()
    assert "unrecorded neurons" not in (without / "recover.html").read_text()


def test_the_command_tells_what_it_will_do_and_refuses_what_is_no_number(fit, tmp_path):
    folder = fit.save(tmp_path / "fit", figures=False)

    def call(*words):
        return CliRunner().invoke(cli, ["recover", str(folder), "--length", "0.2", "--seeds", "1", *words])

    plan = call("--hidden", "0,1", "--dry-run", "-o", str(tmp_path / "out"))
    assert plan.exit_code == 0
    assert "unrecorded   0, 1" in plan.stdout
    assert "3, and 4 fits, 1 of them with hidden units" in plan.stdout
    assert not (tmp_path / "out").exists()
    assert json.loads(call("--dry-run", "--json").stdout)["hidden"] == [0, 1, 3]
    done = call("--hidden", "1")
    assert done.exit_code == 0, done.output
    assert "With 1 neuron unrecorded, " in done.stdout
    assert "3, and 4 fits, 1 of them with hidden units" in done.stderr
    for bad in ("auto", "1.5", "0,,2", ""):
        refused = call("--hidden", bad)
        assert refused.exit_code == 2
        assert "--hidden: expected whole numbers of unrecorded neurons" in refused.stderr
