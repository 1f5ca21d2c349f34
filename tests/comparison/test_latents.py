"""Hidden units beside the latents of a Poisson VAE: matched when they are the same, told apart when they are not."""

import csv
import json

import numpy as np
import pytest

import spikefit
from spikefit.errors import UsageError
from spikefit.results.latents import Latents, latents_bytes

HASH = "a" * 64
SAME = {"provenance": {"input": {"sha256": HASH}}}


def code_of(result, order, noise=0.0, seed=1):
    """Latents in bins twice as wide: the hidden units of a result in another order, one silent latent behind them."""
    random = np.random.default_rng(seed)
    n = len(result.hidden.time_s) // 2
    wide = result.hidden.expected_count[: 2 * n].reshape(n, 2, -1).sum(axis=1)[:, order]
    expected = np.column_stack([wide + noise * random.random(wide.shape), np.full(n, 0.1)]).astype(np.float32)
    posts = [result.index_of(unit) for unit in result.unit_id[result.visible]]
    effects = result.connectivity[posts][:, result.hidden_units][:, order]
    weights = np.column_stack([effects, np.ones(len(posts))])
    return Latents(
        name="session",
        unit_id=tuple(result.unit_id[result.visible]),
        bin_width_s=0.02,
        session_name=("session",),
        arrays={
            "time_s": result.hidden.time_s[: 2 * n : 2],
            "session": np.zeros(n, dtype=np.int32),
            "segment": np.zeros(n, dtype=np.int32),
            "expected_count": expected,
            "decoder_weights": weights,
        },
    )


def put(code, folder, sha256=HASH):
    folder.mkdir()
    (folder / "latents.h5").write_bytes(latents_bytes(code, generator="test", created_utc="2026-01-01T00:00:00Z"))
    (folder / "provenance.json").write_text(json.dumps({"inputs": [{"sha256": sha256}]}))
    return folder


def test_hidden_units_find_their_latents(make_result, tmp_path):
    result = make_result(n_hidden=3, **SAME)
    comparison = spikefit.compare(result, put(code_of(result, [2, 0, 1]), tmp_path / "code"))
    (found,) = comparison.latents
    assert comparison.pairs == ()
    assert found.same_recording
    assert found.n_latents == 4
    assert {(m.first, m.second) for m in found.hidden} == {("hidden-0", "1"), ("hidden-1", "2"), ("hidden-2", "0")}
    for match in found.hidden:
        assert match.activity_correlation == pytest.approx(1)
        assert match.filter_correlation == pytest.approx(1)


def test_strangers_are_not_alike(make_result, tmp_path):
    result, other = make_result(n_hidden=3, seed=5, **SAME), make_result(n_hidden=3, seed=6, **SAME)
    (found,) = spikefit.compare(result, put(code_of(other, [0, 1, 2]), tmp_path / "code")).latents
    assert all(abs(match.activity_correlation) < 0.4 for match in found.hidden)  # 200 bins: 5 standard errors


def test_what_they_did_is_not_compared_between_recordings(make_result, tmp_path):
    result = make_result(n_hidden=2, **SAME)
    for code in (put(code_of(result, [0, 1]), tmp_path / "other", sha256="b" * 64), code_of(result, [0, 1])):
        (found,) = spikefit.compare(result, code).latents
        assert not found.same_recording
        assert all(np.isnan(match.activity_correlation) for match in found.hidden)
        assert all(match.filter_correlation == pytest.approx(1) for match in found.hidden)
        assert "not known to be of one recording" in found.notes[0]


def test_a_result_without_hidden_units_says_so(make_result, tmp_path):
    result, none = make_result(n_hidden=2, **SAME), make_result(n_hidden=0, hidden=None, **SAME)
    comparison = spikefit.compare(none, result, put(code_of(result, [0, 1]), tmp_path / "code"))
    assert len(comparison.pairs) == 1
    first, second = comparison.latents
    assert first.hidden == ()
    assert "has no hidden units" in first.notes[0]
    assert len(second.hidden) == 2
    with pytest.raises(UsageError, match="all 2 are latents"):
        spikefit.compare(code_of(result, [0, 1]), tmp_path / "code")


def test_page_table_and_screen_say_the_same(make_result, tmp_path):
    from click.testing import CliRunner

    from spikefit.cli.main import cli

    result = make_result(n_hidden=2, **SAME)
    result.save(tmp_path / "fit", figures=False)
    code = put(code_of(result, [1, 0], noise=0.2), tmp_path / "code")
    done = CliRunner().invoke(cli, ["compare", str(tmp_path / "fit"), str(code), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "hidden units of fit beside the 3 latents of code" in done.stdout
    assert "hidden-0 ~ latent 1 (activity r = 0." in done.stdout
    with (tmp_path / "out" / "latents.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["hidden"], row["latent"]) for row in rows} == {("hidden-0", "1"), ("hidden-1", "0")}
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "Hidden units and latents" in page
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert numbers["latents"][0]["hidden"][0]["filter_correlation"] == pytest.approx(1)
