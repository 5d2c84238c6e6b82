"""The fork server of this process, started when it is needed and again if it was killed."""

import atexit
import getpass
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import rmmbench
from rmmbench.errors import Exit, RmmbenchError
from rmmbench.running.isolation.job import search_path
from rmmbench.running.isolation.leftovers import MARK, Folder

WORKER = "rmmbench.running.worker"
"""The module that every case needs; the server imports it once."""

_END_SECONDS = 5.0

# Imports the same rmmbench, wherever it was found. With -P no file of the working directory stands
# in for a library.
_START = """
import sys
sys.path[:] = {path!r}
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("rmmbench", {package!r})
sys.modules["rmmbench"] = package = module_from_spec(spec)
spec.loader.exec_module(package)
from rmmbench.running.isolation.server import main
main(*{arguments!r})
"""


class EndedError(RmmbenchError):
    """A process could not be started, or ended before it answered."""

    exit_code = Exit.FAULT


class ForkServer:
    """A process that imports modules once, and forks a process for each job.

    Attributes:
        modules: What it imports first.
        owner: The id of the process that started it.
        is_lost: Whether it is known to be gone, which can be seen before its exit code is there.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        """Start it.

        Raises:
            EndedError: If it cannot be started.
        """
        self.modules = modules
        self.owner = os.getpid()
        self.is_lost = False
        try:
            self._folder = Folder()
            self._requests, theirs = socket.socketpair()
            self._said = tempfile.TemporaryFile(dir=self._folder.path)  # noqa: SIM115 -- see stop
            with theirs:
                self._process = self._start(theirs)
        except OSError as error:
            raise _no_room(error) from error

    def fork(self, job: bytes, messages: int, output: int) -> socket.socket:
        """Fork a process for a job.

        Args:
            job: See `rmmbench.running.isolation.job.packed`.
            messages: Descriptor that its messages go to.
            output: Descriptor that its output goes to.

        Returns:
            A socket that gives the exit code, and closes when nothing of the process is left. To
            close it ends the process.

        Raises:
            ConnectionError: If the server is gone.
            EndedError: If there is no room for another process.
        """
        with ExitStack() as undone:
            try:
                control, theirs = map(undone.enter_context, socket.socketpair())
                task = undone.enter_context(tempfile.TemporaryFile(dir=self._folder.path))
                task.write(job)
                task.seek(0)
                given = [task.fileno(), messages, output, theirs.fileno()]
                socket.send_fds(self._requests, [b"!"], given)
            except ConnectionError:
                self.is_lost = True
                raise
            except OSError as error:
                raise _no_room(error) from error
            control = control.dup()
        control.setblocking(False)
        return control

    @property
    def folder(self) -> Path:
        """A folder that goes with the server, for what its processes share."""
        return self._folder.path

    def is_alive(self) -> bool:
        """Return whether it can still fork."""
        is_mine = self.owner == os.getpid()
        return is_mine and not self.is_lost and self._process.poll() is None

    def said(self) -> str:
        """Return the last line that it printed, "" if there is none."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def stop(self) -> None:
        """End it, all that it forked, and what those left; only in the process that started it."""
        if self.owner != os.getpid():
            return
        self._requests.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._process.kill()
        self._process.wait()
        self._folder.remove()
        self._said.close()

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        arguments = (theirs.fileno(), os.getpid(), str(self._folder.path), list(self.modules))
        package = rmmbench.__file__
        start = _START.format(path=search_path(), package=package, arguments=arguments)
        environment = os.environ | {MARK: str(self._folder.path)}
        environment.setdefault("TORCHINDUCTOR_CACHE_DIR", _compiled())
        # What multiprocessing's own server is started with; there is no public name for it.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        return subprocess.Popen(
            [sys.executable, *flags, "-P", "-c", start],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env=environment,
            start_new_session=True,
        )


_server: ForkServer | None = None


def preload(modules: Sequence[str]) -> None:
    """Start the server with these modules, unless one runs already."""
    global _server
    if _server is not None and _server.is_alive():
        return
    if _server is not None:
        _server.stop()
    _server = ForkServer(modules)


def server() -> ForkServer:
    """Return the server, started anew if it has died."""
    preload(_server.modules if _server is not None else (WORKER,))
    assert _server is not None
    return _server


@atexit.register
def _stop() -> None:
    if _server is not None:
        _server.stop()


def _no_room(error: OSError) -> EndedError:
    hint = "free memory or space for temporary files, or set TMPDIR"
    return EndedError(f"no process can be started: {error.strerror or error}; {hint}")


def _compiled() -> str:
    """Return where torch keeps compiled code: not in the folder that goes with the sweep."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    name = re.sub(r"[^\w.-]", "_", user)
    return str(Path(tempfile.gettempdir()) / f"torchinductor_{name}")
