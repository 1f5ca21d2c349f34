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


# -- two results ---------------------------------------------------------------------------------------------------

SAME = {"provenance": {"input": {"sha256": "a" * 64}}}
TIMES_S = [[[0.0, 2.5], [10.0, 11.5]], [[3.0, 5.5]], [[6.0, 9.5]]]
AHEAD = np.array([0.04, 0.01, 0.03])


def ahead(times=TIMES_S, by=AHEAD, **changes):
    """Metrics of a fit that is ahead of `judged` by so much in each fold, whatever its hidden units."""
    metrics = judged()
    rows = [
        {**row, "cv_fold_nats_per_bin": (np.array(row["cv_fold_nats_per_bin"]) + by).tolist()}
        for row in metrics["candidates"]
    ]
    cross = metrics["cross_validation"] | ({"fold_intervals_s": times} if times else {})
    return {**metrics, "candidates": rows, "cross_validation": cross, **changes}


def test_two_results_are_paired_over_the_same_folds(make_result, tmp_path):
    first = make_result(n_hidden=1, **SAME, metrics=ahead(by=np.zeros(3)))
    second = make_result(n_hidden=2, seed=1, **SAME, metrics=ahead())
    comparison = spikefit.compare(first, second)
    found = comparison.pairs[0].folds
    # The second kept two hidden units, the first one: each has its own candidate's score.
    expected = AHEAD + GAIN[2] - GAIN[1]
    np.testing.assert_allclose(found.fold_difference_nats_per_bin, expected, atol=1e-12)
    assert found.value == pytest.approx(expected @ BINS / 1000)
    left_out = [np.delete(expected, k) @ np.delete(BINS, k) / np.delete(BINS, k).sum() for k in range(3)]
    assert found.error == pytest.approx(np.sqrt(2 / 3 * np.square(left_out - np.mean(left_out)).sum()), rel=0.15)
    assert "3 folds of the same seconds, with 1 and 2 hidden units" in found.why
    back = spikefit.compare(second, first).pairs[0].folds
    np.testing.assert_allclose(back.fold_difference_nats_per_bin, -expected, atol=1e-12)
    folder = comparison.save(tmp_path / "both")
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert float(row["fold_difference_nats_per_bin"]) == found.value
    assert float(row["fold_difference_nats_per_bin_se"]) == found.error
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    on_page = {float(text) for text in re.findall(r'<data value="([-+.\de]+)"', page[page.index('id="folds"') :])}
    assert {found.value, found.error, *found.fold_difference_nats_per_bin} <= on_page
    kept = [result.save(tmp_path / str(k), figures=False) for k, result in enumerate((first, second))]
    told = CliRunner().invoke(command, [str(path) for path in kept], catch_exceptions=False).output
    assert f"folds: {found.value:+.4f} ± {found.error:.4f} nats per bin" in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrics": ahead(times=None)}, "does not record when its folds lie"),
        ({"metrics": ahead(times=[TIMES_S[1], TIMES_S[0], TIMES_S[2]])}, "set aside other stretches of time"),
        ({"metrics": ahead(times=[[[a + 0.01, b + 0.01] for a, b in fold] for fold in TIMES_S])}, "other stretches"),
        ({"metrics": ahead(), "bin_width_s": 0.02}, "the bin widths differ"),
        ({"metrics": without("cv_fold_nats_per_bin")}, "scores of the folds of a result are not known"),
        ({"metrics": ahead(), "n_hidden": 4}, "a number of hidden units that its folds judged"),
        ({"metrics": ahead(), "provenance": {"input": {"sha256": "b" * 64}}}, "different recordings"),
    ],
)
def test_other_folds_are_not_paired_and_the_reason_is_given(make_result, tmp_path, change, words):
    first = make_result(n_hidden=1, **SAME, metrics=ahead())
    second = make_result(**{"n_hidden": 1, "seed": 1, **SAME, **change})
    comparison = spikefit.compare(first, second)
    found = comparison.pairs[0].folds
    assert np.isnan(found.value)
    assert found.fold_difference_nats_per_bin == ()
    assert words in found.why
    assert words in (comparison.save(tmp_path / "both") / "comparison.html").read_text(encoding="utf-8")
    assert spikefit.compare(first, make_result(**SAME)).pairs[0].folds is None


def test_what_was_kept_stands_in_front_on_the_page(make_result, tmp_path):
    metrics = judged() | {"hidden_choice": "hidden units help"}
    folder = spikefit.compare(make_result(n_hidden=1, metrics=metrics), make_result(seed=1)).save(tmp_path / "both")
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    part = page[page.index('id="folds"') :]
    table = part[part.index("<table>") : part.index("</table>")]
    cells = [re.sub(r"<[^>]+>", "", row).strip() for row in re.findall(r"<tr><td[^>]*>(.*?)</td>", table)]
    assert cells == ["0", "1, kept", "2"]
    assert re.sub(r"<[^>]+>", "", table).count("±") == 2
    assert "Hidden units help." in part
