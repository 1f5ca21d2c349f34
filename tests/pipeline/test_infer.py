"""The main job from file to folder, in Python and through the command line."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from scipy import stats

import spikefit
import spikefit.fitting.without_hidden
from spikefit.cli.main import cli
from spikefit.config import Config
from spikefit.errors import ConfigError, DeviceError, NotConvergedError, UsageError
from spikefit.fitted import Fit
from spikefit.pipeline import infer, plan
from spikefit.results.edges import PAIR_DIAGNOSTICS
from spikefit.spikes import SpikeTrains

FILES = {
    "connectivity.h5",
    "edges.csv",
    "units.csv",
    "metrics.json",
    "config.yaml",
    "provenance.json",
    "spikefit.log",
    "connectivity.png",
    "training.png",
}
METRICS = {
    "heldout_nats_per_bin",
    "heldout_bits_per_spike",
    "elbo_per_bin",
    "n_visible",
    "n_hidden",
    "n_bins",
    "converged",
    "fit_s",
    "wall_s",
    "peak_rss_bytes",
    "device",
}
EDGE_COLUMNS = [
    "pre_id",
    "post_id",
    "pre_kind",
    "post_kind",
    "weight",
    "std_error",
    "ci_low",
    "ci_high",
    "p_value",
    "q_value",
    "peak_lag_s",
    "n_pre_spikes",
    "n_post_spikes",
]


def command(*words: Any) -> Result:
    """`spikefit …` in this process."""
    return CliRunner().invoke(cli, [str(word) for word in words])


def flags(settings: dict[str, Any]) -> list[str]:
    return [text for key, value in settings.items() for text in (f"--{key.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def observed(simulated: Path, tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Fit, Path]:
    """A fit without hidden units, and its folder."""
    folder = tmp_path_factory.mktemp("observed") / "out"
    return infer(simulated, folder, **tiny), folder


@pytest.fixture(scope="module")
def hidden(simulated: Path, tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Fit, Path]:
    """A fit with one hidden unit, and its folder."""
    folder = tmp_path_factory.mktemp("hidden") / "out"
    return infer(simulated, folder, hidden=1, **tiny), folder


# -- what it leaves --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["observed", "hidden"])
def test_the_folder_holds_every_file_and_nothing_half_written(which: str, request: pytest.FixtureRequest) -> None:
    fit, folder = request.getfixturevalue(which)
    found = {path.name for path in folder.iterdir()}
    assert found >= FILES
    assert not [name for name in found if name.startswith(".")]
    assert list((folder / "checkpoints").glob("*")) == []  # nothing is left to resume
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() >= METRICS
    assert metrics == json.loads(fit.metrics_json())
    assert 0 < metrics["fit_s"] <= metrics["wall_s"]
    assert (metrics["n_visible"], metrics["n_hidden"]) == (6, int(which == "hidden"))
    assert metrics["n_bins"] == 3000 - 5
    assert metrics["device"] == "cpu"
    with (folder / "edges.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [*EDGE_COLUMNS, "n_spike_pairs", "correlogram_z", *rows[0][15:]]
    assert set(rows[0][15:]) <= set(PAIR_DIAGNOSTICS)


@pytest.mark.parametrize("which", ["observed", "hidden"])
def test_what_is_loaded_is_what_was_fitted(which: str, request: pytest.FixtureRequest) -> None:
    fit, folder = request.getfixturevalue(which)
    again = spikefit.load_result(folder)
    assert isinstance(again, Fit)
    for name in ("connectivity", "coupling_filters", "baseline", "std_error", "ci_low", "ci_high", "lag_s"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fit, name), err_msg=name)
    assert (again.unit_id, again.unit_kind, again.warnings) == (fit.unit_id, fit.unit_kind, fit.warnings)
    assert again.metrics_json() == fit.metrics_json()
    assert again.config == fit.config
    assert again.parameters.keys() == fit.parameters.keys()
    for name, series in fit.history.items():
        np.testing.assert_array_equal(again.history[name], series)


def test_the_shapes_and_units_of_a_fit_with_a_hidden_unit(hidden: tuple[Fit, Path]) -> None:
    fit, _ = hidden
    assert fit.unit_id[6] == "hidden-0"
    assert fit.unit_kind == ("visible",) * 6 + ("hidden",)
    assert fit.coupling_filters.shape == (7, 7, 5)
    np.testing.assert_allclose(fit.connectivity, fit.coupling_filters.sum(axis=2), rtol=1e-12)
    np.testing.assert_allclose(fit.lag_s, [0.01, 0.02, 0.03, 0.04, 0.05])
    assert np.isfinite(fit.std_error[:6, :6]).all()
    assert np.isnan(fit.std_error[6]).all()
    assert fit.hidden is not None
    assert fit.hidden.expected_count.shape == (2995, 1)
    assert (fit.hidden.expected_count >= 0).all()
    np.testing.assert_allclose(fit.hidden.time_s, np.arange(5, 3000) * 0.01, atol=1e-9)
    assert len(fit.history["step"]) == len(fit.history["objective"])
    assert any("did not converge" in warning for warning in fit.warnings) == (not fit.metrics["converged"])


def test_without_hidden_units_the_intervals_are_the_errors_around_the_estimate(observed: tuple[Fit, Path]) -> None:
    fit, _ = observed
    assert fit.hidden is None
    assert np.isfinite(fit.std_error).all()
    assert (fit.std_error > 0).all()
    # Six units: pairs of two are held against surrogates; a unit's history on itself is not tested.
    assert fit.metrics["significance"] == "jitter"
    sigmas = stats.norm.ppf(0.95)
    own = np.diag(sigmas * fit.std_error)
    np.testing.assert_allclose(np.diag(fit.ci_high - fit.connectivity), own, rtol=1e-9)
    np.testing.assert_allclose(np.diag(fit.connectivity - fit.ci_low), own, rtol=1e-9)


def test_the_record_says_what_was_read_and_how(
    observed: tuple[Fit, Path], simulated: Path, tiny: dict[str, Any]
) -> None:
    _, folder = observed
    record = json.loads((folder / "provenance.json").read_text())
    assert record["input"]["sha256"] == hashlib.sha256(simulated.read_bytes()).hexdigest()
    assert record["seed"] == 0
    assert {"python", "torch", "numpy", "spikefit"} <= record["versions"].keys()
    log = (folder / "spikefit.log").read_text()
    assert "6 units" in log
    assert "10 ms" in log
    text = (folder / "config.yaml").read_text()
    from spikefit.config import resolve_config

    assert resolve_config(folder / "config.yaml").config == Config().replace(**tiny)
    assert "argument" in text  # where the settings came from


def test_the_recording_is_never_written_to(simulated: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    before = simulated.read_bytes(), simulated.stat().st_mtime_ns
    simulated.chmod(0o444)
    try:
        infer(simulated, tmp_path / "out", **tiny)
    finally:
        simulated.chmod(0o644)
    assert (simulated.read_bytes(), simulated.stat().st_mtime_ns) == before
    assert {path.name for path in simulated.parent.iterdir()} == {"session.nwb", "session.truth.h5"}


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_the_scores_are_the_poisson_log_likelihood_of_the_filters(observed: tuple[Fit, Path], simulated: Path) -> None:
    """Bits and nats, computed again from the couplings that were reported, with SciPy."""
    fit, folder = observed
    recording = spikefit.read(simulated)
    score = spikefit.load_result(folder).score(recording)
    counts = recording.bin(0.01).counts.astype(float)
    drive = np.tile(fit.baseline, (2995, 1))
    for lag in range(5):
        drive += counts[4 - lag : 2999 - lag] @ fit.coupling_filters[:, :, lag].T
    common = fit.common_drive
    assert common is not None
    excess = counts.sum(axis=1) - common.level_hz * 0.01
    for tau_s, weights in zip(common.time_constant_s, common.weights.T, strict=True):
        trace = np.zeros(3000)
        for t in range(1, 3000):
            trace[t] = np.exp(-0.01 / tau_s) * trace[t - 1] + excess[t - 1]
        drive += trace[5:, None] * weights
    nats = stats.poisson.logpmf(counts[5:], np.logaddexp(0, drive)).sum()
    constant = stats.poisson.logpmf(counts[5:], counts[5:].mean(axis=0)).sum()
    assert score["n_bins"] == 2995
    assert score["nats_per_bin"] == pytest.approx(nats / 2995, rel=1e-5)
    assert score["bits_per_spike"] == pytest.approx((nats - constant) / np.log(2) / counts[5:].sum(), rel=1e-3)
    assert fit.metrics["elbo_per_bin"] == pytest.approx(nats / 2995, rel=1e-5)


def test_a_strong_connection_is_found(observed: tuple[Fit, Path], simulated: Path) -> None:
    truth = spikefit.load_result(simulated.with_suffix(".truth.h5"))
    fit, _ = observed
    off = ~np.eye(6, dtype=bool)
    true, found = truth.connectivity[:6, :6][off], fit.connectivity[off]
    strongest = np.argmax(np.abs(true))
    assert np.sign(found[strongest]) == np.sign(true[strongest])
    assert (np.diag(fit.connectivity) < 0).all()  # every simulated unit is refractory


def test_the_model_in_python_finds_the_same(simulated: Path, tiny: dict[str, Any], observed: tuple[Fit, Path]) -> None:
    fit = spikefit.POGLM(**tiny).fit(spikefit.read(simulated))
    np.testing.assert_array_equal(fit.connectivity, observed[0].connectivity)
    counted = spikefit.POGLM(**tiny).fit(spikefit.read(simulated).bin(0.01))
    np.testing.assert_array_equal(counted.connectivity, observed[0].connectivity)


def test_settings_that_the_model_in_python_cannot_use_are_told(simulated: Path, tiny: dict[str, Any]) -> None:
    trains = spikefit.read(simulated)
    fit = spikefit.POGLM(units="n00", interval="0:10", **tiny).fit(trains)
    assert fit.n_visible == 6
    told = [text for text in fit.warnings if "had no part in it: units, interval" in text]
    assert len(told) == 1
    assert not any("had no part" in text for text in spikefit.POGLM(**tiny).fit(trains).warnings)
    assert not any("had no part" in text for text in infer(simulated, interval="0:20", **tiny).warnings)


def test_an_interval_outside_the_recording_is_told_where_others_are_left(simulated: Path, tiny: dict[str, Any]) -> None:
    fit = infer(simulated, interval=["0:20", "40:50"], **tiny)
    assert [text for text in fit.warnings if "nothing was observed inside" in text] == [
        "session: nothing was observed inside the interval 40:50 (recorded from 0 s to 30 s)"
    ]
    inside = infer(simulated, interval=["0:10", "20:40"], **tiny)
    assert not any("nothing was observed inside" in text for text in inside.warnings)


def test_a_plan_refuses_what_the_fit_would_refuse(simulated: Path, tiny: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="too short to hold out 20% of it"):
        plan(simulated, config=Config().replace(**{**tiny, "window": "2s"}))


def test_a_seeded_run_repeats_bit_for_bit(
    simulated: Path,
    tiny: dict[str, Any],
    hidden: tuple[Fit, Path],
    tmp_path: Path,
    differing: Callable[[Path, Path], list[str]],
) -> None:
    infer(simulated, tmp_path / "again", hidden=1, **tiny)
    assert differing(hidden[1], tmp_path / "again") == []
    infer(simulated, tmp_path / "other", hidden=1, seed=1, **tiny)
    assert "connectivity" in differing(hidden[1], tmp_path / "other")


def test_a_fit_scores_other_recordings_of_the_same_units_only(hidden: tuple[Fit, Path], simulated: Path) -> None:
    fit = spikefit.load_result(hidden[1])
    recording = spikefit.read(simulated)
    second_half = fit.score(recording.restrict([[15.0, 30.0]]))
    assert second_half["n_bins"] == 1495
    assert np.isfinite(list(second_half.values())).all()
    shuffled = recording.select(list(reversed(recording.unit_ids)))
    assert fit.score(shuffled) == fit.score(recording)
    with pytest.raises(UsageError, match="1 of the fit's 6 units are not in the recording"):
        fit.score(recording.select(recording.unit_ids[1:]))
    with pytest.raises(UsageError, match=r"bins of 0\.01 s, the counts have bins of 0\.02 s"):
        fit.score(recording.bin(0.02))


# -- what is fitted --------------------------------------------------------------------------------------------------


def test_several_recordings_get_a_folder_each(
    simulated: Path, tiny: dict[str, Any], tmp_path: Path, poisson_trains: Callable[..., SpikeTrains]
) -> None:
    other = poisson_trains(3, duration_s=20, name="other")
    fits = infer([simulated, other], tmp_path / "out", **tiny)
    assert [fit.name for fit in fits] == ["session", "other"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"session", "other"}
    for fit in fits:
        assert spikefit.load_result(tmp_path / "out" / fit.name).unit_id == fit.unit_id
    with pytest.raises(UsageError, match="several recordings are called 'session'"):
        infer([simulated, simulated], tmp_path / "twice", **tiny)


def test_chosen_intervals_and_epochs_are_fitted_and_nothing_else(
    tiny: dict[str, Any], poisson_trains: Callable[..., SpikeTrains]
) -> None:
    epochs = {"wake": [[0.0, 20.0], [30.0, 50.0]], "sleep": [[20.0, 30.0]]}
    recording = poisson_trains(3, duration_s=60, rate_hz=20, epochs=epochs)
    awake = infer(recording, epochs=["wake"], **tiny)
    assert awake.metrics["n_bins"] == 2 * (2000 - 5)  # two segments, each with a history of its own
    by_hand = infer(recording.restrict(epochs["wake"]), **tiny)
    np.testing.assert_array_equal(awake.connectivity, by_hand.connectivity)
    part = infer(recording, interval=["10:30", "40:"], **tiny)
    assert part.metrics["n_bins"] == 2 * (2000 - 5)
    assert not np.array_equal(part.connectivity, awake.connectivity)
    with pytest.raises(UsageError, match="there is no epoch 'wkae'") as refusal:
        infer(recording, epochs=["wkae"], **tiny)
    assert refusal.value.hint == "did you mean 'wake'?"


def test_dropped_units_are_in_the_table_with_a_reason(
    tiny: dict[str, Any], poisson_trains: Callable[..., SpikeTrains], tmp_path: Path
) -> None:
    fit = infer(poisson_trains(4, duration_s=30), tmp_path, units="u0,u2,u3", **tiny)
    assert fit.unit_id == ("u0", "u2", "u3")
    assert [row.kept for row in fit.units] == [True, False, True, True]
    assert fit.units[1].reason
    with (tmp_path / "units.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == ["u0", "u1", "u2", "u3"]


def test_candidates_are_compared_and_one_is_kept(
    tiny: dict[str, Any], poisson_trains: Callable[..., SpikeTrains]
) -> None:
    """The smallest that lies within one standard error of the best, by the figures that are reported."""
    fit = infer(poisson_trains(4, duration_s=40, rate_hz=15), hidden="0,1", **tiny)
    none, one = fit.metrics["candidates"]
    assert (none["n_hidden"], one["n_hidden"]) == (0, 1)
    gain = one["heldout_nats_per_bin"] - none["heldout_nats_per_bin"]
    assert one["heldout_gain_nats_per_bin"] == pytest.approx(gain)
    # The importance-weighted bound decides; it lies closer to the likelihood that 0 is judged by.
    assert fit.metrics["n_hidden"] == int(
        one["heldout_iwae_gain_nats_per_bin"] > one["heldout_iwae_gain_nats_per_bin_se"]
    )
    assert (fit.hidden is None) == (fit.metrics["n_hidden"] == 0)
    kept = (none, one)[fit.metrics["n_hidden"]]
    assert fit.metrics["heldout_nats_per_bin"] == kept["heldout_nats_per_bin"]


# -- before the work -------------------------------------------------------------------------------------------------


def test_a_plan_counts_what_the_fit_will_have(
    simulated: Path, tiny: dict[str, Any], observed: tuple[Fit, Path]
) -> None:
    (job,) = plan(simulated, config=Config().replace(**tiny)).jobs
    fit, _ = observed
    assert (job.name, job.n_units, job.n_bins, job.n_segments, job.n_lags) == ("session", 6, 3000, 1, 5)
    n_parameters = sum(np.size(fit.parameters[name]) for name in ("baseline", "visible_weights"))
    assert job.n_parameters == n_parameters
    assert job.n_spikes == sum(row.n_spikes for row in fit.units)
    (more,) = plan(simulated, config=Config().replace(hidden=2, **tiny)).jobs
    assert more.n_parameters > job.n_parameters
    assert more.time_s > job.time_s
    assert more.memory_bytes > job.memory_bytes


def test_a_dry_run_prints_the_plan_and_leaves_nothing(simulated: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = command("infer", simulated, "-o", out, "--dry-run", *flags(tiny))
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0].startswith("session: 6 units, 2 ")
    assert lines[1].split() == ["bins", "3", "000", "of", "10", "ms"]
    assert {line.split()[0] for line in lines[1:]} == {
        "bins",
        "history",
        "hidden",
        "parameters",
        "memory",
        "at",
        "time",
    }
    assert not out.exists()
    as_json = json.loads(command("infer", simulated, "--dry-run", "--json", *flags(tiny)).stdout)
    assert as_json["jobs"][0]["n_bins"] == 3000
    assert as_json["jobs"][0]["memory"]["block_bins"] > 0
    tight = command("infer", simulated, "--dry-run", "--memory-limit", "10KB", *flags(tiny)).stdout
    assert "beware      the memory limit is 10 KB, and this fit cannot do with less than " in tight
    assert "beware" not in told.stdout


def test_the_command_prints_metrics_and_ends_with_zero(simulated: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    done = command("infer", simulated, "-o", tmp_path / "out", "--json", *flags(tiny))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_a_folder_with_results_is_refused_and_left_as_it_is(
    simulated: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    infer(simulated, out, **tiny)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    refused = command("infer", simulated, "-o", out, "--seed", 5, *flags(tiny))
    assert refused.exit_code == 2
    assert "already holds a result" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    replaced = command("infer", simulated, "-o", out, "--overwrite", "--hidden", "0", "--seed", 5, *flags(tiny))
    assert replaced.exit_code == 0, replaced.output
    assert spikefit.load_result(out).config["run"]["seed"] == 5


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"hidden": 7}, 2, "more hidden units than the 6 recorded ones"),
        ({"bin": "40s", "window": "80s"}, 2, "wider than the recording"),
        ({"window": "2s"}, 2, "too short to hold out 20% of it"),
        ({"window": "31s"}, 2, "longer than the history window"),
        ({"units": "n00,nonsuch"}, 2, "nonsuch"),
        ({"epochs": "wake"}, 2, "no epoch 'wake'"),
        ({"interval": "40:50"}, 2, "nothing was observed inside"),
        ({"min_spikes": 100000}, 4, "100"),
        ({"hidden": -1}, 2, "--hidden"),
        ({"temperature": 3}, 2, "--temperature"),
    ],
)
def test_what_cannot_be_is_refused_with_its_code_and_the_place_stays_free(
    simulated: Path, tiny: dict[str, Any], tmp_path: Path, change: dict[str, Any], code: int, words: str
) -> None:
    out = tmp_path / "out"
    refused = command("infer", simulated, "-o", out, *flags(tiny | change))
    assert (refused.exit_code, "Traceback" in refused.output) == (code, False), refused.output
    assert words in refused.stderr
    assert refused.stdout == ""
    left = {path.name for path in out.iterdir()} if out.exists() else set()
    assert left <= {"spikefit.log"}
    # The right command then needs no --overwrite.
    assert command("infer", simulated, "-o", out, *flags(tiny)).exit_code == 0


def test_a_recording_that_is_not_there_is_code_4(tiny: dict[str, Any], tmp_path: Path) -> None:
    refused = command("infer", tmp_path / "none.nwb", "-o", tmp_path / "out", *flags(tiny))
    assert refused.exit_code == 4
    assert "none.nwb" in refused.stderr


def test_cuda_that_is_not_there_is_a_device_error(
    simulated: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused = command("infer", simulated, "-o", tmp_path / "out", *flags(tiny | {"device": "cuda"}))
    assert refused.exit_code == DeviceError.exit_code == 5
    assert "--device cuda" in refused.stderr
    assert "--device cpu" in refused.stderr


def test_a_unit_with_the_name_of_a_hidden_one_is_refused(
    tiny: dict[str, Any], poisson_trains: Callable[..., SpikeTrains]
) -> None:
    base = poisson_trains(2, duration_s=30)
    recording = SpikeTrains.from_trains(
        {"hidden-0": base["u0"], "b": base["u1"]}, intervals_s=base.intervals_s, name="odd"
    )
    with pytest.raises(UsageError, match="called 'hidden-0', a name that spikefit gives to hidden units"):
        infer(recording, hidden=1, **tiny)
    infer(recording, hidden=0, **tiny)


def test_strict_is_an_error_and_the_results_are_there_all_the_same(
    simulated: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(NotConvergedError, match="session did not converge; the results are written") as fault:
        infer(simulated, tmp_path / "out", hidden=1, strict=True, **tiny)
    assert fault.value.exit_code == 6
    assert "raise max_epochs" in str(fault.value.hint)
    loaded = spikefit.load_result(tmp_path / "out")
    assert loaded.metrics["converged"] is False
    assert any("did not converge" in warning for warning in loaded.warnings)


def test_without_hidden_units_strict_does_not_send_to_a_setting_that_has_no_part(
    simulated: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*args: Any, **kwargs: Any) -> Any:
        return fit_glm(*args, **{**kwargs, "max_iterations": 1})

    fit_glm = spikefit.fitting.without_hidden.fit_glm
    monkeypatch.setattr(spikefit.fitting.without_hidden, "fit_glm", short)
    with pytest.raises(NotConvergedError, match=r"session did not converge\.") as fault:
        infer(simulated, strict=True, **tiny)
    assert str(fault.value.hint).startswith("raise ridge")


def test_settings_that_do_not_exist_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="hiden"):
        spikefit.POGLM(hiden=2)


def test_a_run_leaves_the_process_as_it_was(simulated: Path, tiny: dict[str, Any]) -> None:
    import signal

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    legacy = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002 - it must be left alone
    infer(simulated, **tiny)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # type: ignore[index]  # noqa: NPY002


def test_pictures_and_the_log_are_as_asked(simulated: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    for figures, endings in (("none", set()), ("svg", {".svg"})):
        out = tmp_path / figures
        infer(simulated, out, **tiny, figures=figures, log_json=True)
        assert {path.suffix for path in out.iterdir()} & {".png", ".svg", ".pdf"} == endings
        records = [json.loads(line) for line in (out / "spikefit.log.jsonl").read_text("utf-8").splitlines()]
        assert all(record.keys() >= {"time_utc", "level", "logger", "message"} for record in records)
        assert len(records) == len((out / "spikefit.log").read_text("utf-8").splitlines())


def test_a_recording_that_is_a_folder_has_a_checksum_of_all_its_files(tmp_path: Path) -> None:
    from spikefit.provenance import fingerprint

    folder = tmp_path / "phy"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.npy").write_bytes(b"12")
    (folder / "sub" / "b.npy").write_bytes(b"345")
    before = fingerprint(folder)
    assert before["bytes"] == 5
    (folder / "a.npy").write_bytes(b"13")
    changed = fingerprint(folder)
    (folder / "a.npy").write_bytes(b"12")
    (folder / "sub" / "b.npy").rename(folder / "sub" / "c.npy")
    assert len({before["sha256"], changed["sha256"], fingerprint(folder)["sha256"]}) == 3
