"""Nulls by pairs of types in whole runs: a column of a file or a table in, figures in every place where results are kept out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import spikefit
from spikefit.cli.main import cli
from spikefit.errors import UsageError
from spikefit.exporters import recording_nwb
from spikefit.fitted import fit_settings
from spikefit.fitted.looks import ATTENUATION
from spikefit.plots.activity import DISPERSION
from spikefit.report import report_html
from spikefit.results.json_schema import METRICS_SCHEMA
from spikefit.results.tables import FIT_COLUMNS, kept_as
from spikefit.simulate import random_network, simulate
from spikefit.spikes import SpikeTrains

N, HALF, BIN_S = 20, 10, 0.01
SETTINGS: dict[str, Any] = {
    "bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "threads": 1, "restarts": 1, "max_epochs": 2, "draws": 1,
}  # fmt: skip
AREAS = ("CA1",) * HALF + ("CA3",) * HALF


@pytest.fixture(scope="module")
def trains() -> SpikeTrains:
    """Twenty units in two areas for 120 s, and one that is silent."""
    network = random_network(n_visible=N, n_drivers=0, seed=6, bin_width_s=BIN_S, window_s=0.05, rate_hz=12.0)
    counts = simulate(network, duration_s=120, seed=6).visible_counts
    rng = np.random.default_rng(6)
    spikes = {}
    for k, unit in enumerate(counts.unit_ids):
        n = counts.counts[:, k].astype(int)
        spikes[unit] = np.sort(np.repeat(np.arange(counts.n_bins) * BIN_S, n) + rng.uniform(1e-4, 0.0098, n.sum()))
    columns = {"area": np.array([*AREAS, ""], dtype=object)}
    return SpikeTrains.from_trains(
        {**spikes, "silent": []}, intervals_s=[[0, 120]], unit_columns=columns, name="session"
    )


@pytest.fixture(scope="module")
def session(trains: SpikeTrains, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("types") / "session.nwb"
    recording_nwb.write(trains, path)
    return path


def types_table(folder: Path, types: tuple[str, ...], ids: tuple[str, ...]) -> Path:
    path = folder / "types.csv"
    lines = [f"{unit},{kind}" for unit, kind in zip(ids, types, strict=False)]
    path.write_text("\n".join(["unit_id,type", *lines]) + "\n", encoding="utf-8")
    return path


def test_a_column_of_the_file_in_and_the_nulls_in_every_place(session: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        cli,
        [
            "infer", str(session), "-o", str(tmp_path / "out"), "--bin", "10ms", "--window", "50ms", "--functions", "2",
            "--device", "cpu", "--threads", "1", "--figures", "none", "--pair-types", "area",
        ],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "nulls by area" in ran.stdout
    assert "a coupling of the median pair would be called from" in ran.stdout
    assert [line.split()[:3] for line in ran.stdout.splitlines() if line.startswith(("CA1 ", "CA3 "))] == [
        ["CA1", "CA3", "100"], ["CA3", "CA1", "100"], ["CA1", "CA1", "90"], ["CA3", "CA3", "90"],
    ]  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["pair_types"] == "area"
    rows = metrics["null_by_type"]
    known = METRICS_SCHEMA["properties"]
    assert {"pair_types", "null_by_type", "n_edges_one_null"} <= known.keys()
    for row in rows:
        assert row["fitted_to"] == "own"
        assert row.keys() <= known["null_by_type"]["items"]["properties"].keys()
        assert set(known["null_by_type"]["items"]["required"]) <= row.keys()
        assert 0.7 < row["spread"] < 1.4  # nothing unrecorded drives these units
    result = spikefit.load_result(tmp_path / "out")
    kinds = [row.columns.get("pair_type") for row in result.units]
    assert kinds == [*AREAS, None]
    # Each pair keeps the null that it was held against.
    place = np.outer(np.array(AREAS) == "CA3", np.array(AREAS) == "CA1")  # (post, pre)
    (row,) = [row for row in rows if (row["pre_type"], row["post_type"]) == ("CA1", "CA3")]
    assert set(result.diagnostics["null_spread"][place].tolist()) == {row["spread"]}
    assert np.isfinite(result.diagnostics["tested_z"][place]).all()
    head = (tmp_path / "out" / "edges.csv").read_text().splitlines()[0].split(",")
    assert {"null_centre", "null_spread"} < set(head)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What no edge looks like, by type" in page
    assert page.count("CA1 → CA3") >= 2
    assert report_html(result).count("<figcaption>CA") == 4


def test_a_table_does_the_same_and_is_told_from_another(session: Path, trains: SpikeTrains, tmp_path: Path) -> None:
    table = types_table(tmp_path, AREAS, trains.unit_ids)
    fit = spikefit.infer(session, tmp_path / "out", pair_types=str(table), figures="none", **SETTINGS)
    column = spikefit.POGLM(pair_types="area", **SETTINGS).fit(trains.select(trains.unit_ids[:N]))
    np.testing.assert_allclose(fit.q_value, column.q_value)
    provenance = fit.provenance["pair_types_file"]
    assert provenance["path"] == str(table)
    assert len(provenance["sha256"]) == 64
    from spikefit.batching.known import _same_tables

    assert _same_tables(fit)
    again = spikefit.infer(session, tmp_path / "out", pair_types=str(table), figures="none", resume=True, **SETTINGS)
    assert again.metrics["null_by_type"] == fit.metrics["null_by_type"]
    # The twin: other types in a table of the same name are another result.
    types_table(tmp_path, AREAS[::-1], trains.unit_ids)
    assert not _same_tables(fit)
    with pytest.raises(UsageError, match="the table of types: not the one of then"):
        spikefit.infer(session, tmp_path / "out", pair_types=str(table), figures="none", resume=True, **SETTINGS)


def test_other_types_change_the_test_and_nothing_of_the_fit(trains: SpikeTrains) -> None:
    kept = trains.select(trains.unit_ids[:N])
    plain = spikefit.POGLM(**SETTINGS).fit(kept)
    typed = spikefit.POGLM(pair_types="area", **SETTINGS).fit(kept)
    np.testing.assert_array_equal(plain.connectivity, typed.connectivity)
    np.testing.assert_array_equal(plain.std_error, typed.std_error)
    assert not np.array_equal(plain.q_value, typed.q_value, equal_nan=True)
    assert "null_by_type" not in plain.metrics
    assert "tested_z" not in plain.diagnostics
    assert "by type" not in report_html(plain)


def test_pairs_of_recorded_units_are_tested_by_type_beside_hidden_ones(trains: SpikeTrains) -> None:
    fit = spikefit.POGLM(hidden=1, pair_types="area", **SETTINGS).fit(trains.select(trains.unit_ids[:N]))
    assert fit.n_hidden == 1
    assert sum(row["n_pairs"] for row in fit.metrics["null_by_type"]) == N * (N - 1)
    assert np.isfinite(fit.q_value[:N, :N]).sum() == N * (N - 1)
    assert np.isnan(fit.q_value[N:]).all()
    assert fit.diagnostics["null_spread"].shape == (N, N)
    assert "pair_type" not in fit.unit_rows[N].columns


def test_the_control_at_long_lags_is_judged_by_the_same_test(
    trains: SpikeTrains, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikefit.diagnostics import judging

    seen = []
    judge_edges = judging.judge_edges

    def watched(*values: Any, **further: Any) -> Any:
        seen.append(further["types"])
        return judge_edges(*values, **further)

    monkeypatch.setattr(judging, "judge_edges", watched)
    spikefit.POGLM(long_lags="on", pair_types="area", **SETTINGS).fit(trains.select(trains.unit_ids[:N]))
    assert seen == [AREAS, AREAS]


def test_refusals_come_before_the_work(session: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no unit column 'aera'; it has .*area"):
        spikefit.infer(session, tmp_path / "out", pair_types="aera", **SETTINGS)
    with pytest.raises(UsageError, match="no pair of types has the 90 pairs"):
        spikefit.infer(session, tmp_path / "out", pair_types="area", units="n00,n01,n02,n10,n11", **SETTINGS)
    with pytest.raises(UsageError, match="no unit column 'aera'"):
        spikefit.pipeline.plan(session, config=spikefit.Config().replace(pair_types="aera", bin="10ms"))
    assert not (tmp_path / "out").exists()


def test_where_too_few_pairs_have_errors_they_share_a_null_and_that_is_said(
    trains: SpikeTrains, tmp_path: Path
) -> None:
    """Pairs that are known beforehand have no error: within the areas 81 are left each, too few for a null of their own."""
    mask = tmp_path / "mask.csv"
    ids = trains.unit_ids[:N]
    lines = [f"{ids[0]},{unit},forbidden\n{ids[HALF]},{unit},forbidden" for unit in ids]
    mask.write_text("\n".join(["pre_id,post_id,rule", *lines]) + "\n", encoding="utf-8")
    fit = spikefit.POGLM(pair_types="area", pair_mask=str(mask), **SETTINGS).fit(trains.select(ids))
    rows = {(row["pre_type"], row["post_type"]): row for row in fit.metrics["null_by_type"]}
    assert [rows[area, area]["n_pairs"] for area in ("CA1", "CA3")] == [81, 81]
    assert [rows[area, area]["fitted_to"] for area in ("CA1", "CA3")] == ["within", "within"]
    assert {rows["CA1", "CA3"]["fitted_to"], rows["CA3", "CA1"]["fitted_to"]} == {"own"}
    assert any("fewer than the 90 pairs of units" in note for note in fit.warnings)


def test_recovery_simulates_units_without_types(trains: SpikeTrains) -> None:
    from spikefit.recovery.run import _settings

    fit = spikefit.POGLM(pair_types="area", **SETTINGS).fit(trains.select(trains.unit_ids[:N]))
    assert fit.config["fit"]["pair_types"] == "area"
    assert _settings(fit).fit.pair_types == "none"
    assert fit_settings(spikefit.Config().replace(pair_types="area")) == fit_settings(spikefit.Config())


def test_columns_of_the_recording_that_a_fit_would_write_over_are_kept(trains: SpikeTrains, tmp_path: Path) -> None:
    ids = trains.unit_ids
    own = {
        "pair_type": np.array([f"mine {unit}" for unit in ids], dtype=object),
        "fano_factor": np.arange(len(ids), dtype=float),
        "unit_fano_factor": np.arange(len(ids), dtype=float) + 100,
        "depth": np.arange(len(ids)),
    }
    recording = dataclasses.replace(trains, unit_columns={**trains.unit_columns, **own})
    fit = spikefit.infer(recording, tmp_path / "out", pair_types="area", hidden=1, figures="none", **(SETTINGS | {"restarts": 2}))  # fmt: skip
    result = spikefit.load_result(tmp_path / "out")
    rows = {row.id: row.columns for row in result.units}
    for k, unit in enumerate(ids):
        assert rows[unit]["unit_pair_type"] == f"mine {unit}"
        assert rows[unit]["unit_unit_fano_factor"] == k
        assert rows[unit]["unit_fano_factor"] == k + 100
        assert rows[unit]["depth"] == k
        assert rows[unit].get("pair_type") == (AREAS[k] if k < N else None)
    assert "fano_factor" not in rows["silent"]
    assert any("'pair_type' is 'unit_pair_type', 'fano_factor' is" in text for text in fit.warnings)
    # The list of names that a fit writes is whole, but for a dispersion and lost time, which this recording has not, and for what fits with
    # hidden units do not write.
    written = {name for row in result.units for name in row.columns}
    written -= {"area", "depth", "unit_pair_type", "unit_fano_factor", "unit_unit_fano_factor"}
    assert written == FIT_COLUMNS - {"dispersion", "observed_s", "attenuation"}
    assert {DISPERSION, ATTENUATION} <= FIT_COLUMNS
    # Without such a column nothing is renamed and nothing said.
    assert kept_as(["area", "depth"]) == {"area": "area", "depth": "depth"}
