"""Results side by side: what is paired, what is matched, what is refused; the page and the tables hold the same numbers."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

import spikefit
from spikefit.comparison.hidden import match_hidden
from spikefit.comparison.pieces import same_time
from spikefit.comparison.ratios import ratio_and_error
from spikefit.comparison.scores import BLOCK_SERIES
from spikefit.errors import ResultError, UsageError
from spikefit.results import HiddenActivity

SAME = {"provenance": {"input": {"sha256": "a" * 64}}}


def blocks(nats, bins=None, start=None):
    nats = np.asarray(nats, dtype=float)
    bins = np.full(nats.size, 100.0) if bins is None else bins
    start = np.arange(nats.size) * 5.0 if start is None else start
    return dict(zip(BLOCK_SERIES, (start, bins, nats), strict=True))


# -- scores --------------------------------------------------------------------------------------------------------


def test_blocks_are_paired(make_result):
    rng = np.random.default_rng(3)
    shared = rng.normal(-800, 60, 20)  # blocks differ far more than models do
    gain = rng.normal(5, 1, 20)
    first = make_result(**SAME, history=blocks(shared), metrics={"heldout_nats_per_bin": -8.0})
    second = make_result(**SAME, history=blocks(shared + gain), metrics={"heldout_nats_per_bin": -7.95})
    (pair,) = spikefit.compare(first, second).pairs
    assert pair.scores.paired
    assert pair.scores.value == pytest.approx(gain.mean() / 100)
    # Blocks of one length: the error is that of a mean.
    assert pair.scores.error == pytest.approx(stats.sem(gain) / 100)
    assert pair.scores.unit == "nats per bin"


@pytest.mark.parametrize("bins", [np.full(12, 50.0), np.arange(40.0, 52.0)])
def test_the_error_of_a_ratio_is_that_of_the_jackknife(bins):
    nats = np.random.default_rng(1).normal(2, 0.4, 12) * bins
    value, error = ratio_and_error(nats, bins)
    left_out = np.array([np.delete(nats, k).sum() / np.delete(bins, k).sum() for k in range(12)])
    jackknife = math.sqrt(11 / 12 * np.square(left_out - left_out.mean()).sum())
    assert value == pytest.approx(nats.sum() / bins.sum())
    assert error == pytest.approx(jackknife, rel=0.05)
    assert error != pytest.approx(2 * jackknife, rel=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"history": {}}, "does not hold the score of each held-out block"),
        ({"history": blocks(np.zeros(5), start=np.arange(5) * 5.0 + 1)}, "the held-out blocks differ"),
        ({"history": blocks(np.zeros(4))}, "the held-out blocks differ"),
    ],
)
def test_what_cannot_be_paired_says_why_and_has_the_larger_error(make_result, change, words):
    metrics = {"heldout_nats_per_bin": -8.0, "heldout_nats_per_bin_se": 0.3}
    first = make_result(**SAME, history=blocks(np.zeros(5)), metrics=metrics)
    second = make_result(**SAME, metrics={"heldout_nats_per_bin": -7.5, "heldout_nats_per_bin_se": 0.4}, **change)
    (pair,) = spikefit.compare(first, second).pairs
    assert not pair.scores.paired
    assert words in pair.scores.why
    assert pair.scores.value == pytest.approx(0.5)
    assert pair.scores.error == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"provenance": {"input": {"sha256": "b" * 64}}}, "of different recordings"),
        ({"provenance": {}}, "does not say which recording"),
        ({**SAME, "config": {"recording": {"epochs": ["wake"]}}}, "different parts of the recording"),
        ({**SAME, "metrics": {}}, "holds no held-out score"),
        ({**SAME, "ids": ("g1", "g2", "g3", "g4", "g5", "other")}, "predict different units"),
    ],
)
def test_scores_that_mean_different_things_are_not_compared(make_result, change, words):
    metrics = {"metrics": {"heldout_nats_per_bin": -7.0}}
    comparison = spikefit.compare(make_result(**SAME), make_result(**(metrics | change)))
    assert math.isnan(comparison.pairs[0].scores.value)
    assert words in comparison.pairs[0].scores.why
    # The couplings of the units in common are compared all the same.
    assert comparison.pairs[0].couplings.n_pairs >= 20
    assert comparison.to_dict()["pairs"][0]["scores"]["value"] is None


def test_the_fit_without_hidden_units_is_known_to_the_one_with(make_result):
    with_hidden = make_result(
        **SAME,
        metrics={
            "heldout_nats_per_bin": -7.9,
            "h0_heldout_nats_per_bin": -8.0,
            "heldout_gain_nats_per_bin": 0.1,
            "heldout_gain_se": 0.01,
            "n_heldout_bins": 200,
        },
    )
    without = make_result(
        n_hidden=0, **SAME, metrics={"heldout_nats_per_bin": -8.0 + 1e-9, "n_heldout_bins": 200}, hidden=None
    )
    forth = spikefit.compare(without, with_hidden).pairs[0].scores
    back = spikefit.compare(with_hidden, without).pairs[0].scores
    assert forth.paired
    assert back.paired
    assert (forth.value, forth.error) == (0.1, 0.01)
    assert (back.value, back.error) == (-0.1, 0.01)
    other = dataclasses.replace(without, metrics={**without.metrics, "heldout_nats_per_bin": -8.001})
    assert not spikefit.compare(other, with_hidden).pairs[0].scores.paired


def test_other_bin_widths_are_compared_per_second(make_result):
    metrics = {"heldout_nats_per_bin": -8.0, "heldout_bits_per_spike": 0.5, "heldout_bits_per_spike_se": 0.02}
    fine = make_result(**SAME, metrics=metrics)
    wide = make_result(
        **SAME, bin_width_s=0.02, metrics={**metrics, "heldout_nats_per_bin": -15.0, "heldout_bits_per_spike": 0.4}
    )
    comparison = spikefit.compare(fine, wide)
    rate_hz = sum(1.5 + k for k in range(6))
    assert comparison.scores[0].gain_nats_per_s == pytest.approx(0.5 * math.log(2) * rate_hz)
    scores = comparison.pairs[0].scores
    assert scores.value == pytest.approx(-0.1 * math.log(2) * rate_hz)
    assert scores.unit == "nats per second over constant rates"
    assert not scores.paired
    assert any("bin widths differ" in note for note in comparison.pairs[0].notes)
    assert comparison.same_time is not None
    assert "does not hold its held-out scores by pieces of time" in comparison.same_time.sentence()


def pieces(start_s, nats, spikes=None):
    start_s = np.asarray(start_s, dtype=np.float64)
    return {
        "heldout_piece_start_s": start_s,
        "heldout_piece_spikes": np.ones(start_s.size) if spikes is None else np.asarray(spikes, dtype=np.float64),
        "heldout_piece_nats": np.asarray(nats, dtype=np.float64),
        "heldout_piece_constant_nats": np.full(start_s.size, -2.0),
    }


def test_pieces_of_time_are_paired_over_the_blocks_that_all_held_out(make_result, tmp_path):
    metrics = {"heldout_nats_per_bin": -8.0, "heldout_bits_per_spike": 0.5, "heldout_bits_per_spike_se": 0.02}
    rng = np.random.default_rng(2)
    start_s = np.concatenate([20.0 * k + np.array([0.0, 0.5, 1.0]) for k in range(8)])
    nats = rng.normal(-1.0, 1.0, start_s.size)
    gain = 0.1 + rng.normal(0, 0.01, start_s.size)
    # The second begins and ends a piece later, so two pieces of each block are common; its scores follow the first's.
    fine = make_result(**SAME, metrics=metrics, history=pieces(start_s, nats))
    wide = make_result(
        **SAME,
        bin_width_s=0.02,
        metrics=metrics,
        history=pieces(start_s + 0.5, np.append(nats[1:], -5.0) + np.append(gain[1:], 0)),
    )
    common = np.arange(start_s.size) % 3 > 0
    by_block = gain[common].reshape(8, 2).sum(axis=1)
    scores = spikefit.compare(fine, wide).pairs[0].scores
    assert scores.paired
    assert scores.unit == "nats per second"
    assert "8 blocks" in scores.why
    assert scores.value == pytest.approx(by_block.sum() / 8)
    assert scores.error == pytest.approx(by_block.std(ddof=1) * np.sqrt(8) / 8)
    # The twin: taken as independent the same difference would be lost in the scatter of the scores.
    assert scores.error < 0.1 * np.hypot(
        *[ratio_and_error(r.history["heldout_piece_nats"], np.full(start_s.size, 0.5))[1] for r in (fine, wide)]
    )
    together = spikefit.compare(fine, wide).same_time
    assert [row.within_one_error for row in together.rows] == [False, True]
    assert together.seconds == 8.0
    with (spikefit.compare(fine, wide).save(tmp_path / "both") / "time.csv").open(
        encoding="utf-8", newline=""
    ) as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["behind_nats_per_s"]) for row in rows] == [row.behind_nats_per_s for row in together.rows]


def test_the_fewest_weights_within_one_error_are_taken(make_result):
    rng = np.random.default_rng(3)
    start_s = 20.0 * np.arange(12)
    nats, small = rng.normal(-1.0, 1.0, 12), {"weights": np.ones(3)}
    best = make_result(
        **SAME, history=pieces(start_s, nats + rng.normal(0.01, 0.2, 12)), parameters={"weights": np.ones(30)}
    )
    near = make_result(**SAME, history=pieces(start_s, nats), parameters=small)
    far = make_result(**SAME, history=pieces(start_s, nats - 5), parameters={"weights": np.ones(1)})
    found = same_time([best, near, far], ["best", "near", "far"])
    assert [row.chosen for row in found.rows] == [False, True, False]
    assert "near has the fewest weights" in found.sentence()
    assert same_time([best, near], ["a", "b"]).rows[1].n_weights == 3


def test_pieces_that_hold_other_spikes_or_too_few_blocks_are_not_paired(make_result):
    start_s = 20.0 * np.arange(12)
    one = make_result(**SAME, history=pieces(start_s, np.zeros(12)))
    other = make_result(**SAME, history=pieces(start_s, np.zeros(12), spikes=np.arange(12)))
    assert "do not hold the same spikes" in same_time([one, other], ["a", "b"]).why
    few = make_result(**SAME, history=pieces(start_s[:3], np.zeros(3)))
    assert "only 3 blocks" in same_time([one, few], ["a", "b"]).why


# -- couplings -----------------------------------------------------------------------------------------------------


def test_weights_are_matched_by_id_whatever_their_order(make_result):
    ids = ("a", "b", "c", "d", "e", "f")
    first = make_result(ids=ids)
    order = [3, 1, 5, 0, 4, 2]
    turned = [*order, 6, 7]
    second = dataclasses.replace(
        first,
        unit_id=tuple(ids[k] for k in order) + first.unit_id[6:],
        connectivity=first.connectivity[np.ix_(turned, turned)],
        coupling_filters=first.coupling_filters[np.ix_(turned, turned)],
    )
    comparison = spikefit.compare(first, second)
    couplings = comparison.pairs[0].couplings
    np.testing.assert_array_equal(comparison.common.weight[0], comparison.common.weight[1])
    assert couplings.correlation == pytest.approx(1)
    assert couplings.n_first == couplings.n_second == couplings.n_common == couplings.n_same_sign == 3
    named = {
        (pre, post): w
        for pre, post, w in zip(comparison.common.pre, comparison.common.post, comparison.common.weight[0], strict=True)
    }
    assert named["a", "c"] == first.connectivity[first.index_of("c"), first.index_of("a")]


def test_correlations_are_scipys(make_result):
    comparison = spikefit.compare(make_result(seed=1), make_result(seed=2))
    found, (a, b) = comparison.pairs[0].couplings, comparison.common.weight
    assert found.correlation == pytest.approx(stats.pearsonr(a, b).statistic)
    assert found.rank_correlation == pytest.approx(stats.spearmanr(a, b).statistic)
    a, b = np.round(a, 1), np.round(b, 1)  # with ties
    pairs = dataclasses.replace(comparison.common, weight=np.array([a, b]))
    from spikefit.comparison.couplings import agreement

    assert agreement(pairs, 0, 1, q=0.05, top=5).rank_correlation == pytest.approx(stats.spearmanr(a, b).statistic)


def test_edges_are_chosen_by_q_where_both_have_it(make_result):
    q = np.full((8, 8), 0.9)
    q[0, 1] = q[2, 3] = 0.01
    other = np.full((8, 8), 0.9)
    other[2, 3] = other[4, 5] = other[1, 0] = 0.04
    first, second = make_result(q_value=q), make_result(q_value=other)
    found = spikefit.compare(first, second).pairs[0].couplings
    assert (found.chosen_by, found.level, found.n_first, found.n_second, found.n_common) == ("q", 0.05, 2, 3, 1)
    assert found.n_expected == pytest.approx(2 * 3 / 30)
    stricter = spikefit.compare(first, second, q=0.02).pairs[0].couplings
    assert (stricter.n_first, stricter.n_second, stricter.n_common) == (2, 0, 0)
    by_size = spikefit.compare(first, second, top=4).pairs[0].couplings
    assert (by_size.chosen_by, by_size.n_common) == ("weight", 4)
    assert spikefit.compare(first, make_result()).pairs[0].couplings.chosen_by == "weight"


# -- hidden units --------------------------------------------------------------------------------------------------


def swapped(result, order):
    """The result with its hidden units in another order."""
    n = result.n_visible
    places = [*range(n), *(n + k for k in order)]
    block = np.ix_(places, places)
    return dataclasses.replace(
        result,
        connectivity=result.connectivity[block],
        coupling_filters=result.coupling_filters[block],
        hidden=HiddenActivity(result.hidden.time_s, result.hidden.expected_count[:, order]),
    )


def test_hidden_units_find_themselves_again(make_result):
    first = make_result(n_hidden=4, **SAME)
    second = swapped(first, [2, 0, 3, 1])
    (pair,) = spikefit.compare(first, second).pairs
    assert {(m.first, m.second) for m in pair.hidden} == {
        ("hidden-0", "hidden-1"),
        ("hidden-1", "hidden-3"),
        ("hidden-2", "hidden-0"),
        ("hidden-3", "hidden-2"),
    }
    for match in pair.hidden:
        assert match.activity_correlation == pytest.approx(1)
        assert match.filter_correlation == pytest.approx(1)


def test_the_assignment_is_the_best_of_all(make_result):
    import itertools

    first, second = make_result(n_hidden=3, seed=5, **SAME), make_result(n_hidden=3, seed=6, **SAME)
    ids = first.unit_id[:6]
    found = match_hidden(first, second, ids, same_recording=True)
    total = sum(match.likeness for match in found)
    totals = []
    for order in itertools.permutations(range(3)):
        likeness = 0.0
        for k, other in enumerate(order):
            a = np.corrcoef(first.hidden.expected_count[:, k], second.hidden.expected_count[:, other])[0, 1]
            f = np.corrcoef(first.coupling_filters[:6, 6 + k].ravel(), second.coupling_filters[:6, 6 + other].ravel())[
                0, 1
            ]
            likeness += (a + f) / 2
        totals.append(likeness)
    assert total == pytest.approx(max(totals))
    assert total > np.mean(totals) + 1e-6


def test_units_left_over_are_named_and_other_recordings_lend_no_activity(make_result):
    first, second = make_result(n_hidden=1), make_result(n_hidden=3, seed=1)
    found = match_hidden(first, second, first.unit_id[:6], same_recording=False)
    assert len(found) == 3
    assert found[0].first == "hidden-0"
    assert math.isnan(found[0].activity_correlation)
    assert math.isfinite(found[0].filter_correlation)
    assert all(match.first is None for match in found[1:])
    assert match_hidden(make_result(n_hidden=0), second, first.unit_id[:6], same_recording=False) == []


def test_activity_on_other_bins_meets_on_the_wider_ones(make_result):
    fine = make_result(n_hidden=1, **SAME)
    counts = fine.hidden.expected_count.reshape(200, 2, 1).sum(axis=1)
    wide = dataclasses.replace(
        fine, bin_width_s=0.02, lag_s=fine.lag_s * 2, hidden=HiddenActivity(fine.hidden.time_s[::2], counts)
    )
    (match,) = match_hidden(fine, wide, fine.unit_id[:6], same_recording=True)
    assert match.activity_correlation == pytest.approx(1)


# -- refusals ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_compared(make_result, tmp_path):
    one = make_result()
    with pytest.raises(UsageError, match="at least two results, got 1"):
        spikefit.compare(one)
    with pytest.raises(UsageError, match="named twice"):
        spikefit.compare(one, one)
    folder = one.save(tmp_path / "res", figures=False)
    with pytest.raises(UsageError, match="named twice"):
        spikefit.compare(folder, folder / "connectivity.h5")
    strangers = make_result(ids=("a", "b", "c", "d", "e", "f"))
    with pytest.raises(UsageError, match=r"units are matched by id.*g1, g2, g3.*a, b, c") as caught:
        spikefit.compare(one, strangers)
    assert "sessions in which the same neuron" in caught.value.hint
    with pytest.raises(ResultError, match="no such file"):
        spikefit.compare(one, tmp_path / "nowhere")
    for wrong in ({"q": 0.0}, {"top": 0}):
        with pytest.raises(UsageError):
            spikefit.compare(one, make_result(seed=1), **wrong)


# -- files ---------------------------------------------------------------------------------------------------------


def test_the_page_and_the_tables_hold_the_same_numbers(make_result, tmp_path):
    first = make_result(ids=("a,b", "ü", "<3>", "d", "e", "f"), **SAME).save(tmp_path / "one", figures=False)
    second = make_result(ids=("a,b", "ü", "<3>", "d", "e", "f"), seed=1, **SAME).save(tmp_path / "two", figures=False)
    comparison = spikefit.compare(first, second)
    folder = comparison.save(tmp_path / "both")
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.html",
        "comparison.json",
        "couplings.csv",
        "hidden.csv",
        "pairs.csv",
        "scores.csv",
    ]
    numbers = json.loads((folder / "comparison.json").read_text())
    assert numbers == comparison.to_dict()
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    on_page = {float(text) for text in re.findall(r'<data value="([-+.\de]+)"', page)}
    for key in ("correlation", "rank_correlation", "n_common", "n_first", "n_expected", "n_same_sign"):
        assert numbers["pairs"][0]["couplings"][key] in on_page, key
    for match in numbers["pairs"][0]["hidden"]:
        assert match["activity_correlation"] in on_page
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    with (folder / "couplings.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 30
    assert {row["pre_id"] for row in rows} == {"a,b", "ü", "<3>", "d", "e", "f"}
    np.testing.assert_array_equal([float(row["weight two"]) for row in rows], comparison.common.weight[1])
    with pytest.raises(UsageError, match="left as it is"):
        comparison.save(folder)
    comparison.save(folder, overwrite=True)
    with pytest.raises(UsageError, match="holds a result"):
        comparison.save(first, overwrite=True)


def test_a_comparison_that_cannot_be_written_leaves_nothing(make_result, tmp_path, monkeypatch):
    comparison = spikefit.compare(make_result(), make_result(seed=1))
    folder = comparison.save(tmp_path / "both")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(
        "spikefit.comparison.saving.write_table",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(spikefit.SpikefitError, match="disk is full"):
        comparison.save(folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["both"]


def test_it_shows_itself_in_a_notebook(make_result):
    comparison = spikefit.compare(make_result(), make_result(seed=1))
    assert "<table>" in comparison._repr_html_()
    assert repr(comparison) == "Comparison(session (1), session (2): 6 recorded units in common)"
