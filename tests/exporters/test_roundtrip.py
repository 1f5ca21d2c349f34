"""What is exported is what another library reads."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import h5py
import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from spikefit.errors import UsageError
from spikefit.exporters import Selection, export, select, to_networkx
from spikefit.results import Result, UnitRow, load_result
from spikefit.spikes import SpikeTrains

# Letters of any script, signs, commas, quotes and spaces; control characters have a test of their own.
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=10
)
numbers = st.floats(allow_infinity=False, width=64)


@st.composite
def results(draw: st.DrawFn) -> Result:
    n_visible, n_hidden, n_lags = draw(st.integers(1, 4)), draw(st.integers(0, 2)), draw(st.integers(1, 3))
    n_units = n_visible + n_hidden
    hidden = [f"hidden-{k}" for k in range(n_hidden)]
    ids = draw(st.lists(texts.filter(lambda t: t not in hidden), min_size=n_visible, max_size=n_visible, unique=True))

    def array(*shape: int):
        return np.array(draw(st.lists(numbers, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))).reshape(
            shape
        )

    columns = st.fixed_dictionaries(
        {}, optional={"region": texts, "depth,µm": numbers, "good": st.booleans(), "start": st.integers(0, 9)}
    )
    return Result(
        unit_id=(*ids, *hidden),
        unit_kind=("visible",) * n_visible + ("hidden",) * n_hidden,
        connectivity=array(n_units, n_units),
        coupling_filters=array(n_units, n_units, n_lags),
        lag_s=np.arange(1, n_lags + 1) * 0.005,
        baseline=array(n_units),
        bin_width_s=0.005,
        units=tuple(
            UnitRow(unit, "visible", True, "", draw(st.integers(0, 10**6)), 1.0, draw(columns)) for unit in ids
        ),
        q_value=draw(st.none() | st.just(np.full((n_units, n_units), 0.03))),
        history={"objective": array(2), "odd name!": array(1)},
        metrics={"converged": True},
        name=draw(texts),
    )


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    return Selection(
        orient=draw(st.sampled_from(["post-pre", "pre-post"])),
        top=draw(st.none() | st.integers(1, 5)),
        visible_only=draw(st.booleans()),
    )


def property_based(test):
    calm = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    return calm(given(result=results(), selection=selections())(test))


@pytest.fixture(autouse=True)
def _skip_the_disk(monkeypatch):
    """Flushing to the disk is tested elsewhere; here it would only take time."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def written(result: Result, to: str, selection: Selection, read, suffix: str = "", **rest):
    with tempfile.TemporaryDirectory() as folder:
        return read(export(result, Path(folder) / f"out{suffix}", to=to, selection=selection, **rest))


def the_way_round(selection: Selection, matrix):
    return np.swapaxes(matrix, 0, 1) if selection.orient == "pre-post" else matrix


def kept_units(result: Result, selection: Selection) -> int:
    return result.n_visible if selection.visible_only else result.n_units


def check_graph(graph: nx.DiGraph, result: Result, selection: Selection, start: str = "start") -> None:
    cut = select(result, selection)
    assert graph.is_directed()
    assert sorted(graph.nodes) == sorted(cut.result.unit_id)  # isolated ones too
    for place, row in enumerate(cut.result.unit_rows):
        node = graph.nodes[row.id]
        assert (node["label"], node["kind"], node["n_spikes"]) == (row.id, row.kind, row.n_spikes)
        np.testing.assert_equal(node.get("baseline", np.nan), cut.result.baseline[place])
        assert node.get("region") == row.columns.get("region")
        np.testing.assert_equal(node.get("depth,µm", np.nan), row.columns.get("depth,µm", np.nan))
        assert node.get("good") == row.columns.get("good")
        assert node.get(start) == row.columns.get("start")
    edges = cut.edges()
    assert graph.number_of_edges() == len(edges)
    for edge in edges:
        found = graph.edges[edge["pre_id"], edge["post_id"]]
        for key in ("weight", "peak_lag_s", "q_value"):
            np.testing.assert_equal(found.get(key, np.nan), edge[key])


@property_based
def test_networkx(result, selection):
    check_graph(to_networkx(result, selection), result, selection)


@property_based
def test_graphml(result, selection):
    check_graph(written(result, "graphml", selection, nx.read_graphml, ".graphml"), result, selection)


@property_based
def test_gexf(result, selection):
    check_graph(written(result, "gexf", selection, nx.read_gexf, ".gexf"), result, selection, "unit_start")


@property_based
def test_npz(result, selection):
    def read(path):
        with np.load(path, allow_pickle=False) as file:
            return dict(file)

    found, n = written(result, "npz", selection, read, ".npz"), kept_units(result, selection)
    np.testing.assert_array_equal(found["connectivity"], the_way_round(selection, result.connectivity[:n, :n]))
    np.testing.assert_array_equal(found["coupling_filters"], the_way_round(selection, result.coupling_filters[:n, :n]))
    np.testing.assert_array_equal(found["selected"], the_way_round(selection, select(result, selection).is_edge))
    assert found["unit_id"].tolist() == list(result.unit_id[:n])
    assert str(found["dims"]).startswith(selection.orient.replace("-", ", "))
    np.testing.assert_array_equal(found["history_odd name!"], result.history["odd name!"])


@property_based
def test_mat(result, selection):
    def read(path):
        return loadmat(path, simplify_cells=True)["spikefit"]

    found, n = written(result, "mat", selection, read, ".mat"), kept_units(result, selection)
    np.testing.assert_array_equal(
        np.reshape(found["connectivity"], (n, n)), the_way_round(selection, result.connectivity[:n, :n])
    )
    assert np.atleast_1d(found["unit_id"]).tolist() == list(result.unit_id[:n])
    assert found["orientation"].startswith("row sends" if selection.orient == "pre-post" else "row receives")
    np.testing.assert_array_equal(np.atleast_1d(found["history"]["odd_name_"]), result.history["odd name!"])


@property_based
def test_csv(result, selection):
    def read(folder):
        tables = {}
        for name in ("edges", "units", "connectivity"):
            with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as handle:
                tables[name] = list(csv.reader(handle))
        return tables

    found, n = written(result, "csv", selection, read), kept_units(result, selection)
    edges = select(result, selection).edges()
    assert [row[:2] for row in found["edges"][1:]] == [[e["pre_id"], e["post_id"]] for e in edges]
    assert [float(row[4] or "nan") for row in found["edges"][1:]] == pytest.approx(edges["weight"], nan_ok=True, rel=0)
    corner, *ids = found["connectivity"][0]
    assert corner == ("pre\\post" if selection.orient == "pre-post" else "post\\pre")
    assert ids == [row[0] for row in found["connectivity"][1:]] == list(result.unit_id[:n])
    matrix = [[float(cell or "nan") for cell in row[1:]] for row in found["connectivity"][1:]]
    np.testing.assert_array_equal(matrix, the_way_round(selection, result.connectivity[:n, :n]))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(result=results(), visible_only=st.booleans())
def test_h5(assert_same, result, visible_only):
    selection = Selection(visible_only=visible_only)
    found = written(result, "h5", selection, load_result, ".h5")
    assert_same(found, select(result, selection).result)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(result=results(), selection=selections())
def test_nwb(result, selection):
    from pynwb import NWBHDF5IO, validate

    def read(path):
        assert validate(path=str(path)) == []
        with NWBHDF5IO(str(path), "r") as io:
            file = io.read()
            units, edges = file.units, file.analysis.get("edges", None)
            ids = list(units["unit_name"][:])
            if edges is None:
                return ids, []
            pre, post = edges["pre"].data[:], edges["post"].data[:]
            weight, filters = (
                edges["weight"].data[:] if "weight" in edges.colnames else pre * np.nan,
                edges["coupling_filter"].data[:],
            )
            assert edges["pre"].table is units
            return ids, [(ids[a], ids[b], w, f.tolist()) for a, b, w, f in zip(pre, post, weight, filters, strict=True)]

    ids, found = written(result, "nwb", selection, read, ".nwb")
    cut = select(result, selection)
    assert ids == list(cut.result.unit_id)
    expected = [
        (e["pre_id"], e["post_id"], e["weight"], cut.result.filter_of(e["post_id"], e["pre_id"]).tolist())
        for e in cut.edges()
    ]
    np.testing.assert_equal(found, expected)


def test_nwb_takes_the_spikes_and_the_hidden_rates_along(make_result, tmp_path):
    from pynwb import NWBHDF5IO, validate

    result = make_result()
    rng = np.random.default_rng(1)
    spikes = {unit: np.sort(rng.random(20)) * 4 for unit in ("g9", *result.unit_id[:6])}
    trains = SpikeTrains.from_trains(spikes, t_start_s=0.0, t_stop_s=4.0)
    path = export(result, tmp_path / "out.nwb", to="nwb", trains=trains)
    assert validate(path=str(path)) == []
    with NWBHDF5IO(str(path), "r") as io:
        file = io.read()
        for place, unit in enumerate(result.unit_id[:6]):
            np.testing.assert_array_equal(file.units["spike_times"][place], spikes[unit])
        assert len(file.units["spike_times"][7]) == 0
        rate = file.processing["ecephys"]["hidden_rate"]
        np.testing.assert_allclose(rate.data[:], result.hidden.expected_count / 0.01)
        assert (rate.unit, rate.rate, rate.starting_time) == ("Hz", 100.0, 0.0)
    kept = trains.select(u for u in trains.unit_ids if u != "g2")
    with pytest.raises(UsageError, match=r"lacks 1 units of this result \(first: 'g2'\)"):
        export(result, tmp_path / "other.nwb", to="nwb", trains=kept)


@pytest.mark.parametrize("to", ["graphml", "gexf"])
def test_control_characters_are_refused_by_name_where_xml_cannot_hold_them(make_result, tmp_path, to):
    with pytest.raises(UsageError, match="control character in 'id' of unit 'a\\\\x01'"):
        export(make_result(2, 0, ids=("a\x01", "b")), tmp_path / "out", to=to)
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_units_as_a_graph_of_the_strongest(make_result, tmp_path):
    path = export(make_result(1000, 0, n_lags=1), tmp_path / "g.graphml", to="graphml", selection=Selection(top=500))
    graph = nx.read_graphml(path)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (1000, 500)


def test_h5_can_be_read_by_anyone(make_result, tmp_path):
    path = export(make_result(), tmp_path / "passed on.h5", to="h5")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["metrics_json"])["heldout_nats_per_bin"] == -8.5
