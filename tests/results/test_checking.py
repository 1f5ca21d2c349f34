"""A result whose metrics make no sense is refused when it is opened, with the place named, and never ends in a traceback later."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from click.testing import CliRunner

from spikefit.cli.main import cli
from spikefit.errors import ResultError
from spikefit.results import load_result
from spikefit.results.checking import fault_in
from spikefit.results.json_schema import METRICS_SCHEMA

SOUND: dict[str, Any] = {
    "heldout_nats_per_bin": -8.0,
    "n_bins": 1000,
    "converged": True,
    "candidates": [
        {"n_hidden": k, "cv_gain_nats_per_bin": 0.01 * k, "cv_fold_nats_per_bin": [-8.0 + 0.01 * k, -7.0, None]}
        for k in range(3)
    ],
    "cross_validation": {"fold_bins": [10, 12, 11], "fold_intervals_s": [[[0.0, 1.0], [5.0, 6.0]], [[1.0, 2.0]], []]},
    "further": {"anything": [1, "two"]},
}


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    metrics = copy.deepcopy(SOUND)
    inner: Any = metrics
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return metrics


BROKEN = [
    (("cross_validation", "fold_intervals_s", 0, 1), [5.0], r"fold_intervals_s\[0\]\[1\] must hold 2 values, and holds 1"),
    (("cross_validation", "fold_intervals_s"), "x", "fold_intervals_s must be a list, and is 'x'"),
    (("cross_validation", "fold_intervals_s", 1, 0, 1), "late", r"\[1\]\[0\]\[1\] must be a number, and is 'late'"),
    (("cross_validation", "fold_bins"), 7, "fold_bins must be a list, and is 7"),
    (("cross_validation", "fold_bins", 0), -1, r"fold_bins\[0\] must be at least 0, and is -1"),
    (("cross_validation",), [], r"cross_validation must be named values, and is \[\]"),
    (("candidates", 1, "cv_fold_nats_per_bin"), "abc", r"candidates\[1\].cv_fold_nats_per_bin must be a list"),
    (("candidates", 2, "n_hidden"), True, r"candidates\[2\].n_hidden must be a whole number, and is True"),
    (("candidates", 0), {}, r"candidates\[0\] lacks 'n_hidden'"),
    (("n_bins",), "many", "n_bins must be a whole number, and is 'many'"),
    (("converged",), None, "converged must be true or false, and is None"),
    (("null_by_type",), [{"pre_type": "a"}], r"null_by_type\[0\] lacks 'post_type'"),
]  # fmt: skip


def test_sound_metrics_have_no_fault_and_neither_have_those_of_earlier_versions() -> None:
    assert fault_in(SOUND, METRICS_SCHEMA) is None
    assert fault_in({}, METRICS_SCHEMA) is None  # a key that came later is not asked for
    assert fault_in({"heldout_nats_per_bin": None, "n_bins": 12.0}, METRICS_SCHEMA) is None
    assert fault_in([], METRICS_SCHEMA) == "the whole must be named values, and is []"


@pytest.mark.parametrize(("place", "value", "words"), BROKEN)
def test_every_fault_is_named_when_the_result_is_opened(make_result, tmp_path, place, value, words) -> None:
    load_result(make_result(metrics=SOUND).save(tmp_path / "sound", figures=False))
    folder = make_result(metrics=changed(place, value)).save(tmp_path / "broken", figures=False)
    with pytest.raises(ResultError, match=words) as refused:
        load_result(folder)
    assert refused.value.exit_code == 4
    assert "run the fit again" in str(refused.value.hint)


def test_every_command_that_takes_results_says_so_and_exits_with_4(make_result, tmp_path) -> None:
    sound = make_result(metrics=SOUND).save(tmp_path / "sound", figures=False)
    broken = make_result(metrics=changed(*BROKEN[0][:2])).save(tmp_path / "broken", figures=False)
    for words in (
        ("compare", sound, broken),
        ("report", broken, "-o", tmp_path / "page.html"),
        ("export", broken, "--to", "csv", "-o", tmp_path / "tables"),
        ("recover", broken, "--dry-run"),
        ("inspect", broken),
    ):
        ran = CliRunner().invoke(cli, [str(word) for word in words])
        assert ran.exit_code == 4, (words, ran.output)
        assert "must hold 2 values" in ran.stderr
        assert "fault of its own" not in ran.stderr
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("text", ['{"n_bins": [', "{}", json.dumps(changed(*BROKEN[0][:2]))])
def test_a_metrics_file_that_was_changed_by_hand_is_said_and_not_read(make_result, tmp_path, text) -> None:
    sound = make_result(metrics=SOUND).save(tmp_path / "sound", figures=False)
    other = make_result(metrics=SOUND, seed=1).save(tmp_path / "other", figures=False)
    words = (
        ("compare", sound, other),
        ("export", sound, "--to", "npz", "-o", tmp_path / "arrays.npz", "--overwrite"),
        ("report", sound, "-o", tmp_path / "page.html", "--overwrite"),
    )
    for command in words:
        assert "alone was read" not in CliRunner().invoke(cli, [str(word) for word in command]).output
    (sound / "metrics.json").write_text(text, encoding="utf-8")
    for command in words:
        ran = CliRunner().invoke(cli, [str(word) for word in command])
        assert ran.exit_code == 0, ran.output
        assert "metrics.json beside connectivity.h5 is not as this result wrote it" in ran.output
