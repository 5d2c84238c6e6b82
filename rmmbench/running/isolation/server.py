"""The process of the fork server: it imports modules once, and forks a process for each request.

It never initialises CUDA. A request is one byte with four descriptors: a file with the job, the
pipes for messages and output, and a socket. Over the socket the server sends the exit code; it
closes the socket once nothing of the process is left. If the other end closes it, the server kills
the process and all that it started. If the parent is gone, the server kills every process.
"""

import ctypes
import os
import selectors
import shutil
import signal
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from rmmbench.running.isolation import job

EXIT_CODE = struct.Struct("!i")

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# How often the server looks whether its parent is still there.
_TICK_SECONDS = 1.0


def main(descriptor: int, parent: int, folder: str, modules: list[str]) -> None:
    """Import, then fork on request until the parent is gone.

    Args:
        descriptor: Of the socket that requests come over.
        parent: The id of the process that started this one.
        folder: For temporary files; it is removed at the end.
        modules: What to import.
    """
    # The parent decides about interrupts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Imports take seconds, in which only the kernel notices that the parent was killed.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for name in modules:
        with suppress(ImportError):  # whoever needs it will say so
            import_module(name)
    # From here on the server notices it, and cleans up.
    _prctl(_PR_SET_PDEATHSIG, 0)
    _Server(socket.socket(fileno=descriptor), parent, Path(folder)).serve()
    os._exit(0)  # what is imported takes seconds to take down


class _Server:
    """Forks processes, reaps them, and kills what they leave behind."""

    def __init__(self, requests: socket.socket, parent: int, folder: Path) -> None:
        self._requests, self._parent, self._folder = requests, parent, folder
        self._running: dict[int, socket.socket] = {}
        self._ended: list[socket.socket] = []
        # What a case's process leaves behind becomes this one's child.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._woken, self._wakes = os.pipe()
        for end in (self._woken, self._wakes):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes)
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork on request, and clean up, until the parent is gone."""
        while os.getppid() == self._parent:
            ready = [key.fileobj for key, _ in self._selector.select(_TICK_SECONDS)]
            if self._woken in ready:
                os.read(self._woken, 4096)
            if self._requests in ready and not self._take():
                break
            self._end_released(ready)
            self._reap()
        self._end_all()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _take(self) -> bool:
        """Fork one process; return False if the parent is gone."""
        try:
            request, descriptors, *_ = socket.recv_fds(self._requests, 1, 4)
        except OSError:
            return False
        if not request or len(descriptors) != 4:
            return False
        task, messages, output, control = descriptors
        server = os.getpid()
        number = os.fork()
        if number == 0:
            try:
                self._become_worker(server, output, control)
                job.work(task, messages, self._folder / str(os.getpid()))
            finally:
                os._exit(1)  # whatever happens, this is no second server
        for each in (task, messages, output):
            os.close(each)
        self._running[number] = socket.socket(fileno=control)
        self._selector.register(self._running[number], selectors.EVENT_READ)
        return True

    def _become_worker(self, server: int, output: int, control: int) -> None:
        """Take a session and an output of its own, and close all that is the server's."""
        os.setsid()
        # It is killed with the server, and is the first to go if memory runs out.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for descriptor in (self._woken, self._wakes, control):
            os.close(descriptor)
        for each in (self._requests, *self._running.values(), *self._ended):
            each.close()
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)

    def _end_released(self, ready: Sequence[object]) -> None:
        """Kill the processes whose socket the parent has closed."""
        for number, control in self._running.items():
            if control in ready:
                self._selector.unregister(control)
                _end(number)

    def _reap(self) -> None:
        """Send exit codes, kill what ended processes left, and close sockets if nothing is left."""
        for number, code in _dead():
            control = self._running.pop(number, None)
            if control is not None:
                shutil.rmtree(self._folder / str(number), ignore_errors=True)
                with suppress(KeyError):
                    self._selector.unregister(control)
                with suppress(OSError):
                    control.send(EXIT_CODE.pack(code))
                self._ended.append(control)
        left = self._left() if self._ended else []
        for number in left:
            _end(number)
        while self._ended and not left:
            self._ended.pop().close()

    def _end_all(self) -> None:
        """Kill every process, and theirs, until none is left."""
        for number in self._running:
            _end(number)
        signal.set_wakeup_fd(-1)
        while True:
            for number in self._left():
                _end(number)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    def _left(self) -> list[int]:
        """Return the children that are no case's process: those that ended cases left behind."""
        return [number for number in _children() if number not in self._running]


def _dead() -> list[tuple[int, int]]:
    """Reap every child that has ended, and return ids and exit codes; its group is killed first."""
    found = []
    with suppress(ChildProcessError):
        while True:
            # The id cannot be taken by another process before the child is reaped.
            died = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if died is None:
                break
            _end(died.si_pid)
            _, status = os.waitpid(died.si_pid, 0)
            found.append((died.si_pid, os.waitstatus_to_exitcode(status)))
    return found


def _end(number: int) -> None:
    """Kill a process and, if it leads one, its group."""
    for kill in (os.killpg, os.kill):
        with suppress(OSError):
            kill(number, signal.SIGKILL)


def _children() -> list[int]:
    """Return the ids of this process's children that are not reaped yet."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(entry.name))
    return found


def _prctl(option: int, value: int) -> None:
    """Set an option of this process on Linux; other systems have none."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
