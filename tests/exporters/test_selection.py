"""Which edges are chosen, which way round matrices stand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from spikefit.errors import UsageError
from spikefit.exporters import FORMATS, Selection, export, select
from spikefit.results import EDGE_COLUMNS


def test_all_pairs_are_chosen_at_first(make_result):
    result = make_result()
    cut = select(result, Selection())
    for key in EDGE_COLUMNS:
        np.testing.assert_array_equal(cut.edges()[key], result.edges()[key])
    assert cut.oriented(result.connectivity) is result.connectivity


def test_q_calls_the_edges_below_it_and_nan_is_no_call(make_result):
    q = np.full((8, 8), np.nan)
    q[1, 4], q[2, 3], q[5, 5], q[0, 1] = 0.01, 0.05, 0.001, 0.06
    edges = select(make_result(q_value=q), Selection(q=0.05)).edges()
    assert sorted(zip(edges["pre_id"], edges["post_id"], strict=True)) == [("g4", "g3"), ("g5", "g2")]


def test_top_takes_the_strongest_and_leaves_nan_and_the_diagonal(make_result):
    weights = make_result().connectivity.copy()
    weights[3, 3], weights[0, 1] = 99, np.nan
    result = make_result(connectivity=weights)
    edges = select(result, Selection(top=5)).edges()
    sizes = sorted(np.abs(result.edges()["weight"][~np.isnan(result.edges()["weight"])]))
    assert sorted(np.abs(edges["weight"])) == sizes[-5:]
    assert len(select(result, Selection(top=1000)).edges()) == 8 * 7 - 1


def test_q_and_top_together_take_the_strongest_of_the_called(make_result):
    q = np.full((8, 8), 0.5)
    q[:3] = 0.01
    cut = select(make_result(q_value=q), Selection(q=0.05, top=4))
    assert cut.is_edge.sum() == 4
    assert not cut.is_edge[3:].any()


def test_without_hidden_units_the_visible_block_is_left(make_result):
    result = make_result()
    cut = select(result, Selection(visible_only=True))
    assert cut.result.unit_id == result.unit_id[:6]
    np.testing.assert_array_equal(cut.result.coupling_filters, result.coupling_filters[:6, :6])
    assert cut.result.hidden is None
    assert set(result.diagnostics) - set(cut.result.diagnostics) == {"hidden_likeness"}
    assert len(cut.edges()) == 30
    assert "2 hidden units were left out" in cut.result.warnings[-1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"orient": "rows"}, "--orient must be"),
        ({"q": 0}, "--q must lie"),
        ({"q": 1.1}, "--q must"),
        ({"top": 0}, "--top must"),
    ],
)
def test_choices_that_make_no_sense(wrong, words):
    with pytest.raises(UsageError, match=words):
        Selection(**wrong)


def test_q_without_q_values_is_refused(make_result, tmp_path):
    with pytest.raises(UsageError, match="no q-values") as caught:
        export(make_result(), tmp_path / "a.graphml", to="graphml", selection=Selection(q=0.05))
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_h5_cannot_hold_is_refused(make_result, tmp_path):
    for selection, words in (
        (Selection(top=3), "keeps every pair"),
        (Selection(orient="pre-post"), "layout of h5 is fixed"),
    ):
        with pytest.raises(UsageError, match=words):
            export(make_result(), tmp_path / "a.h5", to="h5", selection=selection)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_names_the_nearest(make_result, tmp_path):
    with pytest.raises(UsageError, match="no export format 'graphm'") as caught:
        export(make_result(), tmp_path / "a", to="graphm")
    assert "graphml" in str(caught.value.hint)


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_what_is_there_is_left_alone_without_overwrite(make_result, tmp_path, known):
    path = tmp_path / f"out{known.suffix}"
    export(make_result(2, 1), path, to=known.name)

    def content():
        return {p: p.read_bytes() for p in ([path] if known.suffix else path.rglob("*")) if p.is_file()}

    before = content()
    with pytest.raises(UsageError, match="is there already") as caught:
        export(make_result(3, 0), path, to=known.name)
    assert "--overwrite" in str(caught.value.hint)
    assert content() == before
    export(make_result(3, 0), path, to=known.name, overwrite=True)
    assert content() != before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_a_writer_that_fails_leaves_nothing(make_result, tmp_path, monkeypatch, known):
    import errno
    import os

    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="disk is full"):
        export(make_result(2, 1), tmp_path / f"out{known.suffix}", to=known.name)
    monkeypatch.undo()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_in_the_way_of_a_file_and_the_other_way_round(make_result, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for to, name in (("npz", "folder"), ("csv", "file")):
        with pytest.raises(UsageError, match="is there already and is not"):
            export(make_result(2, 0), tmp_path / name, to=to, overwrite=True)
    with pytest.raises(UsageError, match="part of this path is a file"):
        export(make_result(2, 0), tmp_path / "file" / "a.npz", to="npz")


def test_spikes_go_only_where_they_can_be_held(make_result, tmp_path):
    from spikefit.spikes import SpikeTrains

    trains = SpikeTrains.from_trains({"g1": [0.1], "g2": [0.2]})
    with pytest.raises(UsageError, match="cannot hold the spikes") as caught:
        export(make_result(2, 0), tmp_path / "a.npz", to="npz", trains=trains)
    assert "nwb" in str(caught.value.hint)
