"""What is not a result, half of one, newer or damaged is refused in words."""

from __future__ import annotations

import random
import shutil

import h5py
import numpy as np
import pytest

from spikefit.errors import ResultError
from spikefit.results import load_result


@pytest.fixture(autouse=True)
def _skip_the_disk(monkeypatch):
    """Flushing to the disk is tested elsewhere; here it would only take time."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("spikefit.plots.style.DPI", 40)


@pytest.fixture
def out(make_result, tmp_path):
    return make_result().save(tmp_path / "out", figures=False)


def refusal(path) -> str:
    with pytest.raises(ResultError) as caught:
        load_result(path)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value.message


def test_nothing_there(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "none")


def test_some_other_folder_lists_what_it_holds(tmp_path):
    assert "it is empty" in refusal(tmp_path)
    (tmp_path / "session.nwb").write_bytes(b"")
    assert "found: session.nwb" in refusal(tmp_path)


def test_a_folder_of_results_names_them(out, tmp_path):
    message = refusal(tmp_path)
    assert "holds 1 (out)" in message


def test_half_a_result(out):
    (out / "connectivity.h5").unlink()
    message = refusal(out)
    assert "half a result" in message
    assert "no connectivity.h5" in message


def test_a_recording_is_recognised(tmp_path):
    with h5py.File(tmp_path / "session.nwb", "w") as file:
        file.create_group("units")
        file.create_group("acquisition")
    with pytest.raises(ResultError, match="not a result of spikefit") as caught:
        load_result(tmp_path / "session.nwb")
    assert "/acquisition" in caught.value.message
    assert "looks like a recording" in str(caught.value.hint)


def test_what_is_not_hdf5(tmp_path):
    (tmp_path / "connectivity.h5").write_bytes(b"not HDF5 at all")
    assert "not HDF5" in refusal(tmp_path)
    (tmp_path / "connectivity.h5").write_bytes(b"")
    assert "empty" in refusal(tmp_path)


def test_a_newer_format_is_refused_and_a_newer_minor_one_is_read(out, make_result):
    with h5py.File(out / "connectivity.h5", "a") as file:
        file.attrs["format_minor"] = 3
        file["something_new"] = np.zeros(3)
        file.attrs["content_sha256"] = "made by other rules"
    assert load_result(out).unit_id == make_result().unit_id
    with h5py.File(out / "connectivity.h5", "a") as file:
        file.attrs["format_version"] = 2
        file.attrs["generator"] = "spikefit 9.1"
    message = refusal(out)
    assert "spikefit 9.1" in message
    assert "format 2" in message


def test_numbers_that_were_changed_are_noticed(out):
    with h5py.File(out / "connectivity.h5", "a") as file:
        file["connectivity"][0, 1] += 1e-9
    assert "changed since it was written" in refusal(out)


@pytest.mark.parametrize("name", ["connectivity", "unit_id", "units/kept", "lag_s"])
def test_a_missing_dataset_is_named(out, name):
    with h5py.File(out / "connectivity.h5", "a") as file:
        del file[name]
    assert f"/{name} is missing" in refusal(out)


def test_datasets_that_lie_elsewhere_are_not_followed(out, tmp_path):
    shutil.copy(out / "connectivity.h5", tmp_path / "other.h5")
    with h5py.File(out / "connectivity.h5", "a") as file:
        del file["connectivity"]
        file["connectivity"] = h5py.ExternalLink(tmp_path / "other.h5", "connectivity")
    assert "/connectivity is not a dataset of this file" in refusal(out)
    (tmp_path / "secret.txt").write_bytes(b"x" * 512)
    with h5py.File(out / "connectivity.h5", "a") as file:
        del file["connectivity"]
        file.create_dataset("connectivity", (8, 8), "f8", external=[(str(tmp_path / "secret.txt"), 0, 512)])
    assert "/connectivity is not a dataset of this file" in refusal(out)


def test_a_shape_that_does_not_fit_is_named(out):
    with h5py.File(out / "connectivity.h5", "a") as file:
        del file["baseline"]
        file["baseline"] = np.zeros(3)
    assert "/baseline has shape (3,), expected (8,)" in refusal(out)


def test_truncated_anywhere_it_is_refused(out):
    image = (out / "connectivity.h5").read_bytes()
    for share in (0.05, 0.3, 0.6, 0.9, 0.999):
        (out / "connectivity.h5").write_bytes(image[: int(len(image) * share)])
        assert "cannot be read" in refusal(out)


def test_flipped_bytes_are_refused_or_make_no_difference(out, make_result, assert_same):
    image = (out / "connectivity.h5").read_bytes()
    expected, rng = make_result(), random.Random(3)
    n_refused = 0
    for _ in range(150):
        broken = bytearray(image)
        for _ in range(rng.choice([1, 1, 8])):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        (out / "connectivity.h5").write_bytes(broken)
        try:
            loaded = load_result(out)
        except ResultError:
            n_refused += 1
        else:
            assert_same(loaded, expected)  # a byte that nothing depends on, such as a description
    assert n_refused > 75


def test_files_of_another_save_are_pointed_out_and_deleted_ones_are_not(out, make_result, tmp_path, assert_same):
    other = make_result(seed=1).save(tmp_path / "other", figures=False)
    shutil.copy(other / "edges.csv", out / "edges.csv")
    warnings = load_result(out).warnings
    assert warnings[0] == "1 unit has fewer than 50 spikes"
    assert warnings[1].startswith("edges.csv beside connectivity.h5 is not as this result wrote it")
    (out / "edges.csv").unlink()
    assert_same(load_result(out), make_result())
    # A connectivity.h5 on its own, mailed to a colleague, is whole.
    shutil.copy(out / "connectivity.h5", tmp_path / "mailed.h5")
    assert_same(load_result(tmp_path / "mailed.h5"), make_result())
