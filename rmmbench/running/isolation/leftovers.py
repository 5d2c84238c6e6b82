"""A process's temporary folder, and the removal of what killed processes left behind.

The owner holds a lock on its folder as long as it lives, and each process that it starts has the
folder's path in its environment. So an unlocked folder was left behind, and so were the processes
that name it.
"""

import fcntl
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "RMMBENCH_FOLDER"
"""The environment variable that holds the folder's path."""

_OWNER = ".rmmbench-owner"
_NAME = re.compile(r"rmmbench-[a-z0-9_]{8}")
_ROUNDS = 100


class Folder:
    """A temporary folder of this process; if it is not removed, the next start removes it."""

    def __init__(self) -> None:
        """Make the folder, and remove what others left.

        Raises:
            OSError: If there is no place for temporary files.
        """
        remove_left()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix="rmmbench-"))
            # Another process that cleans up may have removed it before it was locked.
            with suppress(FileNotFoundError, BlockingIOError):
                self._lock = _lock(self.path, os.O_CREAT)
                return

    def remove(self) -> None:
        """Kill the processes that name the folder, and remove it."""
        end_processes(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_left() -> None:
    """Remove the folders of owners that are gone, and kill their processes."""
    for path in Path(tempfile.gettempdir()).glob("rmmbench-*"):
        # It may be gone, held by its owner, another user's, or no folder of ours.
        with suppress(OSError):
            if not _NAME.fullmatch(path.name) or path.is_symlink():
                continue
            if not (path / _OWNER).exists():
                path.rmdir()  # its maker was killed before it locked it: nothing is in it
                continue
            lock = _lock(path)
            end_processes(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def end_processes(folder: Path) -> None:
    """Kill every process that a folder's owner started, whatever has become of its parents."""
    mark = f"{MARK}={folder}".encode()
    # A process that forks during the search is found in the next round.
    for _ in range(_ROUNDS):
        found = list(_processes(mark))
        if not found:
            return
        for number in found:
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)


def _processes(mark: bytes) -> Iterator[int]:
    """Yield the ids of living processes with a mark in their environment, except this one."""
    for entry in Path("/proc").glob("[0-9]*"):
        # Not of ended processes, nor of another user's.
        with suppress(OSError):
            environment = (entry / "environ").read_bytes().split(b"\0")
            if mark in environment and int(entry.name) != os.getpid():
                yield int(entry.name)


def _lock(folder: Path, flags: int = 0) -> int:
    """Lock a folder, and return the descriptor that holds the lock while it is open.

    Raises:
        OSError: If another process holds it (BlockingIOError), or it is not there.
    """
    lock = os.open(folder / _OWNER, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _OWNER).stat()
    except OSError:
        os.close(lock)
        raise
    return lock
