"""Standard streams that neither an odd character nor a closed pipe can break, and written files.

Characters that a stream's encoding lacks are written as escapes. Once a reader has gone, output is
dropped, so that a command ends with its own exit code. A full disk is reported once.
"""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rmmbench.errors import UsageError


class _Patient(io.FileIO):
    """A standard stream's descriptor that drops all output after a failed write."""

    _is_lost = False

    def __init__(self, descriptor: int, *, is_data: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_data = is_data

    def write(self, data: Any) -> int:
        """Write data, or drop it; raise the first time that stdout has no room."""
        if not self._is_lost:
            try:
                return super().write(data)
            except OSError as error:
                self._is_lost = True
                if self._is_data and not isinstance(error, BrokenPipeError):
                    raise OSError(error.errno, error.strerror, "stdout") from None
        return memoryview(data).nbytes


@contextmanager
def patient_streams() -> Iterator[None]:
    """Replace the process's stdout and stderr by such streams; a test's own streams stay."""
    _open_closed()
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = _patient(sys.stdout, 1, is_data=True)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _patient(sys.stderr, 2, is_data=False)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        sys.stdout, sys.stderr = before


def write_data(content: Iterable[bytes]) -> None:
    """Write bytes for programs to stdout, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.writelines(content)


def write_json(data: object) -> None:
    """Write data to stdout as JSON for programs."""
    write_data([json.dumps(data, indent=2, ensure_ascii=False).encode(), b"\n"])


def write_file(path: Path, content: Iterable[bytes], flag: str = "") -> None:
    """Write a file, and make the folders around it.

    Args:
        path: Of the file.
        content: Its bytes, in pieces.
        flag: The option that named the path, for the message.

    Raises:
        UsageError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(content)
    except OSError as error:
        where = f"{flag} {path}".strip()
        raise UsageError(f"{where} cannot be written: {error.strerror}") from error


def _open_closed() -> None:
    """Open closed standard descriptors, so that no other file gets their numbers."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _patient(stream: TextIO | None, descriptor: int, *, is_data: bool) -> TextIO:
    raw = _Patient(descriptor, is_data=is_data)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=not is_data or raw.isatty(),
    )
