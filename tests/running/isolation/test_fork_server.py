"""The server that forks: what a process is given, how it ends, and what is left of it: nothing."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rmmbench.errors import RmmbenchError, UnknownNameError
from rmmbench.running.isolation import fork_server, process
from rmmbench.running.isolation.job import search_path
from rmmbench.running.isolation.process import CaseProcess
from rmmbench.spec.case import Case

MINE = """
import os, signal, subprocess, sys, tempfile, time
from pathlib import Path

from rmmbench.errors import UnknownNameError

def kill_the_server(send=None, *args):
    with open("kills", "a") as file:
        file.write("killed ")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)

def kill_the_server_once(answer):
    if not Path("kills").exists():
        kill_the_server()
    return answer

def leave_children():
    print("Error: " + "x" * 2**20)
    pids = [subprocess.Popen(["sleep", "600"], start_new_session=True).pid]
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            time.sleep(600)
        os._exit(0)
    Path(tempfile.mkdtemp(prefix="pymp-"), "large").touch()
    return [*pids, int(os.read(reader, 100))]

def half_a_message(send, *args):
    # What sends is a method of what has the descriptor.
    os.write(send.__self__._descriptor, send.__self__._word + b"and")
    time.sleep(600)

def garbage(send, *args):
    os.write(send.__self__._descriptor, b"garbage" * 9)
    time.sleep(600)

class Own(UnknownNameError):
    def __init__(self):
        super().__init__("sketch", "x", ["y"])

def fail():
    raise Own
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Return a module of functions to call, where a server of this test's own imported nothing."""
    (tmp_path / "mine.py").write_text(MINE)
    temporary = Path(tempfile.mkdtemp())  # pytest's own is too long for sockets
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(fork_server, "_server", None)
    fork_server.preload(["only_named"])
    import mine

    yield mine
    fork_server._server.stop()
    temporary.rmdir()  # nothing is in it
    del sys.modules["mine"]


@pytest.fixture
def ended(mine, environment, monkeypatch, wait_for):
    """Return the record of a case whose process calls one of the functions."""

    def run(name, limit=60.0):
        monkeypatch.setattr(process, "measure_case", getattr(mine, name))
        running = CaseProcess(Case(model="linear:8x8", batch_size=1), environment, limit, Path())
        return wait_for(running.poll)

    return run


def test_a_process_ends_with_all_that_it_started(mine, wait_for):
    """Children in sessions of their own go with it, however much it printed; so do its files."""
    for number in process.call(mine.leave_children):
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
    (folder,) = Path(tempfile.gettempdir()).iterdir()
    assert [path.name for path in folder.iterdir()] == [".rmmbench-owner"]


def test_nothing_holds_the_parents_output(mine, tmp_path):
    """Who reads what a parent prints is done when that ends, whatever its cases started."""
    program = (
        "import os; from rmmbench.running.isolation import fork_server, process\n"
        "fork_server.preload([])\n"
        "if process.call(os.system, 'sleep 600 & setsid sleep 600 &') == 0: print('done')\n"
        "os._exit(0)"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (told.stdout, told.stderr) == ("done\n", "")


def test_a_killed_server_is_started_again(mine):
    """Who was asked when the server was killed is asked once more, and the next goes as before."""
    assert process.call(mine.kill_the_server_once, 7) == 7
    assert process.call(divmod, 7, 2) == (3, 1)


def test_who_kills_every_server_is_told(mine):
    """A function that kills the server whenever it is asked is not asked for ever."""
    with pytest.raises(process.EndedError, match="the process that was asked"):
        process.call(mine.kill_the_server)
    assert Path("kills").read_text() == "killed killed "


def test_a_case_that_kills_every_server_has_a_record(ended):
    """A case that went with its server is started once more, and then recorded as an error."""
    record = ended("kill_the_server")
    assert (record.outcome, record.stage) == ("error", "starting again")
    assert record.reason == "the process that cases are forked from was killed while it ran, twice"
    assert record.warnings == ("measured anew: the process that cases are forked from was killed",)
    assert Path("kills").read_text() == "killed killed "


def test_garbage_is_the_cases_error(ended):
    """What a case writes to the pipe of its messages ends it at once, not its sweep."""
    record = ended("garbage")
    assert record.outcome == "error"
    assert record.reason == "something else wrote to the pipe of its messages"


def test_half_a_message_is_waited_for_no_longer_than_the_limit(ended):
    """A case that begins a message and hangs takes the time that a case may, and no more."""
    assert ended("half_a_message", limit=1.0).outcome == "timeout"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_killed_from_outside_is_started_once_more(mine, number):
    """Who ends what was asked, once and again, ends the asking, and is told by name."""
    with pytest.raises(process.EndedError, match=f"signal {number.value} \\({number.name}\\)"):
        process.call(signal.raise_signal, number)


def test_errors_come_over_as_what_both_sides_know(mine):
    """An error of a class that cannot be made from its words comes as the nearest that can."""
    with pytest.raises(RmmbenchError, match="no sketch named 'x'") as caught:
        process.call(mine.fail)
    assert not isinstance(caught.value, UnknownNameError)


def test_no_file_of_the_working_directory_stands_in_for_a_library(tmp_path, monkeypatch):
    """torch.py, random.py and queue.py beside the user's own module are left alone."""
    for name in ("torch", "random", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    (tmp_path / "own.py").write_text("ANSWER = 42")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(fork_server, "_server", None)
    fork_server.preload(["random", "queue"])
    try:
        find = "__import__('importlib.util').util.find_spec({!r}).origin"
        for name in ("torch", "random", "queue"):
            assert not process.call(eval, find.format(name)).startswith(str(tmp_path))
        assert process.call(eval, "__import__('own').ANSWER") == 42
    finally:
        fork_server._server.stop()


def test_what_pythonpath_names_stays_first(tmp_path, monkeypatch):
    """The working directory comes last, unless somebody asked for it by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert search_path() == ["/elsewhere", str(tmp_path)]
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/elsewhere"])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert search_path() == [str(tmp_path), "/elsewhere"]


def test_no_room_is_told_in_a_line(tmp_path, monkeypatch):
    """Where no temporary file can be written the error says what to do."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(process.EndedError, match=r"no process can be started: .*; .* set TMPDIR"):
        fork_server.ForkServer([])
