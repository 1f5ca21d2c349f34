"""Which jobs a batch consists of: files, patterns, tables, grids; and what they are called."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefit.batching.jobs import Session, config_key, make_jobs
from spikefit.batching.naming import MOST_BYTES, recording_name, safe_name, unique_names
from spikefit.batching.sessions import find_sessions, read_sessions
from spikefit.config import Config
from spikefit.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/sub-01/ses-2/ecephys/sub-01_ses-2_task-run_spikes.nwb", "sub-01_ses-2_task-run_spikes"),
        ("/data/sub-01/ses-2/spikes.nwb", "sub-01_ses-2_spikes"),
        ("/data/sub-01/sub-01_spikes.nwb", "sub-01_spikes"),
        ("/data/rec.2020.01.02.h5", "rec.2020.01.02"),
        ("/data/a b'c\"d.nwb", "a_b_c_d"),
        ("/data/two\nlines.nwb", "two_lines"),
        ("/data/--overwrite.nwb", "overwrite"),
        ("/data/...nwb", "session"),
        ("/data/\udcff.nwb", "session"),
        ("/data/マウス.nwb", "マウス"),
        ("/data/kilosort", "kilosort"),
    ],
)
def test_a_recording_is_called_by_its_entities_or_its_file(path, name):
    assert recording_name(Path(path)) == name


@given(st.text(max_size=300) | st.text(string.punctuation + " \n", max_size=20))
def test_no_name_ever_leaves_the_folder_or_looks_like_a_flag(text):
    name = safe_name(text)
    assert name
    assert name not in (".", "..")
    assert not name.startswith((".", "-"))
    assert not set(name) & set("/\\\0\n\r\t '\"$`;&|<>*?")
    assert len(name.encode()) <= MOST_BYTES


def test_recordings_of_one_name_are_told_apart_whatever_their_order():
    paths = [Path("/d/mouse1/rec.nwb"), Path("/d/mouse2/rec.nwb"), Path("/e/mouse2/Rec.nwb"), Path("/d/other.nwb")]
    names = unique_names(paths, [""] * 4)
    assert names[0] == "mouse1_rec"
    assert names[3] == "other"
    assert len({name.casefold() for name in names}) == 4
    assert unique_names(paths[::-1], [""] * 4) == names[::-1]


def make(files, **settings):
    return make_jobs([Session(Path(f"/d/{name}.nwb"), {}) for name in files], Config().replace(**settings), {})


def test_a_grid_is_every_recording_with_every_combination():
    jobs = make(["a", "b"], grid={"hidden": [0, "1,2"], "bin": ["5ms", "10ms"]}, jobs=3, partition="gpu")
    assert [job.name for job in jobs] == [
        f"{name}_hidden-{hidden}_bin-{width}" for name in "ab" for hidden in ("0", "1_2") for width in ("5ms", "10ms")
    ]
    assert len({job.key for job in jobs}) == 4
    assert jobs[3].varied == {"hidden": "1,2", "bin": "10ms"}
    assert Config(**jobs[3].config).model.hidden == (1, 2)
    # What concerns the batch alone is no part of a job.
    assert Config(**jobs[0].config).batch == Config().batch
    assert Config(**jobs[0].config).slurm == Config().slurm


def test_the_key_is_that_of_what_shapes_the_result():
    (plain,) = make(["a"])
    for same in (
        {"threads": 3},
        {"checkpoint_every": "5min"},
        {"strict": True},
        {"figures": "none"},
        {"device": "cpu"},
        {"jobs": 7},
    ):
        assert make(["a"], **same)[0].key == plain.key, same
    for other in ({"seed": 1}, {"bin": "7ms"}, {"min_spikes": 3}, {"draws": 3}, {"ridge": 2}):
        assert make(["a"], **other)[0].key != plain.key, other
    assert config_key({"recording": {"from_the_future": 1}}) is None


def test_a_grid_of_a_million_is_refused_until_it_is_confirmed():
    many = {"grid": {"seed": list(range(1000)), "ridge": list(range(1000))}}
    with pytest.raises(ConfigError, match=r"1,000,000 jobs \(1 recordings × 1000 of seed × 1000 of ridge\)") as told:
        make(["a"], **many)
    assert "--most-jobs 1000000" in told.value.hint
    assert told.value.exit_code == 3
    few = {"grid": {"seed": [1, 2, 3]}}
    assert len(make(["a"], **few, most_jobs=3)) == 3
    with pytest.raises(ConfigError, match="more than 2"):
        make(["a"], **few, most_jobs=2)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"hiden": [1]}, "there is no setting 'hiden'; did you mean 'hidden'?"),
        ({"hidden": [-1]}, "the number of hidden units must lie between 0 and 1000"),
        ({"jobs": [1, 2]}, "jobs is the same for all jobs of a batch"),
        ({"hidden": [1, 1]}, "each value of hidden is wanted once"),
        ({"hidden": []}, "hidden needs values to vary over"),
        (["hidden"], "expected KEY=VALUE,VALUE"),
        (["hidden=1", "hidden=2"], "hidden is varied twice"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(grid, words):
    with pytest.raises(ConfigError, match="grid") as told:
        Config().replace(grid=grid)
    assert words in told.value.message


def test_settings_that_contradict_each_other_for_some_jobs_are_all_listed():
    with pytest.raises(ConfigError) as told:
        make(["a"], grid={"bin": ["5ms", "50ms"], "window": ["20ms", "100ms"]})
    assert "the window (20ms) is shorter than one bin (50ms)" in told.value.message


# -- files and patterns ------------------------------------------------------------------------------------------


def test_patterns_and_odd_names(tmp_path):
    odd = ["a b.nwb", "[x].nwb", "--resume.nwb", "ü.nwb", "new\nline.nwb", "$HOME.nwb"]
    for name in odd:
        (tmp_path / name).touch()
    found = find_sessions(["*.nwb", "[x].nwb"], tmp_path)
    assert sorted(session.path.name for session in found) == sorted(odd)
    assert [s.path.name for s in find_sessions(odd, tmp_path)] == odd
    with pytest.raises(UsageError, match=r"no such recording: \*\.h5, b\.nwb"):
        find_sessions(["*.h5", "a b.nwb", "b.nwb"], tmp_path)


# -- tables -----------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    for name in ("a.nwb", "b.nwb", "c, d.nwb"):
        (tmp_path / name).touch()

    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_table_gives_each_row_its_own_settings(table, tmp_path):
    path = table('\ufeffpath,epochs,hidden,name\na.nwb,"run,rest",,first\n"c, d.nwb",n/a,2,\n\n')
    first, second = read_sessions(path)
    assert first == Session(tmp_path / "a.nwb", {"epochs": ["run", "rest"]}, "first", "t.csv row 2")
    assert second == Session(tmp_path / "c, d.nwb", {"hidden": "2"}, "", "t.csv row 3")
    jobs = make_jobs([first, second], Config(), {})
    assert [job.name for job in jobs] == ["first", "c_d"]
    assert jobs[1].origin["hidden"] == "t.csv row 3"
    tabs = read_sessions(table("path\tunits\na.nwb\tg1,ca*\n", "t.tsv"))
    assert tabs[0].overrides == {"units": "g1,ca*"}


def test_one_recording_in_several_rows_is_told_apart_by_its_settings(table):
    rows = read_sessions(table("path,epochs\na.nwb,run\na.nwb,rest\n"))
    assert [job.name for job in make_jobs(rows, Config(), {})] == ["a_epochs-run", "a_epochs-rest"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,hidden\na.nwb,1\n", ["there is no column `path`", "column 'file': there is no such setting"]),
        ("path,hiden\na.nwb,1\n", ["did you mean 'hidden'?"]),
        ("path,jobs\na.nwb,1\n", ["column 'jobs': there is no such setting"]),
        ("path,path\na.nwb,a.nwb\n", ["column 'path' stands 2 times"]),
        ("path\na.nwb\nb.nwb\na.nwb\n", ["row 4 says the same as row 2"]),
        ("path,hidden\na.nwb\nb.nwb,-2\nnope.nwb,1\n,3\n",
         ["row 2 has 1 cells, the header 2", "row 3, hidden: the number of hidden units",
          "row 4: there is no such recording: nope.nwb", "row 5: path is empty"]),
        ("path\n$NOWHERE_AT_ALL/a.nwb\n", ["names an environment variable that is not set"]),
        ("path\n", ["there are no rows"]),
        ("", ["there is no column `path`; found nothing"]),
    ],
)  # fmt: skip
def test_all_faults_of_a_table_are_listed(table, text, words):
    with pytest.raises(ConfigError) as told:
        read_sessions(table(text))
    for each in words:
        assert each in told.value.message
    assert told.value.exit_code == 3


def test_a_table_that_is_none(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00p")
    for path, words in ((tmp_path / "x.csv", "no UTF-8"), (tmp_path / "y.csv", "no such table"), (tmp_path, "cannot")):
        with pytest.raises(ConfigError, match=words):
            read_sessions(path)
