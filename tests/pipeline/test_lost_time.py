"""A unit that is lost for half of a recording, from the command line to the files that are left."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import spikefit
from spikefit.batching.known import _same_tables
from spikefit.cli.main import cli
from spikefit.errors import UsageError
from spikefit.exporters import recording_nwb
from spikefit.results import Result
from spikefit.spikes import SpikeTrains

BIN_S, N_BINS, N_UNITS = 0.01, 20_000, 4
WEIGHT = 1.5  # drive that a spike of unit a adds to unit b, one bin later


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four units at about 5 Hz, of which a drives b, seen for 200 s."""
    rng = np.random.default_rng(11)
    counts = np.zeros((N_BINS, N_UNITS), dtype=np.int64)
    rest = np.full(N_UNITS, np.log(np.expm1(0.05)))
    for t in range(1, N_BINS):
        drive = rest.copy()
        drive[1] += WEIGHT * counts[t - 1, 0]
        counts[t] = rng.poisson(np.logaddexp(0, drive))
    trains = {}
    for unit, name in enumerate("abcd"):
        bins = np.repeat(np.arange(N_BINS), counts[:, unit])
        trains[name] = np.sort((bins + rng.uniform(0.01, 0.99, bins.size)) * BIN_S)
    path = tmp_path_factory.mktemp("lost") / "session.nwb"
    recording_nwb.write(SpikeTrains.from_trains(trains, intervals_s=[[0, N_BINS * BIN_S]]), path)
    return path


def run(*words: object) -> str:
    outcome = CliRunner().invoke(cli, [str(word) for word in words])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


@pytest.mark.slow
def test_a_unit_lost_for_half_the_time(recording: Path, tmp_path: Path) -> None:
    table = tmp_path / "lost.csv"
    table.write_text("unit_id,start_s,stop_s\nb,100,200\n")
    shown = json.loads(run("inspect", recording, "--lost-time", table, "--json"))["units"]
    assert [unit["lost_share"] for unit in shown] == pytest.approx([0, 0.5, 0, 0])
    common = (
        "--bin",
        "10ms",
        "--window",
        "50ms",
        "--functions",
        "3",
        "--common-drive",
        "off",
        "--figures",
        "none",
        "--significance",
        "none",
    )
    fits = {}
    for name, flags in (("whole", ()), ("lost", ("--lost-time", table))):
        run("infer", recording, "-o", tmp_path / name, *common, *flags, "--quiet")
        fits[name] = Result.load(tmp_path / name)
    whole, lost = fits["whole"], fits["lost"]
    # Within four standard errors of the fit to everything, which has half of its data in common with this one.
    error = lost.std_error[1, 0]
    assert abs(lost.connectivity[1, 0] - whole.connectivity[1, 0]) < 4 * error
    assert abs(lost.connectivity[1, 0] - WEIGHT) < 4 * error
    assert lost.connectivity[1, 0] > 3 * error
    assert error == pytest.approx(np.sqrt(2) * whole.std_error[1, 0], rel=0.15)
    # Its baseline is that of its own bins: silence in the lost half would take log 2 from it.
    assert abs(lost.baseline[1] - whole.baseline[1]) < 0.25
    with (tmp_path / "lost" / "units.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert float(rows["b"]["observed_s"]) == pytest.approx(100)
    assert float(rows["a"]["observed_s"]) == pytest.approx(200)
    assert float(rows["b"]["rate_hz"]) == pytest.approx(int(rows["b"]["n_spikes"]) / 100)
    assert any("lost.csv: 1 of 4 units are lost" in text for text in lost.warnings)


def test_another_table_of_the_same_name_is_another_result(
    simulated: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    table = tmp_path / "lost.csv"
    unit = spikefit.read(simulated).unit_ids[0]
    table.write_text(f"unit_id,start_s,stop_s\n{unit},10,20\n")
    settings = {"lost_time": str(table), "hidden": 0, "figures": "none", "significance": "none", **tiny}
    fit = spikefit.infer(simulated, tmp_path / "out", **settings)
    assert fit.provenance["lost_time_file"]["path"] == str(table)
    assert _same_tables(fit)
    again = spikefit.infer(simulated, tmp_path / "out", resume=True, **settings)
    np.testing.assert_array_equal(again.connectivity, fit.connectivity)
    table.write_text(f"unit_id,start_s,stop_s\n{unit},10,25\n")
    assert not _same_tables(fit)
    with pytest.raises(UsageError, match="the table of lost time: not the one of then"):
        spikefit.infer(simulated, tmp_path / "out", resume=True, **settings)
