"""Results with known content for the tests of results, figures, exports and reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikefit.results import CommonDriveTerm, CovariateTerms, Excerpt, HiddenActivity, Result, UnitRow


def build_result(
    n_visible: int = 6,
    n_hidden: int = 2,
    *,
    n_lags: int = 10,
    n_bins: int = 400,
    seed: int = 0,
    ids: tuple[str, ...] | None = None,
    **changes: Any,
) -> Result:
    """A made-up result with every field filled, a dropped unit included."""
    rng = np.random.default_rng(seed)
    n_units = n_visible + n_hidden
    ids = ids or tuple(f"g{k + 1}" for k in range(n_visible))
    lag_s = np.arange(1, n_lags + 1) * 0.01
    filters = rng.normal(size=(n_units, n_units, n_lags)) * np.exp(-lag_s / 0.03)
    weights = filters.sum(-1)
    rows = [
        UnitRow(
            unit,
            "visible",
            True,
            "",
            100 + 10 * k,
            1.5 + k,
            {"region": "PoS" if k % 2 else "ADn", "depth_um": 10.0 * k},
        )
        for k, unit in enumerate(ids)
    ]
    rows.append(UnitRow("noise cluster", "visible", False, "12 spikes, fewer than 50", 12, 0.01, {"region": "ADn"}))
    steps = np.arange(0.0, 50.0)
    fields: dict[str, Any] = {
        "unit_id": (*ids, *(f"hidden-{k}" for k in range(n_hidden))),
        "unit_kind": ("visible",) * n_visible + ("hidden",) * n_hidden,
        "connectivity": weights,
        "coupling_filters": filters,
        "lag_s": lag_s,
        "baseline": rng.normal(-3, 0.5, n_units),
        "bin_width_s": 0.01,
        "units": tuple(rows),
        "std_error": np.full((n_units, n_units), 0.1),
        "ci_low": weights - 0.16,
        "ci_high": weights + 0.16,
        "hidden": HiddenActivity(np.arange(n_bins) * 0.01, rng.random((n_bins, n_hidden)) * 0.2) if n_hidden else None,
        "common_drive": CommonDriveTerm(np.array([0.1, 1.0]), rng.normal(0, 0.01, (n_units, 2)), 31.5),
        "covariates": build_covariates(n_units, rng),
        "history": {
            "step": steps,
            "objective": -9 - np.exp(-steps / 9),
            "heldout_step": steps[::10],
            "heldout": -9.1 - np.exp(-steps[::10] / 9),
        },
        "diagnostics": {"ks_curve": np.sort(rng.random((n_visible, 51)), axis=1)}
        | ({"hidden_likeness": np.random.default_rng(seed + 1).random((n_hidden, 2))} if n_hidden else {}),
        "metrics": {
            "heldout_nats_per_bin": -8.5,
            "heldout_bits_per_spike": 0.41,
            "n_visible": n_visible,
            "n_hidden": n_hidden,
            "converged": True,
        },
        "config": {"model": {"bin": "10ms", "hidden": n_hidden}, "units": {"keep": list(ids)}},
        "config_origin": {"model.bin": "flag", "model.hidden": "default"},
        "provenance": {"argv": ["spikefit", "infer", "session.nwb"], "seed": 0, "versions": {"spikefit": "0.1.0"}},
        "parameters": {
            "coupling_weights": filters.astype(np.float32),
            "encoder.bias": np.zeros(n_hidden),
            "steps": np.int64(3),
        },
        "warnings": ("1 unit has fewer than 50 spikes",),
        "name": "session",
    }
    return Result(**(fields | changes))


def build_covariates(n_units: int, rng: np.random.Generator) -> CovariateTerms:
    """Two covariates, one with splines; errors are not known for the second."""
    std_error = rng.random((n_units, 3))
    std_error[:, 2] = np.nan
    return CovariateTerms(
        column=("speed spline 1", "speed spline 2", "größe/x"),
        covariate=("speed", "speed", "größe/x"),
        basis=("b-spline", "b-spline", "linear"),
        mean=rng.random(3),
        sd=rng.random(3) + 1,
        weights=rng.normal(size=(n_units, 3)),
        std_error=std_error,
        curve=("speed", "größe/x"),
        curve_label=("speed, cm/s", "größe/x"),
        curve_x=np.sort(rng.random((2, 5)), axis=1),
        curve_drive=rng.normal(size=(n_units, 2, 5)),
        curve_std_error=rng.random((n_units, 2, 5)),
        terms_json=('{"name": "speed"}', '{"name": "größe/x"}'),
    )


def build_excerpt(n_visible: int, *, start_s: float = 1.0, stop_s: float = 3.0, seed: int = 0) -> Excerpt:
    """Spikes of every recorded unit in a stretch."""
    rng = np.random.default_rng([seed, 7])
    trains = [np.sort(rng.uniform(start_s, stop_s, 5 + k)) for k in range(n_visible)]
    units = np.repeat(np.arange(n_visible), [train.size for train in trains])
    return Excerpt(start_s, stop_s, np.concatenate(trains), units)


def with_free_runs(result: Result) -> Result:
    """The result with rates of free runs, every unit somewhat below its recorded rate."""
    rows = [
        dataclasses.replace(
            row,
            columns={**row.columns, "simulated_rate_hz": 0.8 * row.rate_hz, "simulated_rate_se_hz": 0.05 * row.rate_hz},
        )
        if row.kept
        else row
        for row in result.units
    ]
    metrics = {**result.metrics, "simulated_runs": 200, "simulated_runaway": 7, "simulated_run_s": 1.0}
    return dataclasses.replace(result, units=tuple(rows), metrics=metrics)


@pytest.fixture
def make_excerpt() -> Callable[..., Excerpt]:
    return build_excerpt


@pytest.fixture
def add_free_runs() -> Callable[[Result], Result]:
    return with_free_runs


@pytest.fixture
def make_result() -> Callable[..., Result]:
    return build_result


def _rows(result: Result) -> list[str]:
    """Rows as text, so that NaN equals NaN and 1 is not 1.0; the order of further columns says nothing."""
    return [repr(dataclasses.replace(row, columns=dict(sorted(row.columns.items())))) for row in result.units]


def check_equal(found: Result, expected: Result) -> None:
    """Fail at the first field of two results that differs."""
    arrays = (
        "connectivity",
        "coupling_filters",
        "lag_s",
        "baseline",
        "std_error",
        "ci_low",
        "ci_high",
        "p_value",
        "q_value",
    )
    for key in arrays:
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key), err_msg=key, strict=True)
    for key in ("unit_id", "unit_kind", "bin_width_s", "name", "config", "config_origin", "warnings"):
        assert getattr(found, key) == getattr(expected, key), key
    assert found.metrics_json() == expected.metrics_json()
    assert _rows(found) == _rows(expected)
    assert (found.hidden is None) == (expected.hidden is None)
    if found.hidden is not None and expected.hidden is not None:
        np.testing.assert_array_equal(found.hidden.time_s, expected.hidden.time_s, strict=True)
        np.testing.assert_array_equal(found.hidden.expected_count, expected.hidden.expected_count, strict=True)
    assert (found.common_drive is None) == (expected.common_drive is None)
    if found.common_drive is not None and expected.common_drive is not None:
        for key in ("time_constant_s", "weights"):
            a, b = (getattr(result.common_drive, key) for result in (found, expected))
            np.testing.assert_array_equal(a, b, err_msg=key, strict=True)
        assert found.common_drive.level_hz == expected.common_drive.level_hz
    assert (found.covariates is None) == (expected.covariates is None)
    if found.covariates is not None and expected.covariates is not None:
        for field in dataclasses.fields(CovariateTerms):
            a, b = (getattr(result.covariates, field.name) for result in (found, expected))
            if isinstance(a, tuple):
                assert a == b, field.name
            else:
                np.testing.assert_array_equal(a, b, err_msg=field.name, strict=True)
    assert (found.excerpt is None) == (expected.excerpt is None)
    if found.excerpt is not None and expected.excerpt is not None:
        assert (found.excerpt.start_s, found.excerpt.stop_s) == (expected.excerpt.start_s, expected.excerpt.stop_s)
        np.testing.assert_array_equal(found.excerpt.spike_time_s, expected.excerpt.spike_time_s, strict=True)
        np.testing.assert_array_equal(found.excerpt.unit, expected.excerpt.unit, strict=True)
    for key in ("diagnostics", "history", "parameters"):
        a, b = getattr(found, key), getattr(expected, key)
        assert sorted(a) == sorted(b), key
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name, strict=True)


@pytest.fixture
def assert_same() -> Callable[[Result, Result], None]:
    return check_equal
