"""Whole or not at all: refused folders, full disks, read-only folders, kills at any moment."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikefit.errors import ResultError, SpikefitError, UsageError
from spikefit.results import claim_output, load_result


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- the claim ------------------------------------------------------------------------------------------------------


def test_a_claim_makes_the_folder_and_leaves_it_empty(tmp_path):
    folder = claim_output(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert content(folder) == {}


def test_a_folder_with_a_result_is_refused_untouched(make_result, tmp_path):
    out = make_result().save(tmp_path / "out", figures=False)
    before = content(out)
    for attempt in (lambda: claim_output(out), lambda: make_result(seed=1).save(out)):
        with pytest.raises(UsageError, match="already holds a result") as caught:
            attempt()
        assert caught.value.exit_code == 2
        assert "--overwrite" in str(caught.value.hint)
    assert content(out) == before


@pytest.mark.parametrize("name", ["config.yaml", "edges.csv", "report.html"])
def test_a_file_of_the_user_that_would_be_replaced_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=name):
        claim_output(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_other_files_in_the_folder_do_not_matter(make_result, tmp_path):
    (tmp_path / "spikefit.log").write_text("started")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoints").mkdir()
    make_result().save(claim_output(tmp_path), figures=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_overwrite_and_resume_pass_and_keep_the_earlier_result(make_result, tmp_path):
    out = make_result().save(tmp_path / "out", figures=False)
    before = content(out)
    assert claim_output(out, overwrite=True) == out
    assert claim_output(str(out), resume=True) == out
    assert content(out) == before


def test_a_claim_sweeps_what_killed_runs_left(tmp_path):
    (tmp_path / ".edges.1a2b3c4d.partial.csv").write_text("half")
    (tmp_path / ".new-1a2b3c4d.partial").mkdir()
    (tmp_path / ".new-1a2b3c4d.partial" / "edges.csv").write_text("half")
    (tmp_path / ".hidden").write_text("mine")
    claim_output(tmp_path)
    assert content(tmp_path) == {".hidden": b"mine"}


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="is a file; results need a folder"):
        claim_output(tmp_path / "taken")
    with pytest.raises(UsageError, match="part of this path is a file"):
        claim_output(tmp_path / "taken" / "out")
    with pytest.raises(UsageError, match="too long"):
        claim_output(tmp_path / ("x" * 300))


@contextlib.contextmanager
def without_rights():
    """Drop the rights of the superuser for a while: they would make every folder writable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only_folder(make_result, tmp_path):
    for part in (tmp_path, *tmp_path.parents):  # others must be able to walk in
        if part.stat().st_uid == os.geteuid() and part != Path("/"):
            part.chmod(part.stat().st_mode | 0o055)
    out = make_result().save(tmp_path / "out", figures=False)
    out.chmod(0o555)
    yield out
    out.chmod(0o755)


def test_a_read_only_folder_is_refused_before_the_work(make_result, read_only_folder):
    before = content(read_only_folder)
    with without_rights():
        with pytest.raises(UsageError, match="cannot be written to") as caught:
            claim_output(read_only_folder, overwrite=True)
        with pytest.raises(UsageError, match="cannot be written to"):
            claim_output(read_only_folder / "inside")
        with pytest.raises(UsageError, match="cannot be written to"):
            make_result(seed=1).save(read_only_folder, overwrite=True, figures=False)
        assert load_result(read_only_folder).name == "session"  # reading needs no more than reading
    assert caught.value.exit_code == 2
    assert content(read_only_folder) == before


# -- the save -------------------------------------------------------------------------------------------------------


def test_overwriting_replaces_all_and_clears_what_has_gone_stale(make_result, tmp_path, assert_same):
    report = {"report.html": lambda path: path.write_text("old")}
    out = make_result().save(tmp_path / "out", figures=("png", "svg"), further=report)
    assert (out / "report.html").read_text() == "old"
    new = make_result(4, 0, seed=5, parameters={})
    new.save(out, overwrite=True, figures=False)
    assert_same(load_result(out), new)
    assert sorted(content(out)) == [
        "config.yaml",
        "connectivity.h5",
        "edges.csv",
        "metrics.json",
        "provenance.json",
        "units.csv",
    ]


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
CALLS = ["os.fsync", "os.replace", "pathlib.Path.write_bytes", "pathlib.Path.write_text", "pathlib.Path.mkdir"]


@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_fills_leaves_the_earlier_result_as_it_was(make_result, tmp_path, monkeypatch, call):
    out = make_result().save(tmp_path / "out", figures=False)
    before = content(out)

    def full(*_args, **_kwargs):
        raise FULL

    monkeypatch.setattr(call, full)
    with pytest.raises(SpikefitError, match="disk is full") as caught:
        make_result(seed=1).save(out, overwrite=True, figures=False)
    monkeypatch.undo()
    assert str(out) in caught.value.message
    assert content(out) == before


@pytest.mark.parametrize("n_calls", range(1, 9))
def test_a_write_that_fails_at_any_file_leaves_a_whole_result(make_result, tmp_path, monkeypatch, assert_same, n_calls):
    old, new = make_result(), make_result(seed=1, config={"model": {"bin": "5ms"}})
    out = old.save(tmp_path / "out", figures=False)
    before = content(out)
    real, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == n_calls:
            raise FULL
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    if n_calls <= 7:
        with pytest.raises(SpikefitError, match="disk is full"):
            new.save(out, overwrite=True, figures=False)
    else:
        new.save(out, overwrite=True, figures=False)  # seven files: the eighth call never comes
    monkeypatch.undo()
    assert_same(load_result(out), old if n_calls <= 7 else new)
    assert n_calls > 7 or content(out) == before


def test_files_that_were_not_there_before_go_again(make_result, tmp_path, monkeypatch):
    old = make_result(parameters={})
    out = old.save(tmp_path / "out", figures=False)
    before, real = content(out), os.replace

    def failing(source, target):
        if target.name == "connectivity.h5":
            raise FULL
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(SpikefitError, match="disk is full"):
        make_result().save(out, overwrite=True, figures=False)
    monkeypatch.undo()
    assert content(out) == before


def test_without_hard_links_the_reader_is_told_of_files_of_another_save(make_result, tmp_path, monkeypatch):
    old, new = make_result(), make_result(seed=1, config={"model": {"bin": "5ms"}})
    out = old.save(tmp_path / "out", figures=False)
    real, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise FULL
        real(source, target)

    def no_links(*_args):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "replace", failing)
    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(SpikefitError, match="disk is full"):
        new.save(out, overwrite=True, figures=False)
    monkeypatch.undo()
    warnings = load_result(out).warnings
    assert warnings[:-1] == old.warnings
    assert warnings[-1].startswith("config.yaml, edges.csv beside connectivity.h5 are not as this result wrote them")


def test_a_really_full_disk_is_told_and_survived(make_result, tmp_path):
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("mounting a small disk needs the superuser of a Linux machine")
    tmp_path.joinpath("disk").mkdir()
    disk = tmp_path / "disk"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine may not mount a small disk")
    try:
        out = make_result(n_bins=10).save(disk / "out", figures=False)
        before = content(out)
        with pytest.raises(SpikefitError, match="disk is full"):
            make_result(40, 2).save(out, overwrite=True, figures=False)
        assert content(out) == before
        assert load_result(out).n_visible == 6
        (disk / "filler").write_bytes(b"x" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
        with pytest.raises(SpikefitError, match="disk is full"):
            claim_output(out, overwrite=True)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_result(
    make_result, tmp_path, monkeypatch, caplog, assert_same
):
    def broken(*_args):
        raise RuntimeError("no font")

    monkeypatch.setattr("spikefit.plots.plot_connectivity", broken)
    result = make_result()
    out = result.save(tmp_path / "out")
    assert_same(load_result(out), result)
    assert not (out / "connectivity.png").exists()
    assert (out / "training.png").exists()
    assert "connectivity could not be drawn" in caplog.text


def test_an_unknown_figure_format_is_refused_before_anything_is_written(make_result, tmp_path):
    with pytest.raises(UsageError, match="'jpeg'"):
        make_result().save(tmp_path / "out", figures=("jpeg",))
    assert not (tmp_path / "out").exists()


# -- kills ----------------------------------------------------------------------------------------------------------


def save_for_ever(results, out, saved) -> None:
    while True:
        for result in results:
            result.save(out, overwrite=True, figures=False)
            saved.send(None)


def test_killed_at_any_moment_what_is_read_is_one_whole_result(make_result, tmp_path, assert_same):
    results = [make_result(12, 1, seed=seed, name=f"seed {seed}") for seed in (1, 2)]
    expected = {result.name: result for result in results}
    rng, out = random.Random(7), tmp_path / "out"
    processes = multiprocessing.get_context("fork")
    seen, refusals, a_save_s = [], [], 0.1
    for turn in range(24):
        told, saved = processes.Pipe(duplex=False)
        saver = processes.Process(target=save_for_ever, args=(results, out, saved), daemon=True)
        saver.start()
        if turn >= 4:  # the first ones are killed within their first save
            told.recv()
            started = time.perf_counter()
            told.recv()
            a_save_s = time.perf_counter() - started
        time.sleep(rng.uniform(0.0, 1.2 * a_save_s))
        saver.kill()
        saver.join()
        try:
            loaded = load_result(out)
        except ResultError as fault:
            refusals.append((len(seen), fault.message))
            continue
        warned = [text for text in loaded.warnings if "not as this result wrote" in text]
        assert len(warned) <= 1
        if not warned:
            assert_same(loaded, expected[loaded.name])
        seen.append(loaded.name)
    assert len(seen) >= 20
    assert set(seen) == set(expected)
    for n_seen, message in refusals:  # only before the first save is complete may there be nothing
        assert n_seen == 0, message
        assert any(words in message for words in ("half a result", "not a result folder", "no such"))
    # What the kills left behind is swept away by the next save.
    make_result().save(out, overwrite=True, figures=False)
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
