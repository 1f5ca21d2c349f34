"""The stability of hidden units comes with every fit that had several starts, and stands in all its files."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import spikefit
from spikefit.alignment import Stability
from spikefit.diagnostics.stability import with_stability
from spikefit.exporters import export
from spikefit.report import report_html
from spikefit.report.stability import stability_sentence
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

SETTINGS = {"bin": "10ms", "window": "50ms", "functions": 2, "max_epochs": 1, "draws": 1, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def counts() -> Counts:
    """Six recorded units and a driver, 30 s."""
    network = random_network(n_visible=6, n_drivers=1, seed=3, window_s=0.05, rate_hz=12.0, driver_rate_hz=10.0)
    return simulate(network, duration_s=30, seed=3).visible_counts


@pytest.fixture(scope="module")
def fit(counts: Counts) -> spikefit.Fit:
    """One hidden unit from three starts."""
    return spikefit.POGLM(hidden=1, restarts=3, **SETTINGS).fit(counts)


def test_every_restart_is_compared(fit: spikefit.Fit) -> None:
    assert fit.diagnostics["hidden_likeness"].shape == (1, 2)
    assert fit.diagnostics["hidden_consensus_filters"].shape == (1, 6, fit.lag_s.size)
    (told,) = fit.metrics["hidden_stability"]
    assert told["unit"] == "hidden-0"
    assert told["fits_compared"] == 2
    assert told["stability"] == pytest.approx(fit.diagnostics["hidden_likeness"].clip(0, 1).mean())
    assert fit.metrics["n_unstable_hidden"] == told["unstable"]
    assert (stability_sentence(fit) or "").startswith(f"{1 - told['unstable']} of 1 hidden units is stable")


def test_one_start_says_that_nothing_is_known(counts: Counts) -> None:
    fit = spikefit.POGLM(hidden=1, restarts=1, **SETTINGS).fit(counts)
    assert "hidden_stability" not in fit.metrics
    assert "hidden_likeness" not in fit.diagnostics
    assert "is not known" in (stability_sentence(fit) or "")


def test_no_hidden_units_say_nothing(counts: Counts) -> None:
    assert stability_sentence(spikefit.POGLM(hidden=0, **SETTINGS).fit(counts)) is None


def test_unstable_units_are_flagged_in_every_output(fit: spikefit.Fit, tmp_path: Path) -> None:
    bare = dataclasses.replace(fit, diagnostics={}, metrics={}, warnings=())
    shape = (1, 6, fit.lag_s.size)
    poor = Stability(np.array([[0.1, 0.2, 0.9]]), np.zeros(shape), np.zeros(shape))
    flagged = with_stability(bare, poor)
    assert flagged.metrics["hidden_stability"] == [
        {
            "unit": "hidden-0",
            "stability": pytest.approx(0.4),
            "fits_agreeing": 1,
            "fits_compared": 3,
            "unstable": True,
        }
    ]
    assert any("hidden-0 (1 of 3 agree)" in text for text in flagged.warnings)
    flagged.save(tmp_path / "out", figures=False)
    again = spikefit.load_result(tmp_path / "out")
    np.testing.assert_array_equal(again.diagnostics["hidden_likeness"], poor.likeness)
    with (tmp_path / "out" / "units.csv").open(encoding="utf-8", newline="") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    assert rows["hidden-0"]["unstable"] == "true"
    assert rows[fit.unit_id[0]]["unstable"] == ""
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["n_unstable_hidden"] == 1
    export(again, tmp_path / "graph.graphml", to="graphml")
    assert 'attr.name="unstable"' in (tmp_path / "graph.graphml").read_text(encoding="utf-8")
    page = report_html(again)
    assert "0 of 1 hidden units is stable" in page
    # The twin: a unit that all fits found again is flagged nowhere.
    good = with_stability(bare, Stability(np.array([[0.8, 0.9, 0.9]]), np.zeros(shape), np.zeros(shape)))
    assert not good.warnings
    assert good.metrics["n_unstable_hidden"] == 0
    assert "1 of 1 hidden units is stable" in report_html(good)
