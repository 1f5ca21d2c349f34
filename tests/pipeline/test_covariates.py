"""Covariates from a file to a result and back: recorded, found again, and refused once they have changed."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import spikefit
from spikefit.errors import UsageError
from spikefit.recovery.run import recover
from spikefit.reopening import reopen
from spikefit.report import report_html


def write(folder: Path, *, scale: float = 1.0) -> tuple[Path, Path]:
    """A recording of three units over 20 s, and a table of speeds."""
    rng = np.random.default_rng(3)
    with h5py.File(folder / "session.h5", "w") as file:
        for unit in ("a", "b", "c"):
            file[f"spike_times/{unit}"] = np.sort(rng.uniform(0, 20, 150))
    time_s = np.arange(0, 20, 0.05)
    np.savetxt(
        folder / "speed.csv",
        np.c_[time_s, scale * np.abs(np.sin(time_s)) + 0.1 * rng.random(time_s.size)],
        delimiter=",",
        header="time_s,speed (cm/s)",
        comments="",
    )
    return folder / "session.h5", folder / "speed.csv"


def test_from_a_table_to_a_result_and_back(tmp_path: Path) -> None:
    session, table = write(tmp_path)
    settings = {"bin": "20ms", "window": "40ms", "functions": 2, "t_start": 0, "t_stop": 20, "device": "cpu"}
    fit = spikefit.infer(
        session,
        tmp_path / "out",
        covariates={"speed": str(table)},
        with_covariates="speed,drift=b-spline:3",
        **settings,
    )
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [row["name"] for row in told["covariates"]] == ["speed", "drift"]
    assert told["covariates"][0]["unit"] == "cm/s"
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert set(provenance["covariate_files"]) == {"speed"}
    assert len(provenance["covariate_files"]["speed"]["sha256"]) == 64
    with h5py.File(tmp_path / "out" / "connectivity.h5") as file:
        assert file["covariates/weights"].shape == (3, 4)
        assert file["covariates/weights"].attrs["dims"] == "post, column"
        assert {"dims", "units", "description"} <= set(file["covariates/curve_drive"].attrs)
    page = report_html(fit)
    assert "Each unit also listens to speed, drift." in page
    assert page.count("strongest in") == 2
    again = reopen(spikefit.load_result(tmp_path / "out"))
    assert again.covariates is not None
    assert again.covariates.names == fit.covariates.column
    recovery = recover(fit, lengths=(1.0,), seeds=1, hidden=())
    assert any("speed, drift stand at their mean" in note for note in recovery.notes)

    write(tmp_path, scale=2.0)
    with pytest.raises(UsageError, match="the covariate 'speed' is not what session was fitted with"):
        reopen(spikefit.load_result(tmp_path / "out"))


def test_a_batch_fits_again_where_a_table_has_changed(tmp_path: Path) -> None:
    from spikefit.batching.known import _same_tables

    session, table = write(tmp_path)
    settings = {"bin": "20ms", "window": "40ms", "functions": 2, "t_start": 0, "t_stop": 20, "device": "cpu"}
    spikefit.infer(session, tmp_path / "out", covariates={"speed": str(table)}, with_covariates="speed", **settings)
    result = spikefit.load_result(tmp_path / "out")
    assert _same_tables(result)
    write(tmp_path, scale=2.0)
    assert not _same_tables(result)
    table.unlink()
    assert not _same_tables(result)


def test_a_batch_fits_again_where_the_table_of_pairs_has_changed(tmp_path: Path) -> None:
    from spikefit.batching.known import _same_tables

    session, _ = write(tmp_path)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("pre_id,post_id,rule\na,b,forbidden\n", encoding="utf-8")
    settings = {"bin": "20ms", "window": "40ms", "functions": 2, "t_start": 0, "t_stop": 20, "device": "cpu"}
    spikefit.infer(session, tmp_path / "out", pair_mask=str(pairs), **settings)
    result = spikefit.load_result(tmp_path / "out")
    assert _same_tables(result)
    pairs.write_text("pre_id,post_id,rule\na,c,forbidden\n", encoding="utf-8")
    assert not _same_tables(result)


def test_a_dry_run_tells_of_the_covariates(tmp_path: Path) -> None:
    session, table = write(tmp_path)
    config = spikefit.Config().replace(
        covariates={"speed": str(table)}, with_covariates="speed,drift", t_start=0, t_stop=20, bin="20ms"
    )
    (job,) = spikefit.pipeline.plan(session, config=config).jobs
    assert job.covariates == ("speed (linear)", "drift (b-spline)")
    assert job.n_covariate_columns == 6
    assert any(
        "speed (linear), drift (b-spline): 6 columns" in line
        for line in spikefit.pipeline.plan(session, config=config).lines()
    )
