"""What is exported is what another library reads."""

from __future__ import annotations

import csv
import json
import re
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
from spikefit.results.saving import sha256_of
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
            units, edges = file.analysis["units"], file.analysis.get("edges", None)
            assert file.units is None  # without spikes it would say that nobody fired
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


@pytest.fixture
def linked_pair(make_result, tmp_path):
    """An NWB recording with a unit that was dropped in between, and a result that knows it."""
    import datetime

    from pynwb import NWBHDF5IO, NWBFile

    path = tmp_path / "lab" / "session.nwb"
    path.parent.mkdir()
    file = NWBFile("x", "id", datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC))
    file.add_unit_column("unit_name", "name")
    rng = np.random.default_rng(0)
    for name in ("g1", "g2", "noise cluster", "g3", "g4", "g5", "g6"):
        file.add_unit(spike_times=np.sort(rng.random(rng.integers(0, 9) + (name == "g1"))), unit_name=name)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    rows = make_result().units
    provenance = {"input": {"path": str(path), "sha256": sha256_of(path), "bytes": path.stat().st_size}}
    return make_result(units=(*rows[:2], rows[6], *rows[2:6]), provenance=provenance), path


def test_nwb_links_the_spikes_of_the_fitted_units(linked_pair, tmp_path):
    from pynwb import NWBHDF5IO, validate

    result, recording = linked_pair
    before = (recording.read_bytes(), recording.stat().st_mtime_ns)
    path = export(result, tmp_path / "out" / "net.nwb", to="nwb", linked=recording)
    assert (recording.read_bytes(), recording.stat().st_mtime_ns) == before
    assert validate(path=str(path)) == []
    with h5py.File(recording) as file:
        trains = np.split(file["units/spike_times"][:], file["units/spike_times_index"][:-1])
        names = file["units/unit_name"].asstr()[:].tolist()
    with NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        assert list(units["unit_name"][:]) == list(result.unit_id)
        for place, unit in enumerate(result.unit_id[:6]):
            np.testing.assert_array_equal(units["spike_times"][place], trains[names.index(unit)])
        assert len(units["spike_times"][6]) == len(units["spike_times"][7]) == 0
    with h5py.File(path) as file:
        assert file["units/spike_times"].is_virtual
        (source, *_) = file["units/spike_times"].virtual_sources()
        assert source.file_name == "../lab/session.nwb"
    # Together they may move; alone, the spikes are missing, not zero.
    (tmp_path / "away").mkdir()
    (tmp_path / "lab").rename(tmp_path / "away" / "lab")
    (tmp_path / "out").rename(tmp_path / "away" / "out")
    with h5py.File(tmp_path / "away" / "out" / "net.nwb") as file:
        assert np.isfinite(file["units/spike_times"][:]).all()
    (tmp_path / "away" / "lab").rename(tmp_path / "lost")
    with h5py.File(tmp_path / "away" / "out" / "net.nwb") as file:
        assert np.isnan(file["units/spike_times"][:]).all()


def test_nwb_links_only_to_the_file_it_was_made_from(linked_pair, make_result, tmp_path):
    result, recording = linked_pair
    out = tmp_path / "net.nwb"
    other = tmp_path / "other.nwb"
    other.write_bytes(recording.read_bytes() + b" ")
    fewer = make_result(provenance=result.provenance, units=result.units[:2] + result.units[3:])
    for source, of, words in (
        (other, result, "not the file that this result was made from"),
        (tmp_path / "gone.nwb", result, "no such file"),
        (recording, fewer, "has 7 units and the result knows of 6"),
    ):
        with pytest.raises(UsageError, match=words):
            export(of, out, to="nwb", linked=source)
        assert not out.exists()
    with pytest.raises(UsageError, match="cannot hold the spikes"):
        export(result, tmp_path / "a.npz", to="npz", linked=recording)


def test_nwb_repeats_what_is_known_of_the_session(make_result, tmp_path):
    from pynwb import NWBHDF5IO

    session = {
        "session_start_time": "2020-07-11T10:30:00+02:00",
        "subject_id": "A2929",
        "sex": "M",
        "species": "Mus musculus",
    }
    path = export(make_result(provenance={"session": session}), tmp_path / "a.nwb", to="nwb")
    with NWBHDF5IO(str(path), "r") as io:
        file = io.read()
        assert file.session_start_time.isoformat() == "2020-07-11T10:30:00+02:00"
        assert (file.subject.subject_id, file.subject.sex, file.subject.species) == ("A2929", "M", "Mus musculus")
        assert "not known" not in file.session_description
    odd = {"session_start_time": "yesterday", "sex": "?", "species": "mouse", "age": "old"}
    path = export(make_result(provenance={"session": odd}), tmp_path / "b.nwb", to="nwb")
    with NWBHDF5IO(str(path), "r") as io:
        file = io.read()
        assert "not known" in file.session_description
        assert (file.subject.sex, file.subject.species, file.subject.age) == ("U", None, "P0D/")


# -- BIDS ----------------------------------------------------------------------------------------------------------


def test_bids(make_result, tmp_path, assert_same):
    session = {"subject_id": "rat 7/b", "session_start_time": "2020-07-11T10:30:00"}
    result = make_result(
        ids=("a\tb", "ü", "3", "4", "5", "6"), provenance={"session": session, "input": {"name": "s.nwb"}}
    )
    root = export(result, tmp_path / "derivatives", to="bids", selection=Selection(top=9, orient="pre-post"))
    folder = root / "sub-rat7b" / "ses-20200711" / "ecephys"
    stem = "sub-rat7b_ses-20200711_desc-spikefit"
    description = json.loads((root / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "spikefit"
    assert re.fullmatch(r"\d+\.\d+\.\d+", description["BIDSVersion"])
    lines = [line.split("\t") for line in (folder / f"{stem}_edges.tsv").read_text(encoding="utf-8").splitlines()]
    edges = select(result, Selection(top=9)).edges()
    assert len(lines) == 10
    assert [float(row[4]) for row in lines[1:]] == edges["weight"].tolist()
    assert {row[9] for row in lines[1:]} == {"n/a"}
    assert {len(row) for row in lines} == {13}
    about = json.loads((folder / f"{stem}_edges.json").read_text(encoding="utf-8"))
    assert set(lines[0]) <= set(about)
    assert about["Sources"] == ["s.nwb"]
    assert about["Session"] == session
    matrix = [
        line.split("\t") for line in (folder / f"{stem}_connectivity.tsv").read_text(encoding="utf-8").splitlines()
    ]
    assert matrix[0][:2] == ["pre\\post", "a b"]
    np.testing.assert_array_equal([[float(c) for c in row[1:]] for row in matrix[1:]], result.connectivity.T)
    units = (folder / f"{stem}_units.tsv").read_text(encoding="utf-8").splitlines()
    assert len(units) == 1 + len(result.units)
    assert not (folder / f"{stem}_connectivity.h5").exists()  # it has one layout, and holds every pair
    whole = export(result, tmp_path / "whole", to="bids")
    assert_same(load_result(whole / folder.relative_to(root) / f"{stem}_connectivity.h5"), result)


def test_sessions_gather_in_one_bids_folder(make_result, tmp_path):
    root = tmp_path / "derivatives"

    def of(session, **changes):
        known = {"subject_id": "m1", "session_id": session}
        return make_result(provenance={"session": known}, **changes)

    export(of("one"), root, to="bids")
    export(of("two"), root, to="bids")
    assert sorted(path.name for path in (root / "sub-m1").iterdir()) == ["ses-one", "ses-two"]
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    with pytest.raises(UsageError, match=r"ses-one.*is there already"):
        export(of("one", seed=1), root, to="bids")
    assert {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()} == before
    export(of("one", seed=1), root, to="bids", overwrite=True)
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert changed
    assert all("ses-one" in str(path) for path in changed)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="something else than a BIDS derivative"):
        export(of("one"), other, to="bids", overwrite=True)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("how", ["none", "copy", "link"])
def test_nwbinspector_finds_nothing_critical(linked_pair, tmp_path, how):
    inspector = pytest.importorskip("nwbinspector")
    result, recording = linked_pair
    trains = SpikeTrains.from_trains({unit: [1.25, 2.5] for unit in result.unit_id[:6]}, t_start_s=0, t_stop_s=4)
    given = {"none": {}, "copy": {"trains": trains}, "link": {"linked": recording}}[how]
    path = export(result, tmp_path / "out.nwb", to="nwb", **given)
    found = list(inspector.inspect_nwbfile(nwbfile_path=str(path)))
    assert [message.message for message in found if message.importance.name in ("CRITICAL", "ERROR")] == []
