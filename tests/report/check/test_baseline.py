"""Baselines are found by path or name, and a run becomes one without harm to anything else."""

import pytest

from rmmbench.errors import NoBaselineError, RunError, UsageError
from rmmbench.report.check import baseline


@pytest.fixture
def shipped(monkeypatch, tmp_path, make_run, make_record):
    """A folder of shipped baselines that holds one, 'ci'."""
    folder = tmp_path / "shipped"
    make_run(make_record(), name="shipped/ci")
    monkeypatch.setattr(baseline, "_FOLDERS", (folder,))
    monkeypatch.chdir(tmp_path)
    return folder


def test_found_by_name(shipped):
    """A shipped baseline's name is enough."""
    assert baseline.names() == ["ci"]
    assert baseline.find("ci") == shipped / "ci"


def test_path_goes_before_name(shipped, make_run, make_record, tmp_path):
    """A run directory of that name, here, is the one meant; a directory of anything else is not."""
    (tmp_path / "ci").mkdir()
    assert baseline.find("ci") == shipped / "ci"
    make_run(make_record(), name="ci")
    assert not baseline.find("ci").is_absolute()


def test_no_baseline(shipped, tmp_path):
    """What is not there is said with its path, the nearest name and what to do."""
    with pytest.raises(NoBaselineError) as raised:
        baseline.open_baseline(baseline.find("cii"))
    expected = "no baseline at cii; did you mean 'ci'?; make this run the baseline with --save"
    assert str(raised.value) == expected
    (tmp_path / "hollow").mkdir()
    with pytest.raises(NoBaselineError, match=r"no baseline at .*hollow"):
        baseline.open_baseline(tmp_path / "hollow")


def test_saved_run_is_the_baseline(make_run, make_record, tmp_path):
    """A saved run reads back the same, in new folders and in the place of an old baseline."""
    path = tmp_path / "new" / "main"
    for peak in (10**9, 2 * 10**9):
        run = make_run(make_record(peak=peak), name=f"run{peak}")
        baseline.save(run, path)
        assert baseline.open_baseline(path).records() == run.records()


def test_save_that_broke_off(make_run, make_record, tmp_path):
    """What a copy to a full disk left behind is no baseline, and the next one goes there."""
    path = tmp_path / "main"
    path.mkdir()
    (path / "run.json.partial").touch()
    with pytest.raises(NoBaselineError):
        baseline.open_baseline(path)
    run = make_run(make_record())
    baseline.save(run, path)
    assert baseline.open_baseline(path).records() == run.records()


def test_save_refuses(make_run, make_record, tmp_path):
    """A folder of something else, the run itself and a run without records stay as they are."""
    run = make_run(make_record())
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").touch()
    (tmp_path / "file").touch()
    for name in ("src", "file"):
        with pytest.raises(RunError, match=f"{name} is not empty and not a baseline; give another"):
            baseline.save(run, tmp_path / name)
    with pytest.raises(UsageError, match="is the run itself"):
        baseline.save(run, run.path)
    with pytest.raises(UsageError, match="has no records"):
        baseline.save(make_run(name="empty"), tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "src").iterdir()) == ["code.py"]
    assert not (tmp_path / "new").exists()


def test_place_that_cannot_be_written(make_run, make_record, tmp_path):
    """A path below a file is one clear line."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"main cannot be written: .*; give another directory"):
        baseline.save(make_run(make_record()), tmp_path / "file" / "main")
