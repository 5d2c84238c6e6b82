"""A sweep's temporary folder, and whatever those leave whose sweep was killed.

The folder is locked by its owner for as long as that lives, and named in the environment of every
process that the owner started. So a folder that nobody holds was left, and so was what names it.
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
"""The variable that names the folder in the environment of its processes."""

_OWNER = ".rmmbench-owner"
_NAME = re.compile(r"rmmbench-[a-z0-9_]{8}")
_ROUNDS = 100


class Folder:
    """A temporary folder of this process alone; gone when it is removed, or at the next start."""

    def __init__(self) -> None:
        """Make the folder, and remove what others left.

        Raises:
            OSError: If there is no place for temporary files.
        """
        remove_left()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix="rmmbench-"))
            # Who cleans up at this very moment may have seen it without an owner.
            with suppress(FileNotFoundError, BlockingIOError):
                self._lock = _lock(self.path, os.O_CREAT)
                return

    def remove(self) -> None:
        """End whatever still runs of it, and remove it."""
        end_processes(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_left() -> None:
    """End the processes and remove the folders of owners that are no more."""
    for path in Path(tempfile.gettempdir()).glob("rmmbench-*"):
        # Not there any more, held by its owner, another user's, or not a sweep's at all.
        with suppress(OSError):
            if not _NAME.fullmatch(path.name) or path.is_symlink():
                continue
            if not (path / _OWNER).exists():
                path.rmdir()  # killed before it could own it: nothing is in it
                continue
            lock = _lock(path)
            end_processes(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def end_processes(folder: Path) -> None:
    """Kill every process that a folder's owner started, whatever has become of its parents."""
    mark = f"{MARK}={folder}".encode()
    # One that forks while it is looked for is found the next time.
    for _ in range(_ROUNDS):
        found = list(_processes(mark))
        if not found:
            return
        for number in found:
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)


def _processes(mark: bytes) -> Iterator[int]:
    """Yield the living processes with a mark in their environment, but for this one."""
    for entry in Path("/proc").glob("[0-9]*"):
        # What has just ended, what waits to be buried, and what is another user's have none.
        with suppress(OSError):
            environment = (entry / "environ").read_bytes().split(b"\0")
            if mark in environment and int(entry.name) != os.getpid():
                yield int(entry.name)


def _lock(folder: Path, flags: int = 0) -> int:
    """Lock a folder and return what holds it for as long as it is open.

    Raises:
        OSError: If another holds it (BlockingIOError), or it is not there.
    """
    lock = os.open(folder / _OWNER, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _OWNER).stat()
    except OSError:
        os.close(lock)
        raise
    return lock
