import json

import pytest


@pytest.fixture
def folders(result, tmp_path):
    source = {"provenance": {"input": {"sha256": "a" * 64, "name": "session.nwb"}}}
    result(**source).save(tmp_path / "one", figures=False)
    metrics = {"heldout_nats_per_bin": -8.0, "heldout_nats_per_bin_se": 0.1, "heldout_bits_per_spike": 0.2}
    result(**source, metrics=metrics).save(tmp_path / "two", figures=False)
    return tmp_path / "one", tmp_path / "two"


def test_the_tables_say_who_predicts_better(invoke, folders):
    outcome = invoke("compare", *folders)
    assert outcome.exit_code == 0, outcome.output
    text = outcome.stdout
    assert "two against one:" in text
    assert "held out: +0.2500 nats per bin (not paired: a result does not hold the score" in text
    assert "weights: r = 1.00, rank r = 1.00 over 6 pairs of 3 units in common" in text
    assert "hidden: hidden-0 ~ hidden-0 (couplings r = 1.00)" in text
    assert invoke("compare", *folders, "-q").output == ""


def test_json_and_files(invoke, folders, tmp_path):
    out = tmp_path / "both"
    outcome = invoke("compare", *folders, "--json", "-o", out, "--top", 2)
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(outcome.stdout)
    assert found == json.loads((out / "comparison.json").read_text())
    assert found["pairs"][0]["couplings"]["n_common"] == 2
    assert found["units_in_common"] == ["a", "[b]", "c"]
    again = invoke("compare", *folders, "-o", out)
    assert again.exit_code == 2
    assert "left as it is" in again.stderr
    assert invoke("compare", *folders, "-o", out, "--overwrite").exit_code == 0


def test_what_cannot_be_compared_ends_with_a_reason(invoke, folders, tmp_path):
    alone = invoke("compare", folders[0])
    assert alone.exit_code == 2
    assert "at least two results" in alone.stderr
    gone = invoke("compare", folders[0], tmp_path)
    assert gone.exit_code == 4
    assert "is no result itself but holds 2" in gone.stderr
    assert invoke("compare", *folders, "--q", "7").exit_code == 2
