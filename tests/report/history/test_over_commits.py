"""A history: what moved at which commit, and what is never compared."""

import random

import pytest

import rmmbench
from rmmbench.errors import RunError, UnknownNameError, UsageError
from rmmbench.report.figures._history_panels import draw_history
from rmmbench.report.history.over_commits import history
from rmmbench.report.history.series import confidence
from rmmbench.units import GIB

PEAK, SPEED = "peak_allocated_bytes", "relative_throughput"
RMM = {"method": "rmm", "sketch": "dct", "rho": 0.1}


def told(found):
    """The moves of a history, in short."""
    return [
        (series.what, move.commit.name, confidence(series, move), move.is_worse)
        for series, move in found.moves
    ]


def test_a_byte_more_is_a_move(make_history):
    """What is predicted moved if it differs at all, at the first commit where it does."""
    folder = make_history(peaks=[GIB, GIB, GIB + 1, GIB + 1, GIB])
    found = history(folder, numbers=[PEAK])
    assert told(found) == [(PEAK, "02020202", "exact", True), (PEAK, "04040404", "exact", False)]
    assert found.counted == "1 of 1 number moved"
    assert found.exit_code == 0


def test_last_commit_got_worse(make_history):
    """Only what got worse at the last commit fails, with the gravest of it in words."""
    found = history(make_history(peaks=[GIB, GIB, 2 * GIB]), numbers=[PEAK])
    assert found.exit_code == 3
    assert found.failure == (
        "1 number got worse at the last commit; the gravest: peak_allocated_bytes rose 100.0 % "
        "(exact, at 02020202): "
        "model=roberta-tiny task=mrpc batch_size=16 seq_len=103 sketch=dct rho=0.1"
    )


def test_noise_is_no_move_and_a_slow_down_is(make_history):
    """Runs that differ by 1 % did not move; at a fifth more time they did, with a confidence."""
    noise = random.Random(0)
    seconds = [noise.gauss(1.0, 0.01) for _ in range(12)]
    assert told(history(make_history(seconds=seconds), numbers=[SPEED])) == []
    slower = [each * (1.2 if place >= 6 else 1.0) for place, each in enumerate(seconds)]
    found = history(make_history(seconds=slower), numbers=[SPEED])
    assert told(found) == [(SPEED, "06060606", "over 99.9 %", True)]
    levels = dict.fromkeys(found.frame().level)
    assert list(levels) == pytest.approx([1.0, 1 / 1.2], rel=0.02)


@pytest.mark.parametrize(
    ("name", "values"),
    [("torch", ["2.12.0", "2.13.0"]), ("processor", ["A", "B"]), ("torch_threads", [2, 4])],
)
def test_elsewhere_begins_a_new_series(name, values, make_history):
    """Times of another torch or machine are never mixed, and it is said; unless that is allowed."""
    seconds = [1.0, 1.001, 1.002, 1.003, 1.5, 1.501, 1.502, 1.503]
    changes = {name: [values[0]] * 4 + [values[1]] * 4}
    folder = make_history(seconds=seconds, **changes)
    apart = history(folder, numbers=[SPEED])
    assert told(apart) == []
    assert len(apart.series) == 2
    told_name = name.removeprefix("torch_")
    assert (
        f"{told_name} differs, and a new series begins with each: {values[0]} from 00000000"
        in (apart.notes[0])
    )
    assert f"{values[1]} from 04040404; join them with --allow {told_name}" in apart.notes[0]
    joined = history(folder, numbers=[SPEED], allow=[told_name])
    assert [each[1] for each in told(joined)] == ["04040404"]


def test_predicted_bytes_go_on_elsewhere(make_history):
    """What is predicted is the same on any machine, so that another one begins no new series."""
    folder = make_history(peaks=[GIB, GIB, 2 * GIB], processor=["A", "B", "C"])
    assert told(history(folder, numbers=[PEAK])) == [(PEAK, "02020202", "exact", True)]


def test_changed_versions_are_told(make_history):
    """If the environment changed with the code, the move says so."""
    folder = make_history(peaks=[GIB, 2 * GIB], transformers=["5.1", "5.2"], processor=["A", "B"])
    (_, move), *_ = history(folder, numbers=[PEAK]).moves
    assert move.also == ("transformers 5.1 → 5.2",)


def test_runs_of_one_commit_are_one_code(make_history):
    """Several runs of a commit count as several, and nothing moves between them."""
    seconds = [1.0, 1.002, 1.001, 1.3, 1.302, 1.301, 1.303]
    folder = make_history(seconds=seconds, commits=[0, 0, 0, 1, 1, 1, 1])
    found = history(folder, numbers=[SPEED])
    assert len(found.commits) == 2
    assert [(each[1], each[3]) for each in told(found)] == [("01010101", True)]
    assert found.failure.startswith("1 number got worse at the last commit; the gravest: relative")


def test_slow_down_fails_as_soon_as_it_can_be_told(make_history):
    """Times that got worse fail when the third run shows it, and not for ever after."""
    seconds = [1.0, 1.002, 1.001, 1.003, 1.004, 1.3, 1.301, 1.303, 1.302]
    codes = []
    for count in (6, 7, 8, 9):
        found = history(make_history(seconds=seconds[:count]), numbers=[SPEED])
        codes.append(int(found.exit_code))
    assert codes == [0, 0, 3, 0]


def test_a_case_that_fails_moved(make_record, make_run):
    """A case that runs out of memory at a commit is a move for the worse."""
    for name, outcome in (("a", "ok"), ("b", "out_of_memory")):
        make_run(make_record(outcome=outcome, **RMM), name=f"runs/{name}")
    found = history([make_run(name=f"runs/{name}") for name in "ab"], numbers=["outcome"])
    assert told(found) == [("outcome", "0123abc", "exact", True)]


def test_states_in_git(make_record, make_run, tmp_path, git):
    """The committed states of one run are its history; a time that stands is no second run."""
    run = make_run(make_record(peak=GIB, **RMM), name="main")
    for size in (GIB, GIB, 3 * GIB):
        lines = make_record(peak=size, **RMM).model_dump_json() + "\n"
        (run.path / "records.jsonl").write_text(lines)
        git("add", ".")
        git("commit", "-q", "--allow-empty", "-m", f"Size <b> {size}")
    found = history(tmp_path / "main", numbers=[PEAK])
    assert found.source.endswith("main in git: 2 runs of 2 commits")
    ((_, move),) = found.moves
    assert (move.commit.title, move.before, move.after) == (f"Size <b> {3 * GIB}", GIB, 3 * GIB)
    hover = [text for trace in draw_history(found).data for text in trace.hovertext or ()]
    assert any("Size &lt;b&gt;" in text and "moved +200.0 %" in text for text in hover)
    assert not any("Size <b>" in text for text in hover)
    (tmp_path / "main" / "records.jsonl").write_text("{}\n")
    git("commit", "-qam", "Damaged")
    damaged = history(tmp_path / "main", numbers=[PEAK])
    assert len(damaged.commits) == 2
    assert damaged.notes[0].startswith("left out: records.jsonl at ")


def test_measurement_that_is_committed_twice_counts_once(make_history, make_record, make_run, git):
    """Times that stand in a later commit are not taken for a run that agrees with them."""
    run = make_run(make_record(**RMM), name="main")
    for size, seconds in ((1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0)):
        steps = {"step_seconds": (seconds,) * 7, "reference_step_seconds": (1.0,) * 7}
        record = make_record(peak=size, **steps, **RMM)
        (run.path / "records.jsonl").write_text(record.model_dump_json() + "\n")
        git("add", ".")
        git("commit", "-qm", "Again")
    (series,) = history(run.path, numbers=[SPEED]).series
    assert len(series.points) == 2


def test_what_is_no_history(make_record, make_run, tmp_path, git):
    """No runs, one run, a run that git does not have, and unknown names are one clear line each."""
    run = make_run(make_record(**RMM), name="runs/one")
    with pytest.raises(RunError, match="must have runs, and has none; give a folder"):
        history(tmp_path / "none")
    with pytest.raises(
        RunError, match=r"takes two runs or more, and .*runs has 1 run of 1 commit;"
    ):
        history(tmp_path / "runs")
    with pytest.raises(UsageError, match=r"git has no commit of .*records.jsonl; commit it, or"):
        history(run.path)
    git("add", ".")
    git("commit", "-qm", "One")
    with pytest.raises(RunError, match="commit the run again after a change"):
        history(run.path)
    with pytest.raises(UsageError, match="git knows no commits 'v9'; give a branch"):
        history(run.path, commits="v9")
    with pytest.raises(UsageError, match="commits walks the commits of one run, got the folder"):
        history(tmp_path / "runs", commits="main")
    with pytest.raises(UnknownNameError, match="no number named 'peak'"):
        history(run.path, numbers=["peak"])
    with pytest.raises(UnknownNameError, match="no difference to allow named 'time'"):
        history(run.path, allow=["time"])


def test_outside_git(make_record, make_run):
    """A run in no repository is refused in one line."""
    run = make_run(make_record(**RMM), name="alone")
    with pytest.raises(UsageError, match="is one run and in no git repository; give a folder of"):
        history(run.path)


def test_damaged_records(make_history):
    """A run of the folder that cannot be read is named, with the line to remove."""
    folder = make_history(peaks=[1, 1])
    (folder / "01" / "records.jsonl").write_text("x\n")
    with pytest.raises(RunError, match=r"01/records.jsonl:1 is not JSON; remove the line"):
        history(folder)


def test_order_is_that_of_commits(make_record, make_run, tmp_path, git, monkeypatch):
    """An old commit that is measured late stands where it was committed, if git knows it."""
    hashes = []
    for day in (1, 2, 3):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-01-0{day}T00:00:00Z")
        git("commit", "-q", "--allow-empty", "-m", f"Day {day}")
        hashes.append((tmp_path / ".git/refs/heads/main").read_text().strip())
    for name, index in (("a", 0), ("b", 2), ("c", 1)):
        of = make_record().environment.model_copy(update={"commit": hashes[index]})
        make_run(make_record(environment=of, **RMM), name=f"runs/{name}", environment=of)
    found = history(tmp_path / "runs", numbers=[PEAK])
    assert [each.title for each in found.commits] == ["Day 1", "Day 2", "Day 3"]


def test_frame_and_data(make_history):
    """For programs there is a row per point, and everything as plain data."""
    folder = make_history(peaks=[GIB, 2 * GIB])
    found = rmmbench.history(folder)
    frame = found.frame()
    peaks = frame[frame.what == PEAK]
    assert peaks.value.tolist() == [GIB, 2 * GIB]
    assert peaks.moved.tolist() == [False, True]
    assert peaks.commit.tolist() == ["00" * 20, "01" * 20]
    series = next(each for each in found.data()["series"] if each["what"] == PEAK)
    assert series["moves"][0]["told"] == "exact"
    assert "<table" in found._repr_html_()
