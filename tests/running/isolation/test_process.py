"""Whatever a case does in its process is recorded, and the others go on."""

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from rmmbench.running.events import Finished, Started, Working
from rmmbench.running.isolation import process
from rmmbench.running.launchers.local import LocalLauncher
from rmmbench.spec.case import Case

FACTORIES = """
import contextlib, os, signal, sys, time
from pathlib import Path
import numpy, torch
from torch import nn

class Net(nn.Module):
    def __init__(self, after=lambda y: y):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.after = after

    def forward(self, x):
        return self.after(self.linear(x)).square().sum()

def made(model, batch_size):
    return model, lambda: {"x": torch.randn(batch_size, 4)}

def good(batch_size, seq_len):
    print("a library's chatter")
    return made(Net(), batch_size)

def raises(batch_size, seq_len):
    raise OSError("the dog ate\\nthe weights")

def fails_the_second_time(batch_size, seq_len):
    if Path("called").exists():
        raise OSError("the dog is back")
    Path("called").touch()
    return good(batch_size, seq_len)

def is_killed_the_second_time(batch_size, seq_len):
    if Path("lived").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    Path("lived").touch()
    return good(batch_size, seq_len)

def hangs(batch_size, seq_len):
    Path("pid").write_text(str(os.getpid()))
    time.sleep(600)

def hangs_in_a_step(batch_size, seq_len):
    return made(Net(lambda y: time.sleep(600)), batch_size)

def aborts(batch_size, seq_len):
    os.abort()

def kills_itself(batch_size, seq_len):
    os.kill(os.getpid(), signal.SIGKILL)

def looks_killed_for_memory(batch_size, seq_len):
    Path("counts").write_text("oom_kill 4\\n")
    os.kill(os.getpid(), signal.SIGKILL)

def leaves(batch_size, seq_len):
    print("RuntimeError: of a kind that exits", file=sys.stderr)
    sys.exit(3)

def takes_too_much(batch_size, seq_len):
    return made(Net(lambda y: y + torch.empty(2**50)), batch_size)

def says_what_no_text_holds(batch_size, seq_len):
    raise OSError("the dog \\ud800 ate \\x1b[2J it")

def prints_without_end(batch_size, seq_len):
    for _ in range(300):
        print("x" * 2**16)
    print("Error: all that was said before is forgotten", flush=True)
    os._exit(3)

def writes_to_its_own_pipe(batch_size, seq_len):
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(entry.path).startswith("pipe:") and int(entry.name) > 2:
                os.write(int(entry.name), b"half of")
    time.sleep(600)

def takes_too_much_of_numpy(batch_size, seq_len):
    return made(Net(lambda y: y + float(numpy.empty(2**58)[0])), batch_size)
"""

# What each comes to; all in one sweep, with good ones before, between and after.
EXPECTED = {
    "good": ("ok", None, None),
    "raises": ("error", "measuring memory", "OSError: the dog ate the weights"),
    "hangs": ("timeout", "measuring memory", "took longer than 8 s; raise time_limit_seconds"),
    "aborts": (
        "error",
        "measuring memory",
        "the process was killed by signal 6 (SIGABRT); it said: Fatal Python error: Aborted",
    ),
    "kills_itself": ("error", "measuring memory", "the process was killed by signal 9 (SIGKILL)"),
    "looks_killed_for_memory": (
        "out_of_memory",
        "measuring memory",
        "the kernel's out-of-memory killer ended it; use a smaller batch",
    ),
    "leaves": (
        "error",
        "measuring memory",
        "the process ended with exit code 3; it said: RuntimeError: of a kind that exits",
    ),
    "takes_too_much": ("out_of_memory", "measuring memory", "DefaultCPUAllocator: can't allocate"),
    "says_what_no_text_holds": (
        "error",
        "measuring memory",
        r"OSError: the dog \ud800 ate \x1b[2J it",
    ),
    "prints_without_end": (
        "error",
        "measuring memory",
        "the process ended with exit code 3; it said: Error: all that was said before is forgotten",
    ),
    "writes_to_its_own_pipe": (
        "error",
        "measuring memory",
        "something else wrote to the pipe of its messages",
    ),
    "takes_too_much_of_numpy": ("out_of_memory", "measuring memory", "Unable to allocate 2.00 EiB"),
}


def case(factory, number=1, memory_device="cpu", time_device=None):
    """Return a case of one of the factories."""
    return Case(
        model=f"import:of_all_kinds:{factory}",
        batch_size=number,
        memory_device=memory_device,
        time_device=time_device,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Work where the module of factories is, as a person's command would."""
    path = tmp_path_factory.mktemp("own")
    (path / "of_all_kinds.py").write_text(FACTORIES)
    (path / "counts").write_text("oom_kill 3\n")
    (path / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(process, "_KERNEL_COUNTS", path / "counts")
        patch.setattr(tempfile, "tempdir", str(path / "temporary"))
        yield path


@pytest.fixture(scope="module")
def run(folder):
    """Return what runs cases and gives all events."""
    from rmmbench.measures.environment import environment

    here = environment()
    process.call(os.getpid)  # the fork server starts now, outside any case's limit

    def events(cases, limit=60.0, jobs=1):
        return list(LocalLauncher(here, limit, jobs, folder).run(cases))

    return events


@pytest.fixture(scope="module")
def sweep(run):
    """Run all kinds of cases in one sweep and return its cases and events."""
    cases = [case("good", 2)]
    for factory in EXPECTED:
        cases += [case(factory), case("good", 3 + len(cases))]
    return cases, run(cases, limit=8.0)


def records(events):
    """Return the records among events, by the case's key."""
    return {event.record.key: event.record for event in events if isinstance(event, Finished)}


@pytest.mark.parametrize("factory", EXPECTED)
def test_every_end_is_recorded(sweep, factory):
    """Outcome, stage and reason say what became of a case, in one line."""
    record = records(sweep[1])[case(factory).key]
    outcome, stage, reason = EXPECTED[factory]
    assert (record.outcome, record.stage) == (outcome, stage)
    if reason is None:
        assert record.reason is None
        assert record.memory.saved_bytes > 0
    else:
        assert reason in record.reason
        assert "\n" not in record.reason
        assert record.memory is None
        assert record.missing["memory"]


def test_the_others_go_on(sweep):
    """Each case has one record, in order, and every good one is ok."""
    cases, events = sweep
    finished = [event.record for event in events if isinstance(event, Finished)]
    assert [record.case for record in finished] == cases
    good = [record for record in finished if record.case.model.endswith(":good")]
    assert len(good) == len(EXPECTED) + 2
    assert {record.outcome for record in good} == {"ok"}


def test_cases_are_announced(sweep):
    """Each case is told when it starts, with what it does while it runs, and when it is done."""
    cases, events = sweep
    assert [event.case for event in events if isinstance(event, Started)] == cases
    working = [event for event in events if isinstance(event, Working)]
    doing = {(running, stage) for event in working for running, stage in event.running}
    assert (case("hangs"), "measuring memory") in doing


def test_predictions_share_the_machine_and_a_hanging_one_stops_none(run):
    """With several jobs, cases end as they do; the slow one is stopped at its limit."""
    cases = [case("hangs", memory_device="predict")]
    cases += [case("good", number, memory_device="predict") for number in range(1, 5)]
    events = run(cases, limit=5.0, jobs=2)
    outcomes = {key: record.outcome for key, record in records(events).items()}
    assert outcomes == {c.key: "ok" if "good" in c.model else "timeout" for c in cases}
    *_, last = (event.record for event in events if isinstance(event, Finished))
    assert last.outcome == "timeout"
    assert last.stage == "predicting memory"
    assert max(len(event.running) for event in events if isinstance(event, Working)) == 2


def test_the_stage_is_the_one_that_hung(run):
    """A case that hangs while steps are timed says so, and keeps no half of a measure."""
    (record,) = records(run([case("hangs_in_a_step", 1, None, "cpu")], limit=3.0)).values()
    assert (record.outcome, record.stage) == ("timeout", "timing steps")


def test_memory_stays_where_time_fails(run):
    """What was measured before a fault is in the record beside the reason for the rest."""
    wanted = case("fails_the_second_time", 1, "predict", "cpu")
    (record,) = records(run([wanted])).values()
    assert (record.outcome, record.stage) == ("error", "building the model")
    assert record.memory.saved_bytes > 0
    assert record.timing is None
    assert record.missing["timing"] == "the case did not get so far"


def test_memory_stays_where_the_process_is_killed(run):
    """What was found before is in the record, though who found it could not send it any more."""
    wanted = case("is_killed_the_second_time", 1, "predict", "cpu")
    (record,) = records(run([wanted])).values()
    assert (record.outcome, record.stage) == ("error", "building the model")
    assert "killed by signal 9" in record.reason
    assert record.memory.saved_bytes > 0
    assert record.converted == 0
    assert record.missing["timing"] == "the case's process ended first"
    assert "memory" not in record.missing


def test_a_case_costs_little_beside_its_steps(run, folder):
    """From start to record a case takes less than a second more than its own building and steps."""
    wanted = [case("good", number, memory_device="predict") for number in range(1, 5)]
    here = records(run(wanted[:1]))[wanted[0].key].environment
    started, extra = {}, []
    for event in LocalLauncher(here, 60.0, 1, folder).run(wanted):
        if isinstance(event, Started):
            started[event.case.key] = time.monotonic()
        if isinstance(event, Finished):
            took = time.monotonic() - started[event.record.key]
            extra.append(took - event.record.wall_seconds)
    assert len(extra) == 4
    # The least of them: a machine that is busy with other things is no fault of the sweep's.
    assert min(extra) < 1.0


def test_no_worker_outlives_its_sweep(folder, environment, wait_for, living):
    """A sweep killed outright leaves no process: not the one that measures, nor the server.

    And nothing that a case printed is on the terminal, and no temporary file stays.
    """
    (folder / "pid").unlink(missing_ok=True)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rmmbench.spec.case import Case\n"
        "from rmmbench.results.record import Environment\n"
        "from rmmbench.running.launchers.local import LocalLauncher\n"
        "environment = Environment.model_validate_json(sys.argv[1])\n"
        "wanted = [Case(model=f'import:of_all_kinds:{name}', batch_size=1, memory_device='cpu')\n"
        "          for name in ('good', 'hangs')]\n"
        "list(LocalLauncher(environment, 600, 1, Path()).run(wanted))\n"
    )
    sweep = subprocess.Popen(
        [sys.executable, "-c", program, environment.model_dump_json()],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"TMPDIR": str(folder / "temporary")},
        start_new_session=True,
    )
    with sweep:
        try:
            worker = wait_for(lambda: (folder / "pid").is_file() and (folder / "pid").read_text())
            assert int(worker) in living()
            assert list((folder / "temporary").glob("rmmbench-*"))
        finally:
            sweep.kill()
        wait_for(lambda: not living())
        assert list((folder / "temporary").glob("rmmbench-*")) == []
        assert sweep.stdout.read() == b""


def test_a_process_that_gives_no_answer_is_told():
    """What runs in a process of its own either answers, or its end is an error here."""
    assert process.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        process.call(divmod, 7, 0)
    with pytest.raises(process.EndedError, match=r"was killed by signal 6 \(SIGABRT\)"):
        process.call(os.abort)
    with pytest.raises(process.EndedError, match=r"took longer than 0\.2 s"):
        process.call(time.sleep, 600, limit_seconds=0.2)


def test_interrupts_are_the_parents():
    """A process of a case takes no notice of Ctrl-C: it is in a session of its own."""
    assert process.call(signal.getsignal, signal.SIGINT) is signal.SIG_IGN
    assert process.call(os.getsid, 0) != os.getsid(0)
