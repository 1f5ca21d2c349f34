"""Simpler methods beside a fit: the right direction, the right scores, and what cannot be done is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import spikefit
from spikefit import baselines
from spikefit.baselines import NO_TSPE, baseline_table, methods_of, ranking_scores, strongest
from spikefit.cli.main import cli
from spikefit.comparison.methods_page import ranks
from spikefit.config import Config
from spikefit.pipeline import simulate_to_file
from spikefit.spikes import Counts

SETTINGS = {"bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten simulated units, their truth, and a fit without hidden units."""
    place = tmp_path_factory.mktemp("baselines")
    config = Config().replace(neurons=10, drivers=1, duration="60s", rate_hz=12, strength=2.5, window="50ms", seed=4)
    simulate_to_file(place / "net.nwb", config=config)
    spikefit.infer(place / "net.nwb", place / "fit", figures="none", **SETTINGS)
    return place


@pytest.mark.slow
def test_every_method_knows_who_sends() -> None:
    """Unit 0 makes unit 1 fire two bins later, and nothing else is connected."""
    rng = np.random.default_rng(0)
    spikes = rng.random((20_000, 3)) < 0.05
    spikes[2:, 1] |= spikes[:-2, 0] & (rng.random(19_998) < 0.5)
    counts = Counts(
        np.asfortranarray(spikes.astype(np.uint8)), 0.01, np.array([0, 20_000]), np.zeros(1), ("a", "b", "c")
    )
    fit = spikefit.POGLM(**SETTINGS).fit(counts)
    methods, notes = methods_of(fit, counts, q=0.05)
    names = [method.name for method in methods]
    assert names[:2] == ["this fit", "correlogram"]
    assert ("TSPE" in names) != (NO_TSPE in notes)
    for method in methods:
        assert np.unravel_index(np.nanargmax(method.strength), (3, 3)) == (1, 0), method.name
        assert method.called[1, 0], method.name
        assert not method.called[0, 1] or method.name == "correlogram"


def test_ranking_scores_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    true = rng.random(200) < 0.2
    for size in (rng.normal(size=200) + true, np.round(rng.normal(size=200) + true)):
        auc, average = ranking_scores(size, true)
        assert auc == pytest.approx(metrics.roc_auc_score(true, size))
        assert average == pytest.approx(metrics.average_precision_score(true, size))


def test_the_strongest_are_never_zero_or_unknown() -> None:
    strength = np.array([[np.nan, 0.0], [-3.0, np.nan]])
    np.testing.assert_array_equal(strongest(strength, 3), [[False, False], [True, False]])


def test_a_table_with_the_truth(folder: Path) -> None:
    table = baseline_table(folder / "fit", truth=folder / "net.truth.h5")
    rows = {row.method: row for row in table.rows}
    own = rows["this fit"]
    assert own.called == own.also_in_fit == int((spikefit.load_result(folder / "fit").q_value <= 0.05).sum())
    assert own.rank_correlation == pytest.approx(1.0)
    assert own.auc > 0.8
    assert 0 <= rows["correlogram"].auc <= 1
    without = baseline_table(folder / "fit")
    assert np.isnan(without.rows[0].auc)
    assert [row.called for row in without.rows] == [row.called for row in table.rows]


def test_hidden_units_are_held_against_the_glm_without_them(folder: Path) -> None:
    fit = spikefit.infer(folder / "net.nwb", hidden=1, max_epochs=1, restarts=1, draws=1, **SETTINGS)
    rows = {row.method: row for row in baseline_table(fit).rows}
    assert rows["plain GLM"].called == rows["this fit"].called


def test_without_elephant_it_is_left_out_and_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    table = baseline_table(folder / "fit")
    assert table.notes == (NO_TSPE,)
    assert "TSPE" not in {row.method for row in table.rows}


def test_the_command_prints_the_table_and_json(folder: Path) -> None:
    words = ["compare", str(folder / "fit"), "--baselines", "--truth", str(folder / "net.truth.h5")]
    shown = CliRunner().invoke(cli, words)
    assert shown.exit_code == 0, shown.output
    assert "correlogram" in shown.output
    assert "AP" in shown.output
    told = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)
    assert told["baselines"][0]["method"] == "this fit"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--baselines", "--top", "5"], "--top does not go with it"),
        (["--truth", "net.truth.h5"], "--truth goes with --baselines"),
        (["--baselines", "--q", "2"], "--q must lie between 0 and 1"),
        (["--baselines", "--truth", "nope.h5"], "give the .truth.h5 file that was written beside the recording"),
    ],
)
def test_what_does_not_go_together_is_refused(folder: Path, words: list[str], said: str) -> None:
    found = CliRunner().invoke(cli, ["compare", str(folder / "fit"), *words])
    assert found.exit_code == 2
    assert said in found.output + str(found.exception)


def test_ranks_begin_with_the_largest_and_ties_share_the_first_place() -> None:
    strength = np.array([[np.nan, -3.0], [1.0, 3.0]])
    np.testing.assert_array_equal(ranks(strength), [[np.nan, 1.0], [3.0, 1.0]])


def test_the_page_of_one_result_shows_every_method_and_the_truth(folder: Path, tmp_path: Path) -> None:
    words = ["compare", str(folder / "fit"), "--baselines", "-o", str(tmp_path / "side")]
    shown = CliRunner().invoke(cli, [*words, "--truth", str(folder / "net.truth.h5")])
    assert shown.exit_code == 0, shown.output
    assert {path.name for path in (tmp_path / "side").iterdir()} == {
        "comparison.html",
        "comparison.json",
        "baselines.csv",
    }
    page = (tmp_path / "side" / "comparison.html").read_text()
    assert 'id="methods"' in page
    for words_on_page in ("correlogram", "average precision", "a true edge", "The true network is known"):
        assert words_on_page in page
    again = CliRunner().invoke(cli, words)
    assert again.exit_code == 2
    unknown = CliRunner().invoke(cli, [*words, "--overwrite"])
    assert unknown.exit_code == 0, unknown.output
    assert "a true edge" not in (tmp_path / "side" / "comparison.html").read_text()


def test_a_comparison_takes_the_methods_along(folder: Path, tmp_path: Path) -> None:
    spikefit.infer(folder / "net.nwb", tmp_path / "other", figures="none", **SETTINGS, ridge=50.0)
    words = ["compare", str(folder / "fit"), str(tmp_path / "other"), "--baselines", "-o", str(tmp_path / "side")]
    shown = CliRunner().invoke(cli, words)
    assert shown.exit_code == 0, shown.output
    assert "other beside simpler methods:" in shown.output
    page = (tmp_path / "side" / "comparison.html").read_text()
    assert page.count("<h3>fit</h3>") == page.count("<h3>other</h3>") == 1
    rows = (tmp_path / "side" / "baselines.csv").read_text().splitlines()
    assert {row.split(",")[0] for row in rows[1:]} == {"fit", "other"}
    told = json.loads(CliRunner().invoke(cli, [*words[:4], "--json"]).stdout)
    assert [table["name"] for table in told["baselines"]] == ["fit", "other"]
