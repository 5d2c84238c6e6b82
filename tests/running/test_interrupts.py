"""A signal ends a command at once, or, while results are kept, where none is lost."""

import os
import signal

import pytest

from rmmbench.errors import Interrupted
from rmmbench.running.interrupts import check, deferred, raised


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "interrupted by SIGTERM"),
        (signal.SIGHUP, 129, "interrupted by SIGHUP"),
    ],
)
def test_a_signal_is_an_error_with_its_code(number, code, message):
    """Ctrl-C, a request to end and a terminal that closes are told, and exit as shells expect."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Interrupted) as caught, raised():
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert (str(caught.value), caught.value.exit_code) == (message, code)


def test_a_deferred_signal_waits_for_its_moment():
    """What is being kept is kept; then the signal is raised, by `check` or at the end."""
    kept = []

    @deferred()
    def keep(number, *records):
        os.kill(os.getpid(), number)
        for record in records:
            kept.append(record)
            if record == "first":
                check()

    with raised():
        for number, records in ((signal.SIGTERM, ["first", "never"]), (signal.SIGHUP, ["last"])):
            with pytest.raises(Interrupted):
                keep(number, *records)
        check()
    assert kept == ["first", "last"]


def test_an_ignored_signal_stays_ignored():
    """What nohup asked for holds."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
