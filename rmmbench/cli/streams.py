"""The standard streams, such that neither a letter, nor a reader that left, ends a command.

Letters that a stream's encoding does not have are written as escapes. What a reader no longer wants
is dropped, so that a command ends as it would have, with its own exit code. A full disk is told
once.
"""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _Patient(io.FileIO):
    """A standard stream's descriptor, silent once it could not be written."""

    _is_lost = False

    def __init__(self, descriptor: int, *, is_data: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_data = is_data

    def write(self, data: Any) -> int:
        """Write data, or drop it; raise the first time that data finds no room."""
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
    """Use such streams in the place of the process's own; another's, such as a test's, stay."""
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
    """Write what programs read to stdout, as it is, whatever a terminal's letters are."""
    sys.stdout.flush()
    sys.stdout.buffer.writelines(content)


def write_json(data: object) -> None:
    """Write data to stdout as JSON for programs."""
    write_data([json.dumps(data, indent=2, ensure_ascii=False).encode(), b"\n"])


def _open_closed() -> None:
    """Give closed standard streams their descriptors, or the next file opened would be one."""
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
