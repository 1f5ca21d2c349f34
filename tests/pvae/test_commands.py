"""The commands on a small recording: files, scores, and what they refuse."""

import json

import h5py
import numpy as np
import pytest

from spikefit import pvae_pipeline
from spikefit.cli.main import cli
from spikefit.results.latents import ABOUT, load_latents
from spikefit.simulated_files import write_nwb

FLAGS = [
    "--bin",
    "20ms",
    "--latents",
    "3",
    "--width",
    "16",
    "--context",
    "100ms",
    "--smoothing",
    "60ms",
    "--max-epochs",
    "12",
    "--unit-dropout",
    "0.3",
]


@pytest.fixture(scope="session")
def invoke_pvae():
    from click.testing import CliRunner

    return lambda *args: CliRunner().invoke(cli, ["pvae", *(str(arg) for arg in args)])


@pytest.fixture(scope="session")
def folder(session, tmp_path_factory, invoke_pvae):
    """A folder with `one.nwb`, `two.nwb`, `few.nwb` (u0 to u3 only) and the model `out` of one and two."""
    place = tmp_path_factory.mktemp("pvae")
    write_nwb(session("one"), place / "one.nwb", description="a test", seed=0)
    write_nwb(session("two", seed=1), place / "two.nwb", description="a test", seed=1)
    write_nwb(session("few", n_units=4), place / "few.nwb", description="a test", seed=2)
    done = invoke_pvae("fit", place / "one.nwb", place / "two.nwb", "-o", place / "out", *FLAGS, "-q")
    assert done.exit_code == 0, done.output
    return place


def test_a_fit_leaves_its_files(folder):
    names = {path.name for path in (folder / "out").iterdir()}
    assert {
        "config.yaml", "provenance.json", "metrics.json", "spikefit.log", "model.safetensors", "latents.h5", "report.html",
        "latents.png", "decoder.png", "reconstruction.png", "activity.png", "training.png",
    } == names  # fmt: skip
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert metrics["n_sessions"] == 2
    assert metrics["heldout_iwae_per_bin"] >= metrics["heldout_elbo_per_bin"]
    assert metrics["co_bps"] > 0.2
    assert metrics["co_bps_decoder"] > 0.2
    assert len(metrics["co_bps_quartiles"]) == 3
    with h5py.File(folder / "out" / "latents.h5") as file:
        for key in ABOUT.keys() & file.keys():
            assert set(file[key].attrs) >= {"dims", "units", "description"}, key
        assert file["expected_count"].shape == (6000, 3)
        assert np.bincount(file["session"][()]).tolist() == [3000, 3000]


def test_a_finished_fit_is_not_replaced_by_going_on(folder, invoke_pvae):
    bytes_then = (folder / "out" / "latents.h5").read_bytes()
    told = invoke_pvae("fit", folder / "one.nwb", "-o", folder / "out", *FLAGS, "-q", "--resume")
    assert told.exit_code == 2
    assert "holds a finished fit (latents.h5) and no checkpoint to go on from" in told.output
    assert (folder / "out" / "latents.h5").read_bytes() == bytes_then


def test_the_page_holds_its_pictures_and_nothing_foreign(folder):
    page = (folder / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http://" not in page
    assert "https://" not in page


def test_encoding_gives_the_latents_of_the_fit_in_every_format(folder, invoke_pvae):
    known = load_latents(folder / "out")
    for ending in ("h5", "npz", "nwb"):
        place = folder / f"latents.{ending}"
        done = invoke_pvae("encode", folder / "out", folder / "two.nwb", "-o", place, "--posterior-draws", 2, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["n_bins"] == 3000
        assert invoke_pvae("encode", folder / "out", folder / "two.nwb", "-o", place).exit_code == 2
    np.testing.assert_array_equal(load_latents(folder / "latents.h5").expected_count, known.expected_count[3000:])
    with np.load(folder / "latents.npz") as arrays:
        np.testing.assert_array_equal(arrays["expected_count"], known.expected_count[3000:])
        assert arrays["counts"].shape == (2, 3000, 3)
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(folder / "latents.nwb", "r") as io:
        series = io.read().processing["latents"]["latents"]
        np.testing.assert_array_equal(series.data[()], known.expected_count[3000:])
        assert series.rate == pytest.approx(50)


def test_gaps_are_kept(folder):
    from spikefit.config import Config

    made = pvae_pipeline.encode(folder / "out", folder / "one.nwb", config=Config().replace(interval=["0:10", "20:30"]))
    assert made.arrays["segment"].tolist() == [0] * 500 + [1] * 500
    np.testing.assert_allclose(made.time_s[[0, 500]], [0, 20])


def test_scores_stand_beside_baselines(folder, invoke_pvae):
    angle = folder / "angle.csv"
    time_s = np.arange(0, 60, 0.05)
    angle.write_text("time_s,angle\n" + "".join(f"{t},{2 * np.pi * t / 1.3}\n" for t in time_s))
    done = invoke_pvae(
        "score", folder / "out", folder / "one.nwb", "--json", "--predict", "u0,u1", "--few-shot", "5s", "--covariate", angle,
        "--circular",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["held_out_units"] == ["u0", "u1"]
    # GPFA stands beside them where elephant is installed, and a sentence where it is not.
    assert set(found["baselines"]) - {"gpfa"} == {"smoothing", "factor_analysis"}
    assert ("gpfa" in found["baselines"]) != any("elephant is not installed" in note for note in found["notes"])
    assert all(row["co_bps"] > 0.2 for row in found["baselines"].values())
    assert found["co_bps"] > 0.2
    assert found["few_shot"]["seconds"] == 5
    assert found["n_latents"] == 3
    assert 0 < found["lifetime_sparsity"] < 1
    assert 0 < found["population_sparsity"] < 1
    assert found["decoding_r2"]["pvae"] > 0.3  # the sine alone drives the units
    assert "Poisson VAE" in invoke_pvae("score", folder / "out", folder / "one.nwb").stdout


def test_a_covariate_of_the_recording_is_decoded_by_its_name(folder, session):
    import dataclasses

    from spikefit.covariates import Covariate, Samples
    from spikefit.errors import UsageError

    time_s = np.arange(0, 60, 0.05)
    angle = np.rad2deg(2 * np.pi * time_s / 1.3)[:, None] % 360

    def phase(values):
        return Covariate("phase", time_s.size, ("phase",), "degrees", lambda: Samples(time_s, values))

    held = phase(angle)
    trains = dataclasses.replace(session("one"), covariates={"phase": held})
    found = pvae_pipeline.score(folder / "out", trains, covariate="phase", with_baselines=False)
    assert found["decoding_r2"]["pvae"] > 0.3
    shifted = phase(np.random.default_rng(0).permutation(angle))
    found = pvae_pipeline.score(
        folder / "out",
        dataclasses.replace(trains, covariates={"phase": shifted}),
        covariate="phase",
        with_baselines=False,
    )
    assert found["decoding_r2"]["pvae"] < 0.1
    with pytest.raises(UsageError, match=r"no covariate of that name \(it holds phase\)"):
        pvae_pipeline.score(folder / "out", trains, covariate="phas", with_baselines=False)


def test_what_does_not_fit_the_model_is_refused_with_both_values(folder, invoke_pvae):
    def told(*args):
        done = invoke_pvae(*args)
        assert done.exit_code in (2, 4), done.output
        return " ".join(done.stderr.split())

    text = told("encode", folder / "out", folder / "few.nwb", "-o", folder / "x.h5")
    assert "lacks 2 of the model's 6 units (first: 'u4')" in text
    done = invoke_pvae("encode", folder / "out", folder / "few.nwb", "-o", folder / "x.h5", "--allow-missing")
    assert done.exit_code == 0
    text = told("encode", folder / "out", folder / "one.nwb", "-o", folder / "y.h5", "--bin", "10ms")
    assert "the model has bins of 20 ms, asked for are 10 ms" in text
    text = told("fit", folder / "one.nwb", folder / "few.nwb", "-o", folder / "z")
    assert "few lacks 2 of the 6 units" in text
    text = told("score", folder, folder / "one.nwb")
    assert "there is no model here" in text
    text = told("encode", folder / "out", folder / "one.nwb", "-o", folder / "x.txt")
    assert "ends in .h5 or .nwb or .npz" in text
    text = told("fit", folder / "one.nwb", "-o", folder / "out")
    assert "they were left as they are" in text
    assert not (folder / "z").exists()


def test_generated_recordings_look_like_recordings(folder, invoke_pvae):
    done = invoke_pvae("generate", folder / "out", "-o", folder / "drawn.nwb", "--duration", "20s", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["duration_s"] == 20
    assert 6 < made["mean_rate_hz"] < 40
    from spikefit.loaders import read

    assert read(folder / "drawn.nwb").unit_ids == tuple(f"u{k}" for k in range(6))


@pytest.mark.parametrize("recording", ["gone.nwb", "https://nowhere.invalid/one.nwb"])
def test_a_recording_that_is_no_file_here_is_not_taken_for_the_latents_that_are(recording, tmp_path):
    from spikefit.errors import ResultError

    out = tmp_path / "latents.h5"
    out.touch()
    with pytest.raises(ResultError, match="no model"):
        pvae_pipeline.encode(tmp_path / "no model", recording, out, overwrite=True)
