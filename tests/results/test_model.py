"""What a `Result` refuses, completes and answers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from spikefit.errors import UsageError
from spikefit.results import EDGE_COLUMNS, HiddenActivity, Result, UnitRow


def test_visible_units_come_first_and_slices_find_both(make_result):
    result = make_result(4, 3)
    assert (result.n_units, result.n_visible, result.n_hidden) == (7, 4, 3)
    assert result.unit_id[result.visible] == ("g1", "g2", "g3", "g4")
    assert result.unit_id[result.hidden_units] == ("hidden-0", "hidden-1", "hidden-2")


def test_filter_of_takes_receiver_then_sender(make_result):
    result = make_result()
    np.testing.assert_array_equal(result.filter_of("g2", "g5"), result.coupling_filters[1, 4])
    assert not np.array_equal(result.filter_of("g5", "g2"), result.coupling_filters[1, 4])
    with pytest.raises(UsageError, match="no unit 'g22'") as caught:
        result.filter_of("g22", "g1")
    assert "did you mean" in str(caught.value.hint)


def test_statistics_that_are_not_given_are_nan(make_result):
    result = make_result(std_error=None, p_value=None)
    assert np.isnan(result.std_error).all()
    assert result.q_value.shape == (8, 8)
    assert np.isnan(result.q_value).all()


def test_every_ordered_pair_has_one_edge_with_its_own_numbers(make_result):
    result = make_result(3, 1)
    edges = result.edges()
    assert edges.dtype.names == EDGE_COLUMNS
    assert len(edges) == 4 * 3
    assert len({(edge["pre_id"], edge["post_id"]) for edge in edges}) == 12
    for edge in edges:
        post, pre = result.index_of(edge["post_id"]), result.index_of(edge["pre_id"])
        assert post != pre
        assert edge["weight"] == result.connectivity[post, pre]
        assert edge["ci_low"] == result.ci_low[post, pre]
        assert edge["peak_lag_s"] == result.lag_s[np.argmax(np.abs(result.coupling_filters[post, pre]))]
        assert edge["n_pre_spikes"] == result.unit_rows[pre].n_spikes
        assert edge["n_post_spikes"] == result.unit_rows[post].n_spikes
        assert (edge["pre_kind"], edge["post_kind"]) == (result.unit_kind[pre], result.unit_kind[post])
    assert list(edges["pre_id"][:3]) == ["g1"] * 3  # sender after sender


def test_a_filter_of_zeros_or_nan_has_no_peak(make_result):
    filters = make_result(2, 0).coupling_filters.copy()
    filters[0, 1] = 0
    filters[1, 0, 3] = np.nan
    assert np.isnan(make_result(2, 0, coupling_filters=filters).edges()["peak_lag_s"]).all()


def test_hidden_rows_are_made_from_expected_spikes(make_result):
    activity = HiddenActivity(np.arange(4) * 0.01, np.array([[0.5, 0], [0.25, 0], [1.0, 0], [0.9, 0]]))
    rows = make_result(3, 2, hidden=activity).unit_rows[3:]
    assert [(row.id, row.kind, row.kept, row.n_spikes) for row in rows] == [
        ("hidden-0", "hidden", True, 3),
        ("hidden-1", "hidden", True, 0),
    ]
    assert rows[0].rate_hz == pytest.approx(2.65 / 0.04)


def test_hidden_rows_that_are_given_stay(make_result):
    own = UnitRow("hidden-0", "hidden", True, "", 77, 1.0, {"stability": 0.8})
    result = make_result(3, 1, units=(*make_result(3, 0).units, own))
    assert result.unit_rows[3] == own


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"connectivity": np.zeros((3, 3))}, "connectivity has shape"),
        ({"coupling_filters": np.zeros((8, 8, 3))}, "coupling_filters has shape"),
        ({"q_value": np.zeros(8)}, "q_value has shape"),
        ({"unit_kind": ("visible",) * 5 + ("hidden", "visible", "hidden")}, "visible' throughout"),
        ({"unit_kind": ("visible",) * 7}, "8 unit ids but 7 kinds"),
        ({"history": {"a/b": np.zeros(2)}}, "cannot name"),
        ({"history": {"objective": np.zeros((2, 2))}}, "must have one axis"),
        ({"parameters": {"": np.zeros(2)}}, "cannot name"),
        ({"units": ()}, "no kept row"),
        ({"hidden": HiddenActivity(np.arange(3.0), np.zeros((3, 1)))}, "1 hidden units given, but 2"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(make_result, changes, words):
    with pytest.raises(ValueError, match=words):
        make_result(**changes)


def test_ids_must_differ_and_be_storable(make_result):
    for ids, words in (
        (("a", "b", "a"), "ids repeat"),
        (("a", "b\x00", "c"), "cannot be stored"),
        (("a", "\udc80", "c"), "cannot be stored"),
        (("a", "hidden-0", "c"), "ids repeat"),
    ):
        with pytest.raises(ValueError, match=words):
            make_result(3, 1, ids=ids)
    with pytest.raises(ValueError, match="kept but are no units"):
        make_result(2, 0, units=(*make_result(2, 0).units, UnitRow("x", "visible", True, "", 1, 1.0)))


def test_unit_columns_become_plain_scalars():
    row = UnitRow(
        7, "visible", np.True_, "", np.int32(4), np.float32(0.5), {"a": np.int8(3), "b": b"x", "c": [1, 2], "d": None}
    )
    assert row.id == "7"
    assert row.kept is True
    assert row.columns == {"a": 3, "b": "x", "c": "[1, 2]", "d": ""}
    with pytest.raises(ValueError, match="must be 'visible' or 'hidden'"):
        UnitRow("1", "ghost", True, "", 0, 0.0)


def test_it_can_be_subclassed_and_changed(make_result, tmp_path):
    class Fit(Result):
        def score(self) -> float:
            return float(self.metrics["heldout_bits_per_spike"])

    folder = make_result().save(tmp_path / "out", figures=False)
    fit = Fit.load(folder)
    assert isinstance(fit, Fit)
    assert fit.score() == 0.41
    assert repr(fit).startswith("Fit('session': 6 visible + 2 hidden units, 10 lags of 10 ms)")
    assert isinstance(dataclasses.replace(fit, name="other"), Fit)


def test_pandas_frames_hold_the_tables(make_result):
    result = make_result()
    frame = result.to_pandas()
    assert tuple(frame.columns) == EDGE_COLUMNS
    np.testing.assert_array_equal(frame["weight"], result.edges()["weight"])
    units = result.units_to_pandas()
    assert list(units["id"])[-3:] == ["noise cluster", "hidden-0", "hidden-1"]


def test_without_an_optional_library_the_message_says_so(make_result, monkeypatch):
    for name, method in (("pandas", "to_pandas"), ("pandas", "units_to_pandas"), ("xarray", "to_xarray")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match=f"{name} is not installed"):
            getattr(make_result(), method)()


def test_xarray_knows_axes_and_units(make_result):
    pytest.importorskip("xarray", reason="xarray is an optional library")
    result = make_result()
    found = result.to_xarray()
    assert float(found.connectivity.sel(post="g2", pre="hidden-1")) == result.connectivity[1, 7]
    np.testing.assert_array_equal(found.coupling_filters.sel(post="g2", pre="g5"), result.filter_of("g2", "g5"))
    np.testing.assert_array_equal(found.expected_count.sel(hidden="hidden-0"), result.hidden.expected_count[:, 0])
    assert found.connectivity.attrs["units"] == "drive per spike"


def test_the_notebook_summary_escapes_and_names_the_strongest(make_result):
    page = make_result(ids=("<b>", "a&b", "c", "d", "e", "f"), name="<script>")._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "1 unit has fewer than 50 spikes" in page
    assert "-8.5" in page
    assert "→" in page


def test_results_load_neither_torch_nor_the_file_libraries():
    code = (
        "import sys, spikefit.results, spikefit.plots\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'scipy', 'h5py', 'yaml', 'neo', 'pynwb', 'networkx', 'safetensors'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_result_is_read_without_torch(make_result, tmp_path):
    folder = make_result().save(tmp_path / "out")
    code = f"import sys\nfrom spikefit.results import load_result\nload_result({str(folder)!r})\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_hidden_activity_with_infinities_of_both_signs_makes_a_row_and_no_warning(make_result):
    result = make_result()
    activity = result.hidden.expected_count.copy()
    activity[0, 0], activity[1, 0] = np.inf, -np.inf
    rows = tuple(row for row in result.units if row.kind == "visible")
    broken = dataclasses.replace(result, units=rows, hidden=HiddenActivity(result.hidden.time_s, activity))
    (row,) = [row for row in broken.unit_rows if row.id == result.unit_id[result.n_visible]]
    assert np.isnan(row.rate_hz)
    assert row.n_spikes == 0


def test_the_band_of_a_filter_is_as_wide_as_the_interval_of_its_sum_says(make_result):
    result = make_result()
    n, n_lags = result.n_visible, result.lag_s.size
    errors = np.linspace(0.1, 0.2, n_lags) * np.ones((n, n, 1))
    whole = np.ones((result.n_units, result.n_units))
    held = dataclasses.replace(
        result,
        std_error=0.5 * whole,
        ci_low=result.connectivity - 1.0,
        ci_high=result.connectivity + 1.0,
        diagnostics={"filter_std_error": errors},
    )
    low, high = held.filter_band_of(result.unit_id[1], result.unit_id[0])
    np.testing.assert_allclose(high - low, 4 * errors[1, 0])
    np.testing.assert_allclose(0.5 * (high + low), held.coupling_filters[1, 0])
    # What shared inputs explain of the sum, two standard errors of 0.5, is taken off the lags by their variances.
    shared = dataclasses.replace(held, diagnostics={"filter_std_error": errors, "shared_z": 2.0 * np.ones((n, n))})
    low, high = shared.filter_band_of(result.unit_id[1], result.unit_id[0])
    share = errors[1, 0] ** 2 / (errors[1, 0] ** 2).sum()
    np.testing.assert_allclose(0.5 * (high + low), held.coupling_filters[1, 0] - 1.0 * share)
    of_all = shared.filter_bands()
    np.testing.assert_array_equal([of_all[0][1, 0], of_all[1][1, 0]], [low, high])
    assert of_all[0].shape == (n, n, n_lags)
    assert result.filter_bands() is None
    assert result.filter_band_of(result.unit_id[1], result.unit_id[0]) is None
    assert held.filter_band_of(result.unit_id[1], result.unit_id[-1]) is None  # a hidden unit has no errors
    blind = dataclasses.replace(held, std_error=np.nan * whole)
    assert blind.filter_band_of(result.unit_id[1], result.unit_id[0]) is None


def test_a_notebook_shows_the_numbers_of_hidden_units_that_folds_judged(make_result) -> None:
    rows = [
        {"n_hidden": 0, "cv_gain_nats_per_bin": 0.0, "cv_gain_nats_per_bin_se": 0.0, "cv_fold_nats_per_bin": [-8.0, -7.0, -9.0]},
        {"n_hidden": 2, "cv_gain_nats_per_bin": 0.0123, "cv_gain_nats_per_bin_se": 0.004, "cv_fold_nats_per_bin": [-7.9, -7.1, -8.9]},
    ]  # fmt: skip
    page = make_result(n_hidden=2, metrics={"candidates": rows[::-1]})._repr_html_()
    assert "<tr><td>0</td><td>–</td><td>–</td></tr>" in page
    assert "<tr><td><strong>2, kept</strong></td><td>+0.0123 ± 0.004</td><td>2 of 3</td></tr>" in page
    bare = [{"n_hidden": row["n_hidden"], "cv_gain_nats_per_bin": None} for row in rows]
    assert page.count("folds that gain") == 1
    assert (
        "<strong>2, kept</strong></td><td>–</td><td>–</td>" in make_result(metrics={"candidates": bare})._repr_html_()
    )
    assert "folds that gain" not in make_result(metrics={"candidates": [{"n_hidden": 0}]})._repr_html_()
