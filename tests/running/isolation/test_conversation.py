"""A process that is asked again and again answers, or its end is an error here."""

from functools import partial

import pytest

from rmmbench.errors import UsageError
from rmmbench.running.isolation.conversation import Conversation
from rmmbench.running.isolation.process import EndedError

USAGE = "(_ for _ in ()).throw(__import__('rmmbench.errors').errors.UsageError('not so'))"


@pytest.fixture
def asked():
    """Return what asks a process for the values of expressions, each told by itself."""
    made = Conversation(partial, map, eval)
    yield lambda *expressions, silent=60.0: list(made.ask(expressions, silent))
    made.end()


def test_questions_are_answered_in_turn(asked):
    """All of an answer is told before the next question; one process answers all."""
    assert asked("1 + 1", "'x' * 3") == [2, "xxx"]
    assert asked() == []
    first, second = asked("__import__('os').getpid()")[0], asked("__import__('os').getpid()")[0]
    assert first == second


def test_what_is_raised_there_is_raised_here(asked):
    """What a person can mend as it is, anything else as the end; it can be asked again."""
    with pytest.raises(UsageError, match="not so"):
        asked(USAGE)
    with pytest.raises(EndedError, match="division by zero"):
        asked("1 / 0")
    assert asked("2 + 2") == [4]


def test_one_that_ends_or_is_silent_is_told(asked):
    """Nothing is waited for that cannot come."""
    with pytest.raises(EndedError, match=r"it did not answer in time"):
        asked("__import__('time').sleep(600)", silent=0.3)
    with pytest.raises(EndedError, match=r"it did not answer in time"):
        asked("1", silent=0.3)


def test_one_that_is_killed_is_told(asked):
    """The signal is named."""
    with pytest.raises(EndedError, match=r"was killed by signal 6 \(SIGABRT\)"):
        asked("1", "__import__('os').abort()")
