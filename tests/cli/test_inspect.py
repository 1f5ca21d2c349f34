import json

import h5py
import numpy as np
import pytest


@pytest.fixture
def recording(tmp_path):
    """Three units in a plain file, one of them silent, with two epochs' worth of spikes."""
    path = tmp_path / "made_up.h5"
    random = np.random.default_rng(4)
    with h5py.File(path, "w") as file:
        for name, n_spikes in (("a", 200), ("[b]", 60), ("silent", 0)):
            file[f"spike_times/{name}"] = np.sort(random.uniform(0.0, 60.0, n_spikes))
    return path


def test_the_table_shows_units_bins_and_what_is_dropped(invoke, recording):
    outcome = invoke("inspect", recording)
    assert outcome.exit_code == 0, outcome.output
    out = outcome.stdout
    assert "3 units, 2 of them would be used; 260 spikes" in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("[b] ")]
    assert (row[1], row[-1]) == ("60", "yes")
    (row,) = [line for line in out.splitlines() if line.startswith("silent ")]
    assert row.endswith("no: no spikes in the chosen time")
    assert "← suits these rates" in out


def test_json_is_one_object_with_the_fields_promised(invoke, recording):
    outcome = invoke("inspect", recording, "--json")
    found = json.loads(outcome.stdout)
    assert {
        "format",
        "n_units",
        "n_spikes",
        "t_start_s",
        "t_stop_s",
        "intervals_s",
        "epochs",
        "units",
        "warnings",
    } <= found.keys()
    assert {"id", "n_spikes", "rate_hz", "first_spike_s", "last_spike_s", "kept", "reason"} <= found["units"][0].keys()
    assert outcome.stderr == ""


def test_covariates_are_listed_and_those_left_out_are_told(invoke, recording):
    with h5py.File(recording, "a") as file:
        file["covariates/speed/values"] = np.arange(600.0)
        file["covariates/speed/time_s"] = np.arange(600) / 10
        file["covariates/image"] = np.zeros((3, 4, 5))
    outcome = invoke("inspect", recording)
    (row,) = [line for line in outcome.stdout.splitlines() if line.startswith("speed ")]
    assert row.split()[:4] == ["speed", "600", "speed", "–"]
    assert "≈ 10" in row
    assert "0.000 – 59.900" in row
    assert "warning: not offered as a covariate: made_up.h5: /covariates/image has shape (3, 4, 5)" in outcome.stdout
    found = json.loads(invoke("inspect", recording, "--json", "--covariates", "fast=/covariates/speed").stdout)
    assert [row["name"] for row in found["covariates"]] == ["speed", "fast"]
    assert found["covariates"][0]["shape"] == [600, 1]
    wrong = invoke("inspect", recording, "--covariates", "fast=/covariates/sped")
    assert wrong.exit_code == 2
    assert "there is nothing at '/covariates/sped'" in wrong.stderr


def test_flags_choose_a_part(invoke, recording):
    found = json.loads(invoke("inspect", recording, "--interval", ":30", "--min-spikes", "70", "--json").stdout)
    assert found["t_stop_s"] == 30.0
    assert [unit["kept"] for unit in found["units"] if unit["id"] == "[b]"] == [False]


def test_quiet_prints_nothing(invoke, recording):
    assert invoke("inspect", recording, "-q").output == ""


def test_real_recordings_are_shown_as_they_are(invoke, recordings, expected):
    for name, known in expected.items():
        found = json.loads(invoke("inspect", recordings / f"{name}.nwb", "--json").stdout)
        assert found["n_units"] == len(found["units"])
        assert found["n_spikes"] == sum(unit["n_spikes"] for unit in found["units"])
        assert known


def test_bad_files_leave_one_message(invoke, tmp_path):
    empty = tmp_path / "zero.nwb"
    empty.touch()
    for path in (tmp_path / "none.nwb", tmp_path, empty):
        outcome = invoke("inspect", path)
        assert outcome.exit_code == 4
        assert outcome.stderr.startswith("error: ")
        assert "  try: " in outcome.stderr
        assert outcome.stdout == ""


def test_a_picture_is_drawn(invoke, recording, tmp_path, monkeypatch):
    monkeypatch.setattr("spikefit.plots.style.DPI", 40)
    before = recording.read_bytes()
    for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        path = tmp_path / f"look.{ending}"
        outcome = invoke("inspect", recording, "--plot", path, "-q")
        assert outcome.exit_code == 0, outcome.output
        assert path.read_bytes().startswith(start)
    assert recording.read_bytes() == before
    for wrong, words in (
        (tmp_path / "look.jpeg", "expected a name that ends in .png"),
        (tmp_path / "gone" / "look.png", "there is no folder"),
    ):
        outcome = invoke("inspect", recording, "--plot", wrong)
        assert outcome.exit_code == 2
        assert words in outcome.stderr
        assert not wrong.exists()


def test_results_are_not_drawn_here(invoke, result, tmp_path):
    folder = result().save(tmp_path / "res", figures=False)
    outcome = invoke("inspect", folder, "--plot", tmp_path / "a.png")
    assert outcome.exit_code == 2
    assert "spikefit report --figures" in outcome.stderr


def test_without_settings_nothing_heavy_is_loaded(recording):
    import os
    import subprocess
    import sys

    code = (
        "import sys; from spikefit.cli.main import cli; cli(['inspect', sys.argv[1], *sys.argv[2:]], standalone_mode=False);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )

    def loaded(*flags):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPIKEFIT_")}
        run = subprocess.run(
            [sys.executable, "-c", code, str(recording), *flags],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        return set(run.stderr.splitlines()[-1].split())

    heavy = {"torch", "pydantic", "pynwb", "scipy", "matplotlib", "yaml", "jinja2", "networkx", "pandas", "neo"}
    assert not loaded() & heavy
    assert "pydantic" in loaded("--min-spikes", "2")


def test_settings_are_the_same_with_and_without_the_models(invoke, recording, monkeypatch):
    plain = invoke("inspect", recording, "--json").stdout
    monkeypatch.setenv("SPIKEFIT_CLIP", "false")
    assert invoke("inspect", recording, "--json").stdout == plain
