"""Estimators compared at a fit: against what is known of each, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as Outcome

import spikefit
from spikefit.cli.main import cli
from spikefit.diagnostics.gradients import GradientCase, GradientComparison
from spikefit.errors import UsageError
from spikefit.pipeline import simulate_to_file
from spikefit.plots import plot_gradients


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short fit with one hidden unit, and its recording beside it."""
    folder = tmp_path_factory.mktemp("fitted")
    config = spikefit.Config().replace(neurons=4, drivers=1, duration="20s", bin="10ms", window="50ms", seed=3)
    simulate_to_file(folder / "a.nwb", config=config)
    spikefit.infer(folder / "a.nwb", folder / "r", bin="10ms", window="50ms", hidden=1, max_epochs=2, restarts=1)
    spikefit.infer(folder / "a.nwb", folder / "none", bin="10ms", window="50ms", hidden=0)
    return folder


def doctor(*words: object) -> Outcome:
    return CliRunner().invoke(cli, ["doctor", "gradients", *map(str, words)])


@pytest.mark.statistical
def test_what_is_known_of_the_estimators_comes_out(fitted: Path) -> None:
    """Unbiased ones lie within five standard errors of zero bias; a warm sigmoid's mean is off, and that is seen."""
    found = spikefit.compare_gradients(
        fitted / "r", estimators=["eat-sigmoid", "score", "exact"], temperatures=[1.0], n_gradients=100, most_bins=500
    )
    by_label = {case.label: case for case in found.cases}
    assert set(by_label) == {"eat-sigmoid, τ = 0.5", "eat-sigmoid, τ = 1", "score", "exact", *_cubic(0.5, 1)}
    assert found.used.label == "eat-cubic, τ = 0.5"
    assert found.reference_error < 0.1
    for name in ("score", "exact"):
        case = by_label[name]
        assert case.relative_bias < 5 * case.bias_error
    warm = by_label["eat-sigmoid, τ = 1"]
    assert warm.relative_bias > 5 * warm.bias_error
    assert by_label["exact"].relative_noise < by_label["score"].relative_noise
    assert by_label["exact"].mean_cosine > by_label["score"].mean_cosine


def _cubic(*levels: float) -> set[str]:
    return {f"eat-cubic, τ = {level:g}" for level in levels}


def test_the_command_gives_a_table_a_figure_and_the_same_as_json(fitted: Path) -> None:
    words = (fitted / "r", "--gradients", 10, "--bins", 500, "--temperature", 0.5)
    told = doctor(*words, "-o", fitted / "g.svg")
    assert told.exit_code == 0, told.output
    assert "this fit" in told.stdout
    assert "exact" in told.stdout
    assert (fitted / "g.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    found, again = (json.loads(doctor(*words, "--json").stdout) for _ in range(2))
    # What follows may hang on the time that a step took.
    assert found["advice"].split(" (cosine")[0] in told.stdout
    for one in (*found["cases"], *again["cases"], found["used"], again["used"]):
        one.pop("cost_s")
    assert {**found, "advice": ""} == {**again, "advice": ""}
    refused = doctor(*words, "-o", fitted / "g.svg")
    assert refused.exit_code == 2
    assert "is there already" in refused.stderr


def test_what_cannot_be_compared_is_refused(fitted: Path, tmp_path: Path) -> None:
    without = doctor(fitted / "none")
    assert without.exit_code == 2
    assert "was fitted without hidden units" in without.stderr
    other = tmp_path / "other.nwb"
    other.write_bytes((fitted / "a.nwb").read_bytes() + b"\0")
    with pytest.raises(UsageError, match="is not the file that a was fitted to"):
        spikefit.compare_gradients(fitted / "r", other)
    with pytest.raises(UsageError, match=r"gone\.nwb is not there"):
        spikefit.compare_gradients(fitted / "r", tmp_path / "gone.nwb")
    assert doctor(fitted / "r", "-o", "figure.bmp").exit_code == 2
    assert doctor(fitted / "r", "--temperature", "0").exit_code == 2


def test_a_recording_that_has_moved_can_be_named(fitted: Path, tmp_path: Path) -> None:
    there = fitted / "a.nwb"
    moved = tmp_path / "moved.nwb"
    there.rename(moved)
    try:
        lost = doctor(fitted / "r", "--gradients", 10)
        assert lost.exit_code == 2
        assert "is no longer at" in lost.stderr
        assert doctor(fitted / "r", moved, "--gradients", 10, "--bins", 200).exit_code == 0
    finally:
        moved.rename(there)


def case(name: str, temperature: float | None, bias: float, **more: float) -> GradientCase:
    fields = {
        "bias_error": 0.01,
        "relative_noise": 1.0,
        "cosine_of_mean": 0.999,
        "mean_cosine": 0.6,
        "cost_s": 0.01,
    } | more
    return GradientCase(name, temperature, 1, relative_bias=bias, **fields)


def comparison(*cases: GradientCase) -> GradientComparison:
    return GradientComparison("session", "categorical", 4000, 100, 0.01, cases, used=cases[0])


def test_the_advice_follows_the_figures() -> None:
    fine, biased = case("eat-cubic", 0.5, 0.04), case("eat-cubic", 1.0, 0.5)
    exact = case("exact", None, 0.0, cost_s=0.03, relative_noise=0.1)
    assert comparison(fine, exact).advice.startswith("Nothing to change: with eat-cubic, τ = 0.5")
    assert (
        "Fit again with --estimator exact: < 1 %, at 3.0 times the cost of a step." in comparison(biased, exact).advice
    )
    assert "--estimator eat-cubic --temperature 0.5: 4 %" in comparison(biased, fine).advice
    # Unbiased, but so noisy that in the same time it is no better.
    noisy = case("score", None, 0.0, relative_noise=4.0)
    assert "Nothing that was tried here is much better for the same time." in comparison(biased, noisy).advice
    astray = case("eat-cubic", 0.5, 0.04, cosine_of_mean=0.9)
    assert "Nothing that was tried here" in comparison(astray, biased).advice


def test_the_figure_draws_every_estimator_and_rings_the_one_used() -> None:
    figure = plot_gradients(
        comparison(case("eat-cubic", 0.5, 0.1), case("eat-cubic", 1.0, 0.2), case("exact", None, 0.0))
    )
    bias, *_ = figure.axes
    labels = [line.get_label() for line in bias.get_lines()]
    assert labels[:2] == ["eat-cubic", "exact"]
    assert list(bias.get_lines()[0].get_ydata()) == [0.1, 0.2]
    assert list(bias.get_lines()[2].get_ydata()) == [0.1]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_a_figure_of_no_known_kind_is_refused_before_the_work(tmp_path: Path) -> None:
    outcome = doctor(tmp_path / "no result", "-o", tmp_path / "look.txt")
    assert outcome.exit_code == 2
    assert "a figure is a file that ends in .png, .svg, .pdf" in outcome.output
