import json

import h5py
import networkx as nx
import numpy as np
import pytest
import scipy.io

from spikefit.cli.export import FORMAT_NAMES
from spikefit.config import Config
from spikefit.exporters import FORMATS
from spikefit.results import load_result
from spikefit.results.saving import sha256_of


@pytest.fixture
def saved(result, tmp_path):
    """`saved(q_value=…)` is the folder of a result."""

    def make(**changes):
        return result(**changes).save(tmp_path / "res", figures=False)

    return make


@pytest.fixture
def recording(tmp_path):
    """A recording that holds the units of the result, and one more."""
    path = tmp_path / "session.h5"
    random = np.random.default_rng(4)
    with h5py.File(path, "w") as file:
        for name in ("a", "[b]", "c", "d"):
            file[f"spike_times/{name}"] = np.sort(random.uniform(0.0, 60.0, 200))
    return path


def made_from(path, **settings):
    return {
        "config": Config().replace(**settings).to_dict(),
        "provenance": {"input": {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_of(path)}},
    }


def test_the_formats_are_those_there_are():
    assert tuple(known.name for known in FORMATS) == FORMAT_NAMES


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_every_format_is_written_from_the_folder_and_from_the_file_alone(invoke, saved, tmp_path, known):
    folder = saved()
    for source in (folder, folder / "connectivity.h5"):
        out = tmp_path / f"{source.name}-out"
        outcome = invoke("export", source, "--to", known.name, "-o", out)
        assert outcome.exit_code == 0, outcome.output
        assert outcome.stdout == f"{out} ({known.name}): 4 units, all 12 ordered pairs as edges\n"
        assert outcome.stderr == ""
        assert out.is_dir() == (known.suffix == "")


def test_the_choice_of_edges_and_units_arrives(invoke, saved, tmp_path):
    q = np.full((4, 4), 0.5)
    q[1, 0] = q[1, 3] = 0.01
    folder = saved(q_value=q)
    out = tmp_path / "net.graphml"
    for flags, edges in (
        (("--q", "0.05"), {("a", "[b]"), ("hidden-0", "[b]")}),
        (("--q", "0.05", "--top", "1"), {("hidden-0", "[b]")}),
        (("--q", "0.05", "--visible-only"), {("a", "[b]")}),
        (("--top", "2", "--visible-only"), {("a", "[b]"), ("[b]", "a")}),
    ):
        outcome = invoke("export", folder, "--to", "graphml", "-o", out, *flags, "--overwrite")
        assert outcome.exit_code == 0, outcome.output
        assert set(nx.read_graphml(out).edges) == edges
        assert f"{len(edges)} of " in outcome.stdout


def test_matrices_stand_as_asked_and_say_so(invoke, saved, tmp_path, result):
    folder = saved()
    for orient, matrix in (("post-pre", result().connectivity), ("pre-post", result().connectivity.T)):
        out = tmp_path / f"{orient}.mat"
        assert invoke("export", folder, "--to", "mat", "-o", out, "--orient", orient).exit_code == 0
        struct = scipy.io.loadmat(out, simplify_cells=True)["spikefit"]
        np.testing.assert_array_equal(struct["connectivity"], matrix)
        assert struct["dims"].startswith(orient.replace("-", ", "))


def test_no_edge_at_all_is_said(invoke, saved, tmp_path):
    outcome = invoke("export", saved(q_value=np.ones((4, 4))), "--to", "csv", "-o", tmp_path / "t", "--q", "0.05")
    assert outcome.exit_code == 0
    assert "warning: no edge was chosen: the export holds the units; none has q ≤ 0.05" in outcome.stderr
    assert len((tmp_path / "t" / "edges.csv").read_text().splitlines()) == 1


def test_json_and_quiet(invoke, saved, tmp_path):
    folder = saved()
    made = json.loads(invoke("export", folder, "--to", "npz", "-o", tmp_path / "a.npz", "--top", 3, "--json").stdout)
    assert made == {
        "path": str(tmp_path / "a.npz"),
        "format": "npz",
        "n_units": 4,
        "n_edges": 3,
        "orient": "post-pre",
        "spikes_copied": False,
        "recording_linked": False,
    }
    assert invoke("export", folder, "--to", "npz", "-o", tmp_path / "b.npz", "-q").output == ""


# -- the spikes of the recording -----------------------------------------------------------------------------------


def nwb_units(path):
    import pynwb

    with pynwb.NWBHDF5IO(path, "r") as file:
        return file.read().units.to_dataframe().set_index("unit_name")


def test_the_spikes_that_were_fitted_go_along(invoke, saved, recording, tmp_path):
    folder = saved(**made_from(recording, interval=["10:30"]))
    out = tmp_path / "net.nwb"
    outcome = invoke("export", folder, "--to", "nwb", "-o", out, "--recording", "copy", "--recording-file", recording)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stderr == ""
    assert outcome.stdout.endswith("as edges, with the spikes of session.h5\n")
    units = nwb_units(out)
    with h5py.File(recording) as file:
        times = file["spike_times/[b]"][:]
    np.testing.assert_array_equal(units.loc["[b]", "spike_times"], times[(times >= 10) & (times < 30)])
    np.testing.assert_array_equal(units.loc["[b]", "obs_intervals"], [[10, 30]])
    assert list(units.index) == ["a", "[b]", "c", "hidden-0"]


def test_another_recording_is_warned_of(invoke, saved, recording, tmp_path):
    known = made_from(recording)
    with h5py.File(recording, "a") as file:
        file["spike_times/e"] = np.arange(1.0, 60.0)
    outcome = invoke(
        "export",
        saved(**known),
        "--to",
        "nwb",
        "-o",
        tmp_path / "a.nwb",
        "--recording",
        "copy",
        "--recording-file",
        recording,
    )
    assert outcome.exit_code == 0, outcome.output
    assert "is not the file that this result was made from: its checksum differs" in outcome.stderr


def test_a_recording_without_the_units_is_refused(invoke, saved, recording, tmp_path):
    with h5py.File(recording, "a") as file:
        del file["spike_times/a"]
    out = tmp_path / "a.nwb"
    outcome = invoke("export", saved(), "--to", "nwb", "-o", out, "--recording", "copy", "--recording-file", recording)
    assert outcome.exit_code == 2
    assert "session lacks 1 units of this result (first: 'a')" in outcome.stderr
    assert not out.exists()


def test_settings_that_mean_nothing_here_are_no_guess(invoke, saved, recording, tmp_path):
    folder = saved(config={"recording": {"from_the_future": 3}})
    outcome = invoke(
        "export", folder, "--to", "nwb", "-o", tmp_path / "a.nwb", "--recording", "copy", "--recording-file", recording
    )
    assert outcome.exit_code == 4
    assert "does not know which time of session.h5 was fitted" in outcome.stderr
    assert not (tmp_path / "a.nwb").exists()


# -- what is refused -----------------------------------------------------------------------------------------------


def test_what_is_no_result_ends_with_4(invoke, tmp_path, recording):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "edges.csv").touch()
    (tmp_path / "text.h5").write_text("no")
    for path, words in (
        (empty, "is not a result folder"),
        (tmp_path / "nowhere", "there is no such file or folder"),
        (recording, "HDF5 but not a result of spikefit"),
        (tmp_path / "half", "holds half a result"),
        (tmp_path / "text.h5", "it is not HDF5"),
    ):
        outcome = invoke("export", path, "--to", "csv", "-o", tmp_path / "out")
        assert outcome.exit_code == 4, outcome.output
        assert words in outcome.stderr
        assert "  try: " in outcome.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--to", "graphm"), "'graphm' is not one of 'csv', 'graphml'"),
        (("--to", "npz", "--q", "0.05"), "has no q-values"),
        (("--to", "npz", "--q", "nan"), "--q must lie in (0, 1]"),
        (("--to", "npz", "--top", "0"), "--top must be at least 1"),
        (("--to", "npz", "--top", "few"), "not a valid integer"),
        (("--to", "npz", "--orient", "rows"), "'rows' is not one of 'post-pre', 'pre-post'"),
        (("--to", "h5", "--top", "3"), "h5 keeps every pair"),
        (("--to", "mat", "--recording", "copy"), "mat cannot hold the spikes"),
        ((), "Missing option '--to'"),
    ],
)
def test_flags_that_make_no_sense_end_with_2(invoke, saved, tmp_path, flags, words):
    outcome = invoke("export", saved(), *flags, "-o", tmp_path / "out")
    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["res"]


def test_what_is_there_stays_without_overwrite(invoke, saved, tmp_path):
    folder, out = saved(), tmp_path / "a.npz"
    out.write_text("mine")
    outcome = invoke("export", folder, "--to", "npz", "-o", out)
    assert outcome.exit_code == 2
    assert "is there already; it was left as it is" in outcome.stderr
    assert out.read_text() == "mine"
    assert invoke("export", folder, "--to", "npz", "-o", out, "--overwrite").exit_code == 0
    assert np.load(out)["connectivity"].shape == (4, 4)


def test_neither_the_recording_nor_the_result_is_ever_replaced(invoke, saved, recording, tmp_path):
    folder = saved(**made_from(recording))
    moved = tmp_path / "moved.nwb"
    moved.write_bytes(recording.read_bytes())
    before = {path: path.read_bytes() for path in (recording, moved, *folder.iterdir())}
    for to, out, words in (
        ("nwb", recording, "is the recording itself"),
        ("nwb", moved, "is the recording itself"),
        ("csv", folder, "is a result folder"),
        ("h5", folder / "connectivity.h5", "is part of a result"),
        ("npz", folder / "edges.csv", "is part of a result"),
    ):
        outcome = invoke("export", folder, "--to", to, "-o", out, "--overwrite")
        assert outcome.exit_code == 2, outcome.output
        assert words in outcome.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_a_recording_named_on_the_way_is_not_replaced(invoke, saved, recording):
    before = recording.read_bytes()
    outcome = invoke(
        "export",
        saved(),
        "--to",
        "nwb",
        "-o",
        recording,
        "--recording",
        "copy",
        "--recording-file",
        recording,
        "--overwrite",
    )
    assert outcome.exit_code == 2
    assert "is the recording itself" in outcome.stderr
    assert recording.read_bytes() == before


def test_what_is_made_from_a_result_may_be_made_again_inside_it(invoke, saved, tmp_path):
    folder = saved()
    out = folder / "graph.graphml"
    for _ in range(2):
        assert invoke("export", folder, "--to", "graphml", "-o", out, "--top", 2, "--overwrite").exit_code == 0
    assert load_result(folder).warnings == load_result(folder / "connectivity.h5").warnings
    lone = tmp_path / "lone" / "connectivity.h5"
    for _ in range(2):
        assert invoke("export", folder, "--to", "h5", "-o", lone, "--overwrite").exit_code == 0


def test_a_real_result_is_exported(invoke, recordings, saved, tmp_path):
    path = recordings / "mouse_hd_a2929.nwb"
    import spikefit

    trains = spikefit.read(path)
    ids = trains.unit_ids[:3]
    from spikefit.results import UnitRow

    rows = tuple(UnitRow(unit_id, "visible", True, "", trains[unit_id].size, 1.0) for unit_id in ids)
    folder = saved(unit_id=(*ids, "hidden-0"), units=rows, **made_from(path))
    out = tmp_path / "net.nwb"
    assert (
        invoke("export", folder, "--to", "nwb", "-o", out, "--recording", "copy", "--recording-file", path).exit_code
        == 0
    )
    units = nwb_units(out)
    for unit_id in ids:
        np.testing.assert_array_equal(units.loc[unit_id, "spike_times"], trains[unit_id])
