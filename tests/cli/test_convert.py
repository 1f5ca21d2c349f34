import json

import h5py
import numpy as np
import pytest

from spikefit.loaders import read


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            file[f"spike_times/{name}"] = np.linspace(1, 90, 200)
    return path


def test_a_clean_copy_is_written_and_told_of(invoke, source, tmp_path):
    out = tmp_path / "clean.h5"
    outcome = invoke("convert", source, out, "--units", "a")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout == f"{out} (hdf5): 1 units, 1 left out, 200 spikes, 89.0 s observed\n"
    assert "warning: " in outcome.stderr
    assert read(out).unit_ids == ("a",)
    again = invoke("convert", source, out)
    assert again.exit_code == 2
    assert "left as it is" in again.stderr
    made = json.loads(invoke("convert", source, out, "--overwrite", "--json").stdout)
    assert (made["n_units"], made["format"]) == (2, "hdf5")
    assert invoke("convert", source, out, "--overwrite", "-q").output == ""


def test_a_name_without_a_known_ending_is_refused(invoke, source, tmp_path):
    outcome = invoke("convert", source, tmp_path / "clean.txt")
    assert outcome.exit_code == 2
    assert "clean.nwb" in outcome.stderr
    assert invoke("convert", tmp_path / "gone.nwb", tmp_path / "x.nwb").exit_code == 4
