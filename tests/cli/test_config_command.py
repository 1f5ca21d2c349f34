import json

from spikefit.config import Config


def test_init_check_show_go_together(invoke, tmp_path):
    path = tmp_path / "lab.yaml"
    assert invoke("config", "init", path).stdout == f"wrote {path}; use it with `spikefit infer … -c {path}`\n"
    checked = invoke("config", "check", path)
    assert (checked.exit_code, "no faults" in checked.stdout) == (0, True)
    shown = invoke("config", "show", "-c", path)
    assert "  bin: 5ms  # default\n" in shown.stdout


def test_init_refuses_to_write_over_a_file(invoke, tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text("bin: 7ms\n")
    refused = invoke("config", "init", path)
    assert refused.exit_code == 2
    assert "is there already" in refused.stderr
    assert path.read_text() == "bin: 7ms\n"
    assert invoke("config", "init", path, "--overwrite").exit_code == 0
    assert "recording:" in path.read_text()


def test_init_writes_to_stdout(invoke):
    assert "  #bin: 5ms\n" in invoke("config", "init", "-").stdout


def test_show_tells_where_each_value_comes_from(invoke, tmp_path, monkeypatch):
    path = tmp_path / "lab.yaml"
    path.write_text("bin: 10ms\nwindow: 50ms\n")
    monkeypatch.setenv("SPIKEFIT_RIDGE", "3")
    out = invoke("config", "show", "-c", path, "--window", "80ms").stdout
    assert "  bin: 10ms  # lab.yaml line 1\n" in out
    assert "  window: 80ms  # flag --window\n" in out
    assert "  ridge: 3.0  # environment SPIKEFIT_RIDGE\n" in out
    found = json.loads(invoke("config", "show", "-c", path, "--json").stdout)
    assert found["config"]["model"]["window"] == "50ms"
    assert found["origin"]["window"] == "lab.yaml line 2"


def test_what_show_prints_is_a_config_that_gives_the_same(invoke, tmp_path):
    path = tmp_path / "shown.yaml"
    path.write_text(invoke("config", "show", "--bin", "7ms", "--drop-unit", "010").stdout)
    again = json.loads(invoke("config", "show", "-c", path, "--json").stdout)["config"]
    assert again == Config().replace(bin="7ms", drop_unit=["010"]).to_dict()


def test_check_lists_all_faults_and_leaves_the_environment_out(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKEFIT_DRAWS", "nonsense")
    path = tmp_path / "lab.yaml"
    path.write_text("binn: 5ms\nridge: -1\n")
    outcome = invoke("config", "check", path)
    assert outcome.exit_code == 3
    assert "lab.yaml line 1: there is no key 'binn'; did you mean 'bin'?" in outcome.stderr
    assert "lab.yaml line 2: ridge: expected a penalty of at least 0, or auto; got '-1'" in outcome.stderr
    assert "DRAWS" not in outcome.stderr


def test_schema_and_reference(invoke):
    assert json.loads(invoke("config", "schema").stdout)["title"] == "spikefit config"
    assert "| `bin` | `5ms` |" in invoke("config", "schema", "--markdown").stdout
