"""What is written is what is read, by us and by other programs."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

from spikefit.results import EDGE_COLUMNS, HiddenActivity, Result, UnitRow, load_result

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
names = texts.filter(lambda text: text not in ("", ".", "..") and "/" not in text)
floats = st.floats(width=64) | st.just(np.nan)
scalars = st.one_of(texts, st.booleans(), st.integers(-(2**70), 2**70), st.floats())


@pytest.fixture(autouse=True)
def _skip_the_disk(monkeypatch):
    """Flushing to the disk is tested elsewhere; here it would only take time."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("spikefit.plots.style.DPI", 40)


@st.composite
def results(draw: st.DrawFn) -> Result:
    n_visible, n_hidden, n_lags, n_bins = draw(
        st.tuples(*[st.integers(lo, hi) for lo, hi in ((1, 5), (0, 3), (0, 5), (0, 7))])
    )
    n_units = n_visible + n_hidden
    hidden_ids = tuple(f"hidden-{k}" for k in range(n_hidden))
    ids = draw(
        st.lists(texts.filter(lambda t: t not in hidden_ids), min_size=n_visible, max_size=n_visible, unique=True)
    )

    def array(*shape: int):
        return draw(hnp.arrays(draw(st.sampled_from([np.float64, np.float32])), shape, elements=st.floats(width=32)))

    def wide(*shape: int):
        return draw(hnp.arrays(np.float64, shape, elements=floats))

    columns = st.dictionaries(texts, scalars, max_size=3)
    rows = [
        UnitRow(unit, "visible", True, "", draw(st.integers(0, 2**40)), draw(floats), draw(columns)) for unit in ids
    ]
    rows += [
        UnitRow(draw(texts), "visible", False, draw(texts), 0, 0.0, draw(columns))
        for _ in range(draw(st.integers(0, 2)))
    ]
    return Result(
        unit_id=(*ids, *hidden_ids),
        unit_kind=("visible",) * n_visible + ("hidden",) * n_hidden,
        connectivity=wide(n_units, n_units),
        coupling_filters=array(n_units, n_units, n_lags),
        lag_s=wide(n_lags),
        baseline=wide(n_units),
        bin_width_s=draw(st.floats(1e-4, 1.0)),
        units=tuple(rows),
        std_error=draw(st.none() | st.just(wide(n_units, n_units))),
        q_value=draw(st.none() | st.just(wide(n_units, n_units))),
        hidden=HiddenActivity(wide(n_bins), array(n_bins, n_hidden)) if n_hidden else None,
        history=draw(st.dictionaries(names, hnp.arrays(np.float64, st.integers(0, 5), elements=floats), max_size=3)),
        metrics=draw(st.dictionaries(texts, scalars, max_size=3)),
        config={"a": {"b": draw(texts)}},
        provenance=draw(st.dictionaries(texts, st.lists(texts, max_size=2), max_size=2)),
        parameters=draw(
            st.dictionaries(
                names,
                hnp.arrays(st.sampled_from(["f4", "f8", "i8", "u1", "?"]), hnp.array_shapes(min_dims=0)),
                max_size=3,
            )
        ),
        warnings=tuple(draw(st.lists(texts, max_size=2))),
        name=draw(texts),
    )


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(result=results())
def test_any_result_comes_back_as_it_was(result, assert_same):
    with tempfile.TemporaryDirectory() as folder:
        out = result.save(Path(folder) / "out", figures=False)
        loaded = load_result(out)
        assert_same(loaded, result)
        assert_same(load_result(out / "connectivity.h5"), result)
        # A second turn gives the same bytes of content, so nothing drifts.
        assert_same(load_result(loaded.save(out, overwrite=True, figures=False)), result)
        with (out / "edges.csv").open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle))
        assert tuple(rows[0]) == EDGE_COLUMNS
        table = result.edges()
        assert len(rows) - 1 == len(table) == result.n_units * (result.n_units - 1)
        for row, edge in zip(rows[1:], table, strict=True):
            for cell, key in zip(row, EDGE_COLUMNS, strict=True):
                expected = edge[key]
                if isinstance(expected, str):
                    assert cell == expected
                else:
                    np.testing.assert_equal(float(cell or "nan"), float(expected))


def test_pandas_reads_the_same_numbers(make_result, tmp_path):
    result = make_result(ids=("1", "a,b", 'say "hi"', "ünit ½", "line\nbreak", "x;y"), q_value=None)
    out = result.save(tmp_path / "out", figures=False)
    frame = pd.read_csv(out / "edges.csv", dtype={"pre_id": str, "post_id": str})
    table = result.edges()
    assert tuple(frame.columns) == EDGE_COLUMNS
    assert list(frame["pre_id"]) == list(table["pre_id"])
    assert frame["q_value"].isna().all()
    for key in ("weight", "std_error", "ci_low", "peak_lag_s", "n_pre_spikes"):
        np.testing.assert_array_equal(frame[key], table[key])
    units = pd.read_csv(out / "units.csv", dtype={"id": str}).set_index("id")
    assert not units.loc["noise cluster", "kept"]
    assert units.loc["noise cluster", "reason"] == "12 spikes, fewer than 50"
    assert units.loc["a,b", "n_spikes"] == 110
    assert units.loc["hidden-1", "kind"] == "hidden"
    assert np.isnan(units.loc["noise cluster", "depth_um"])


def test_a_column_of_the_recording_called_like_one_of_ours_gets_another_name(make_result, tmp_path):
    rows = (UnitRow("u", "visible", True, "", 5, 1.0, {"id": "k12", "kind": "pyramidal"}),)
    out = make_result(1, 0, ids=("u",), units=rows).save(tmp_path / "out", figures=False)
    assert (out / "units.csv").read_text().splitlines()[0] == "id,kind,kept,reason,n_spikes,rate_hz,unit_id,unit_kind"


def test_plain_h5py_sees_the_documented_layout(make_result, tmp_path):
    result = make_result()
    out = result.save(tmp_path / "out", figures=False)
    with h5py.File(out / "connectivity.h5") as file:
        assert file.attrs["format"] == "spikefit-connectivity"
        assert file.attrs["format_version"] == 1
        assert file.attrs["bin_width_s"] == 0.01
        assert file.attrs["generator"].startswith("spikefit ")
        assert file.attrs["created_utc"].endswith("+00:00")
        assert json.loads(file.attrs["config_json"]) == result.config
        assert file["unit_id"].asstr()[:].tolist() == list(result.unit_id)
        assert h5py.check_string_dtype(file["unit_id"].dtype).encoding == "utf-8"
        assert file["unit_kind"].asstr()[:].tolist() == list(result.unit_kind)
        for key in ("connectivity", "coupling_filters", "lag_s", "baseline", "std_error", "ci_low", "ci_high"):
            np.testing.assert_array_equal(file[key][()], getattr(result, key))
        np.testing.assert_array_equal(file["hidden/expected_count"][()], result.hidden.expected_count)
        np.testing.assert_array_equal(file["hidden/time_s"][()], result.hidden.time_s)
        np.testing.assert_array_equal(file["history/heldout"][()], result.history["heldout"])
        assert "p_value" not in file
        assert "q_value" not in file
        datasets = []
        file.visititems(lambda name, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
        assert len(datasets) > 20
        for dataset in datasets:
            for key in ("dims", "units", "description"):
                assert isinstance(dataset.attrs[key], str), f"{dataset.name} has no {key}"
                assert dataset.attrs[key], f"{dataset.name} has an empty {key}"
            dims = dataset.attrs["dims"].split(", ")
            assert dataset.ndim == (0 if dims == ["scalar"] else len(dims)), dataset.name


def test_significance_is_written_as_soon_as_there_is_some(make_result, tmp_path):
    q = np.full((8, 8), np.nan)
    q[1, 2] = 0.03
    out = make_result(q_value=q).save(tmp_path / "out", figures=False)
    with h5py.File(out / "connectivity.h5") as file:
        assert file["q_value"][1, 2] == 0.03
        assert "p_value" not in file


def test_large_constant_arrays_are_packed_and_noise_is_not(make_result, tmp_path):
    result = make_result(40, 0)
    out = result.save(tmp_path / "out", figures=False)
    with h5py.File(out / "connectivity.h5") as file:
        assert file["std_error"].compression == "gzip"
        assert file["std_error"].id.get_storage_size() < file["std_error"].nbytes / 10
        assert file["coupling_filters"].compression is None
        assert file["coupling_filters"].fletcher32


def test_a_config_of_any_size_fits_into_the_file(make_result, tmp_path, assert_same):
    result = make_result(config={"units": {"keep": [f"unit é {k}" for k in range(30000)]}})
    assert_same(load_result(result.save(tmp_path / "out", figures=False)), result)


def test_the_text_files_hold_the_documents(make_result, tmp_path):
    result = make_result(
        metrics={"heldout_nats_per_bin": np.float64(-8.25), "elbo_per_bin": float("nan"), "n_visible": np.int64(6)}
    )
    out = result.save(tmp_path / "out", figures=False)
    assert json.loads((out / "metrics.json").read_text()) == {
        "heldout_nats_per_bin": -8.25,
        "elbo_per_bin": None,
        "n_visible": 6,
    }
    assert (out / "metrics.json").read_text() == result.metrics_json()
    assert yaml.safe_load((out / "config.yaml").read_text()) == result.config
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["argv"] == ["spikefit", "infer", "session.nwb"]
    assert provenance["config_origin"] == {"model.bin": "flag", "model.hidden": "default"}
    assert provenance["warnings"] == ["1 unit has fewer than 50 spikes"]
    tensors = load_file(out / "model.safetensors")
    assert sorted(tensors) == sorted(result.parameters)
    np.testing.assert_array_equal(tensors["coupling_weights"], result.parameters["coupling_weights"], strict=True)


@pytest.mark.parametrize("n_units", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_units_come_back_too(make_result, tmp_path, assert_same, n_units):
    result = make_result(n_units, 0, n_lags=2, parameters={})
    out = result.save(tmp_path / "out", figures=False)
    assert_same(load_result(out), result)
    assert not (out / "model.safetensors").exists()
    assert (out / "edges.csv").read_bytes().count(b"\n") == n_units * (n_units - 1) + 1


@pytest.mark.parametrize("n_hidden", [0, 2])
def test_the_folder_holds_the_files_it_should(make_result, tmp_path, n_hidden):
    out = make_result(3, n_hidden).save(tmp_path / "deep" / "out", figures=("png", "svg", "pdf"))
    expected = [
        "config.yaml",
        "connectivity.h5",
        "edges.csv",
        "metrics.json",
        "model.safetensors",
        "provenance.json",
        "units.csv",
    ]
    stems = ("connectivity", "training", "filters", "hidden") if n_hidden else ("connectivity", "training", "filters")
    expected += [f"{stem}.{ending}" for stem in stems for ending in ("png", "svg", "pdf")]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)


def test_an_excerpt_and_block_scores_come_back(make_result, make_excerpt, tmp_path, assert_same):
    blocks = {
        "heldout_block_start_s": np.arange(3.0),
        "heldout_block_bins": np.full(3, 9.0),
        "heldout_block_nats": -np.ones(3),
    }
    result = make_result(excerpt=make_excerpt(6), history=blocks)
    out = result.save(tmp_path / "out", figures=False)
    assert_same(load_result(out), result)
    with h5py.File(out / "connectivity.h5") as file:
        assert file["history/heldout_block_nats"].attrs["units"] == "nats"
        assert file["excerpt/spike_time_s"].attrs["dims"] == "spike"


def test_an_excerpt_of_units_that_are_not_there_is_refused(make_result, make_excerpt):
    with pytest.raises(ValueError, match="units beyond the 5 recorded ones"):
        make_result(5, excerpt=make_excerpt(6))
