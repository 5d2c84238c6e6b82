"""A file that the job of a cluster hands its events over in, while they come."""

import pickle
import secrets
import signal
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rmmbench.running.launchers._node_case import Terms, node_environment, node_events
from rmmbench.spec.case import Case

_MARK_BYTES = 16
_LENGTH = struct.Struct("!Q")


def job_environment(file: Path, here: Path, modules: Sequence[str]) -> None:
    """Write the environment of this node to a file."""
    _write(file, [node_environment(socket.gethostname(), here, modules)])


def job_events(file: Path, cases: Sequence[Case], terms: Terms) -> None:
    """Run cases on this node, in turn, and write what `node_events` yields as it comes."""
    # Submitit ignores it. Slurm sends it to a job that is to end, and may lose sight of one that
    # goes on.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _write(file, node_events(socket.gethostname(), cases, 1, terms))


class Told:
    """What a file tells, as far as it was read."""

    def __init__(self, file: Path) -> None:
        """Read from the beginning of a file that may not be there yet."""
        self._file, self._at, self._mark = file, 0, b""

    def read(self) -> Iterator[object]:
        """Yield what was written to its end since the last time."""
        try:
            with self._file.open("rb") as stream:
                mark = stream.read(_MARK_BYTES)
                if mark != self._mark:  # the engine has started the job again
                    self._at, self._mark = len(mark), mark
                stream.seek(self._at)
                data = stream.read()
        except FileNotFoundError:
            return
        while len(data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
            if len(data) < end:
                return
            self._at += end
            told, data = data[_LENGTH.size : end], data[end:]
            yield pickle.loads(told)  # from a job that this process submitted


def _write(file: Path, all_told: Iterable[object]) -> None:
    with file.open("wb") as stream:
        stream.write(secrets.token_bytes(_MARK_BYTES))
        for told in all_told:
            data = pickle.dumps(told)
            stream.write(_LENGTH.pack(len(data)) + data)
            stream.flush()
