"""A run directory loses nothing that was measured, and takes nothing that is not its own."""

import errno
import os
import resource
from pathlib import Path

import pytest

from rmmbench.errors import Exit, RunError
from rmmbench.results.record import Record
from rmmbench.results.store import (
    RECORDS_FILE,
    RUN_FILE,
    Run,
    shared_records,
)


def refused(action):
    """Return the one line with which an action on a run directory is refused."""
    with pytest.raises(RunError) as caught:
        action()
    assert caught.value.exit_code == Exit.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_of_a_case_that_was_measured_again_the_last_record_counts(run, records):
    """A retry adds a line; the record that it replaces stays on disk and is no longer read."""
    again = records[1].model_copy(update={"wall_seconds": 7.0})
    run.append(again)
    assert run.records() == [records[0], again, records[2]]
    assert list(run.each_record()) == [*records, again]


@pytest.mark.parametrize(
    "update",
    [{"reason": "a \ud800 that no encoding holds"}, {"wall_seconds": float("nan")}],
)
def test_what_makes_no_record_is_recorded_as_an_error(run, records, make_record, update):
    """Nothing that a case comes to can end a sweep, or make its records unreadable."""
    case = make_record(batch_size=32)
    run.append(case.model_copy(update=update))
    *before, instead = run.records()
    assert before == records
    assert (instead.key, instead.case, instead.outcome) == (case.key, case.case, "error")
    assert instead.reason.startswith("what was measured makes no record: ")
    assert instead.missing["memory"]


def test_what_was_appended_is_read_back(run, records):
    """Records come back equal and in order, from a directory opened anew."""
    again = Run.open(run.path)
    assert again.records() == records
    assert again.info == run.info


def test_a_run_without_records_has_none(make_run):
    """A directory in which nothing was measured yet is a run."""
    assert make_run().records() == []


@pytest.mark.parametrize("length", [1, 40, -1])
def test_a_torn_last_line_is_no_record(run, records, length):
    """What a crash left of the last line is passed over; the records before it stand."""
    file = run.path / RECORDS_FILE
    line = records[0].model_dump_json().encode()
    file.write_bytes(file.read_bytes() + line[:length])
    assert run.records() == records


def test_a_torn_last_line_is_dropped_when_the_run_goes_on(run, records, make_record):
    """After a crash the next record starts a line of its own."""
    file = run.path / RECORDS_FILE
    file.write_bytes(file.read_bytes()[:-10])
    more = make_record(batch_size=32)
    with run.locked():
        run.append(more)
    assert run.records() == [*records[:2], more]


def test_a_run_that_is_only_read_is_not_changed(run):
    """Reading leaves a torn line, which a running sweep may be writing, as it is."""
    file = run.path / RECORDS_FILE
    torn = file.read_bytes() + b'{"schema'
    file.write_bytes(torn)
    Run.open(run.path).records()
    assert file.read_bytes() == torn


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hello", "is not JSON; remove the line"),
        (b"\xff\xfe\x00", "is not JSON; remove the line"),
        (b'{"schema_version": 1, "colour": "red"}', "is not a record: "),
        (b'{"schema_version": 3}', "must have schema_version 1 or 2, got 3"),
        (b"[1, 2]", "must have schema_version 1 or 2, got None"),
        (b"[" * 100_000, "is not JSON; remove the line"),
        (b'{"schema_version": ' * 100_000, "is not JSON; remove the line"),
        (b'{"schema_version": 1' + b"0" * 10_000 + b"}", "is not JSON; remove the line"),
        (b'{"schema_version": true}', "must have schema_version 1 or 2, got True"),
        (b'{"schema_version": 1, "key": "\\ud800"}', "is not JSON; remove the line"),
        (b'{"schema_version": 1, "\\u001b[31m": "red"}', r"is not a record: "),
    ],
    ids=range(11),
)
def test_a_foreign_line_is_told_with_its_place(run, line, message):
    """A line in the middle that is no record is told by file and number, not passed over."""
    file = run.path / RECORDS_FILE
    first, rest = file.read_bytes().split(b"\n", 1)
    file.write_bytes(first + b"\n" + line + b"\n" + rest)
    told = refused(run.records)
    assert told.startswith(f"{file}:2 ")
    assert message in told


@pytest.mark.parametrize("name", [RUN_FILE, RECORDS_FILE])
@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_not_read(run, name, kind):
    """A directory or a pipe in the place of a file is told, and nothing waits for it."""
    file = run.path / name
    file.unlink()
    file.mkdir() if kind == "directory" else os.mkfifo(file)
    told = refused(lambda: Run.open(run.path).records())
    assert "it has no run.json" in told or "must be a file" in told


@pytest.mark.parametrize("name", [RUN_FILE, RECORDS_FILE])
def test_what_may_not_be_read_is_told(run, name, monkeypatch):
    """A file without permission is told with the system's reason."""
    opened = Path.open

    def refuse(path, *rest, **more):
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    told = refused(lambda: Run.open(run.path).records())
    assert f"{run.path / name} cannot be read: Permission denied" in told


def test_a_name_that_no_file_has_is_told(tmp_path):
    """A path that is too long for the system is told with its reason."""
    assert "cannot be read: File name too long" in refused(lambda: Run.open(tmp_path / ("x" * 300)))


def test_records_that_are_read_share_what_is_equal(run):
    """A long run has its one machine in memory once; copies of a record stay its own."""
    first, second, _ = run.records()
    assert first.environment is second.environment
    assert first.case.model_fields_set is second.case.model_fields_set
    copy = first.model_copy(update={"stage": "timing"})
    assert copy.model_fields_set is not second.model_fields_set


def test_nan_is_no_record(run):
    """A number that JSON has no word for makes a line foreign."""
    file = run.path / RECORDS_FILE
    file.write_text(file.read_text().replace('"wall_seconds":0.0', '"wall_seconds":NaN'))
    assert f"{file}:1 is not a record: wall_seconds" in refused(run.records)


def test_a_disk_that_fills_costs_no_record(run, records, make_record):
    """A record that fits only in part is refused; those before stand and the run goes on."""
    more = make_record(batch_size=32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, ((run.path / RECORDS_FILE).stat().st_size + 100, hard)
    )
    try:
        told = refused(lambda: run.append(more))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written: File too large" in told
    assert run.records() == records
    with run.locked():
        run.append(more)
    assert run.records() == [*records, more]


def test_a_copy_is_the_same_run(run, records, make_run, tmp_path):
    """A run that is made a baseline takes the place of the one that was there."""
    older = make_run(name="baseline", profile_hash="older")
    run.copy_to(older.path)
    copy = Run.open(older.path)
    assert (copy.info, copy.records()) == (run.info, records)
    assert {file.name for file in older.path.iterdir()} == {RUN_FILE, RECORDS_FILE}


def test_a_copy_that_fails_leaves_what_was_there(run, records, make_run, make_record):
    """A full disk in the middle of a copy costs neither the run nor the old baseline."""
    kept = make_record(batch_size=64)
    older = make_run(kept, name="baseline", profile_hash="older")
    (run.path / RECORDS_FILE).unlink()
    with pytest.raises(FileNotFoundError):
        run.copy_to(older.path)
    there = Run.open(older.path)
    assert (there.info.profile_hash, there.records()) == ("older", [kept])


def test_parts_that_are_cut_out_change_no_record(run):
    """A record is the same whether its parts are read once or with every line."""
    lines = (run.path / RECORDS_FILE).read_bytes().splitlines()
    shared = shared_records("case")
    for line in [*lines, *lines]:
        assert shared.read(line) == Record.model_validate_json(line)


@pytest.mark.parametrize("name", ["sketch-cost-cpu", "ci", "digits-cpu"])
def test_cut_lines_of_committed_runs_are_the_same_records(name):
    """Records of the first schema version are migrated as wholes, parts that are shared or not."""
    path = Path(__file__).parents[2] / "profiles" / "baselines" / name / RECORDS_FILE
    shared = shared_records("case")
    for line in path.read_bytes().splitlines():
        assert shared.read(line) == Record.model_validate_json(line)


def test_a_part_in_a_wrong_place_is_not_read(run):
    """An environment that stands inside another part stays foreign there."""
    line = (run.path / RECORDS_FILE).read_bytes().splitlines()[0]
    start, stop = line.index(b'"environment":'), line.index(b',"memory":')
    moved = line[:start] + b'"environment":null' + line[stop:]
    moved = moved.replace(b'"case":{', b'"case":{' + line[start:stop] + b',"memory":null,', 1)
    assert shared_records().read(moved) is None
