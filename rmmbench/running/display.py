"""Draws how far work is: a bar in a terminal or a notebook, lines elsewhere; always on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final, NamedTuple, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from rmmbench.spec.printable import printable
from rmmbench.units import format_clock, format_count, format_roughly

_LINE_SECONDS: Final = 10.0, 300.0
"""The least and the longest time from one line to the next; between them it is a tenth of all."""

_BAR, _ROOM, _NARROW = 24, 90, 50
"""Columns that the bar takes, that a terminal has for it to be so long, and for a clock beside."""


class State(NamedTuple):
    """How far some work is.

    Attributes:
        done, total: Pieces.
        noun: What a piece is.
        doing: What is being done, in words.
        ends_at: When it will end, by `time.monotonic`; None if that is unknown.
        at_most: When it ends at the latest; None if nothing says.
        is_known: Whether the total is; else it is an estimate too.
    """

    done: int
    total: int
    noun: str
    doing: str = ""
    ends_at: float | None = None
    at_most: float | None = None
    is_known: bool = True

    def counted(self) -> str:
        """Return how many of how many pieces are done."""
        about = "" if self.is_known or self.done == self.total else "about "
        return f"{self.done} of {about}{format_count(self.total, self.noun)}"

    def left(self, now: float) -> str:
        """Return in words how much time is left, "" if that is unknown."""
        if self.ends_at is None or self.done == self.total:
            return ""
        said = f"about {format_roughly(self.ends_at - now)} left"
        if self.at_most is None or self.at_most <= self.ends_at:
            return said
        return f"{said}, at most {format_roughly(self.at_most - now)}"


class Display(Protocol):
    """Shows states."""

    def show(self, state: State) -> None:
        """Show a state in place of the last one, if it is time."""

    def tell(self, text: str) -> None:
        """Print a line that must be seen."""


@contextmanager
def display(*, is_wanted: bool = True) -> Iterator[Display]:
    """Give what shows states on stderr, or below a notebook's cell, within this context."""
    console = Console(stderr=True)
    if not is_wanted:
        yield Nothing()
    elif not draws(console):
        lines = Lines(sys.stderr)
        yield lines
        lines.end()
    else:
        with Bar(console) as bar:
            yield bar


def draws(console: Console) -> bool:
    """Return whether a bar can move on this console: a terminal, or a notebook with widgets."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal


class Nothing:
    """Shows nothing."""

    def show(self, state: State) -> None:
        """Show nothing."""

    def tell(self, text: str) -> None:
        """Print nothing."""


class Lines:
    """Prints a line now and then, with the time since the start and what is left."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Print to a stream, the first line once some time has passed."""
        self._stream, self._clock = stream, clock
        self._start = self._last = clock()
        self._state: State | None = None
        self._told: State | None = None

    def show(self, state: State) -> None:
        """Print the state if the last line is old enough."""
        self._state, now = state, self._clock()
        least, most = _LINE_SECONDS
        if now - self._last < min(most, max(least, (now - self._start) / 10)):
            return
        self._last, self._told = now, state
        how_far = ", ".join(filter(None, [state.counted(), state.left(now)]))
        self.tell(": ".join(filter(None, [how_far, state.doing])))

    def end(self) -> None:
        """Print what was done in all, if there are lines before it."""
        last, told = self._state, self._told
        if last is not None and told is not None and told.done < last.done:
            self.tell(last.counted())

    def tell(self, text: str) -> None:
        """Print a line."""
        since = format_clock(self._clock() - self._start)
        print(f"{since}  {printable(text)}", file=self._stream, flush=True)


class Bar:
    """A bar that moves by the share of the time that has passed."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """Draw on a console, within this as a context."""
        self._console, self._clock = console, clock
        self._start = clock()
        self._state = State(0, 0, "piece")
        width = max(0, min(_BAR, _BAR + console.width - _ROOM))
        since = _Words(lambda: format_clock(clock() - self._start), self._plain)
        columns = [
            *([BarColumn(bar_width=width)] if width else []),
            _Words(lambda: self._state.counted() if self._state.total else "", self._plain),
            *([since] if console.width >= _NARROW else []),
            _Words(lambda: self._state.left(clock()), self._plain),
            _Words(lambda: self._state.doing, self._plain, is_last=True),
        ]
        self._bar = Progress(*columns, console=console, expand=True, redirect_stdout=False)
        self._task = TaskID(0)

    def __enter__(self) -> "Bar":
        self._task = self._bar.add_task("", total=None)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, state: State) -> None:
        """Show a state in place of the last one."""
        self._state, now = state, self._clock()
        if state.ends_at is not None:
            passed, left = now - self._start, max(0.0, state.ends_at - now)
            self._bar.update(self._task, total=passed + left, completed=passed)

    def tell(self, text: str) -> None:
        """Print a line above the bar."""
        line = Text(self._plain(printable(text)))
        self._bar.console.print(line, soft_wrap=True)

    def _plain(self, text: str) -> str:
        """Return a text in letters that the terminal has, so that its width is known."""
        encoding = self._console.encoding
        return text.encode(encoding, "backslashreplace").decode(encoding)


class _Words(ProgressColumn):
    """Words that are looked up anew each time that the bar is drawn."""

    def __init__(
        self, words: Callable[[], str], plain: Callable[[str], str], *, is_last: bool = False
    ) -> None:
        """Take what returns the words, and what makes them plain; the last column is cut."""
        super().__init__(Column(ratio=1 if is_last else None, no_wrap=True, overflow="crop"))
        self._words, self._plain = words, plain
        self._style = "dim" if is_last else ""

    def render(self, task: Task) -> Text:
        """Return the words as they are now."""
        return Text(self._plain(printable(self._words())), self._style)
