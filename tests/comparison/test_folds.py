"""Numbers of hidden units fold by fold: which fold's score belongs to which candidate, on the page, in the tables and in words."""

from __future__ import annotations

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import spikefit
from spikefit.cli.compare import command
from spikefit.comparison.folds import fold_table

BINS = np.array([400, 250, 350])
# Folds differ far more than candidates do; the order of the candidates is not that of their numbers.
NONE = np.array([-8.0, -6.5, -7.25])
GAIN = {2: np.array([0.01, 0.05, -0.02]), 0: np.zeros(3), 1: np.array([0.03, -0.01, 0.02])}
WHY = "1 of 0, 1, 2 hidden units: the fewest within one standard error of the best score in 3 folds"


def judged(gain=GAIN, bins=BINS):
    """Metrics of a fit that chose among numbers of hidden units in folds."""
    rows = [
        {
            "n_hidden": n_hidden,
            "cv_gain_nats_per_bin": float(values @ BINS / BINS.sum()),
            "cv_gain_nats_per_bin_se": 0.004 * n_hidden,
            "cv_fold_nats_per_bin": (NONE + gain[n_hidden]).tolist(),
        }
        for n_hidden, values in GAIN.items()
    ]
    return {
        "heldout_nats_per_bin": -8.0,
        "candidates": rows,
        "cross_validation": {"folds": 3, "blocks": 40, "bins": 1000, "fold_bins": [int(count) for count in bins]},
        "hidden_choice": WHY,
    }


def test_each_gain_is_of_its_own_fold_and_candidate(make_result):
    table = fold_table(make_result(n_hidden=1, metrics=judged()), "fit")
    assert [(row.n_hidden, row.chosen) for row in table.rows] == [(0, False), (1, True), (2, False)]
    for row in table.rows:
        np.testing.assert_allclose(row.fold_gain_nats_per_bin, GAIN[row.n_hidden], atol=1e-12)
        assert row.gain_nats_per_bin == pytest.approx(GAIN[row.n_hidden] @ BINS / 1000)
        assert row.gain_nats_per_bin_se == pytest.approx(0.004 * row.n_hidden)
    assert (table.fold_bins, table.blocks, table.notes) == ((400, 250, 350), 40, ())
    assert table.sentences() == [f"{WHY}."]


@pytest.mark.parametrize(
    "wrong",
    [
        judged(gain={0: GAIN[0], 1: GAIN[2], 2: GAIN[1]}),  # the folds of one candidate beside the other
        judged(gain={**GAIN, 1: np.roll(GAIN[1], 1)}),  # a candidate's folds in another order
        judged(bins=np.roll(BINS, 1)),  # the bins of another fold
    ],
)
def test_folds_beside_the_wrong_candidate_are_said_and_not_shown(make_result, wrong):
    table = fold_table(make_result(n_hidden=1, metrics=wrong), "fit")
    assert [row.fold_gain_nats_per_bin for row in table.rows] == [(), (), ()]
    assert table.fold_bins == ()
    (note,) = table.notes
    assert "do not add up to the mean gain" in note
    assert table.rows[1].gain_nats_per_bin == pytest.approx(GAIN[1] @ BINS / 1000)


def without(key):
    metrics = judged()
    return {**metrics, "candidates": [{k: v for k, v in row.items() if k != key} for row in metrics["candidates"]]}


@pytest.mark.parametrize(
    ("metrics", "n_rows", "words"),
    [
        ({}, 0, "no numbers of hidden units were compared"),
        ({"candidates": [{"n_hidden": 0}]}, 0, "no numbers of hidden units were compared"),
        ({"candidates": [{"n_hidden": 0}, {"n_hidden": 3}]}, 0, "0, 3 hidden units were compared on the held-out blocks"),
        (without("cv_fold_nats_per_bin"), 3, "does not hold the score of each fold"),
        (judged(bins=np.array([600, 400])), 3, "has not one for each of the 2 folds"),
        ({**judged(), "hidden_bar_nats_per_bin": 0.0123}, 3, "counts a gain only above .* 0.012 nats per bin"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_said(make_result, metrics, n_rows, words):
    table = fold_table(make_result(n_hidden=1, metrics=metrics), "fit")
    assert len(table.rows) == n_rows
    assert re.search(words, " ".join(table.sentences()))


def test_the_page_the_tables_and_the_terminal_hold_the_same_folds(make_result, tmp_path):
    first = make_result(n_hidden=1, metrics=judged()).save(tmp_path / "<cv>", figures=False)
    second = make_result(seed=1).save(tmp_path / "plain", figures=False)
    comparison = spikefit.compare(first, second)
    folder = comparison.save(tmp_path / "both")
    with (folder / "folds.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    found = {(int(row["n_hidden"]), int(row["fold"])): float(row["fold_gain_nats_per_bin"]) for row in rows}
    assert len(rows) == len(found) == 9
    for (n_hidden, fold), gain in found.items():
        assert gain == pytest.approx(GAIN[n_hidden][fold - 1], abs=1e-12)
    assert {row["result"] for row in rows} == {"<cv>"}
    assert {row["n_hidden"] for row in rows if row["chosen"] == "true"} == {"1"}
    assert [int(row["fold_bins"]) for row in rows[:3]] == BINS.tolist()
    numbers = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert numbers == comparison.to_dict()
    assert numbers["folds"][1]["rows"] == []
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    section = page[page.index('id="folds"') :]
    on_page = {float(text) for text in re.findall(r'<data value="([-+.\de]+)"', section)}
    assert {gain for row in numbers["folds"][0]["rows"] for gain in row["fold_gain_nats_per_bin"]} <= on_page
    assert {row["gain_nats_per_bin"] for row in numbers["folds"][0]["rows"]} <= on_page
    assert "<strong>plain</strong>: no folds" in section
    assert "&lt;cv&gt;" in section
    assert "<cv>" not in section
    told = CliRunner().invoke(command, [str(first), str(second)], catch_exceptions=False).output
    assert "0.0300, -0.0100, 0.0200" in told
    assert re.search(r"1 \*.*0\.0165 ± 0\.0040", told)
    assert WHY in " ".join(told.split())
    assert "plain: no folds" in told


def test_results_without_folds_leave_no_table_of_them(make_result, tmp_path):
    comparison = spikefit.compare(make_result(), make_result(seed=1))
    folder = comparison.save(tmp_path / "both")
    assert not (folder / "folds.csv").exists()
    assert all(not table.rows and "no folds" in table.notes[0] for table in comparison.folds)
    # The folds of one result say nothing of a result whose metrics are its own.
    chosen = dataclasses.replace(make_result(n_hidden=1), metrics=judged())
    assert [len(table.rows) for table in spikefit.compare(make_result(), chosen).folds] == [0, 3]
