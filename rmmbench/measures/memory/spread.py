"""Work and bytes by category of a step that is spread over ranks, on the one that is here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rmmbench.fakes.device import FakeGPU
from rmmbench.fakes.process_group import fake_group
from rmmbench.measures.memory.categories import LiveByCategory
from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.memory.phases import watched
from rmmbench.measures.step import TrainingStep
from rmmbench.results.timeline import Part, Phase

_KEPT: Final[tuple[tuple[Part, bool], ...]] = (("activations", False), ("sketches", True))
"""Categories of what is kept for the backward pass, and whether that is of sketches."""


class WorkByCategory(CountedWork, LiveByCategory):  # type: ignore[no-untyped-call]
    """Counts live bytes by category, and the work of every operator.

    What a forward pass leaves behind are activations, or sketches, whoever keeps them: autograd, a
    checkpoint, or hooks that keep them in few bits.
    """

    _began = 0
    _is_forward_over = False

    def begin(self) -> None:
        """Begin a step."""
        super().begin()
        self._began = self.births

    def enter(self, phase: Phase) -> None:
        """End a phase, and begin the next."""
        super().enter(phase)
        self._is_forward_over = phase == "backward"

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator; before the first of a backward pass, see what was left for it."""
        if self._is_forward_over:
            self._is_forward_over = False
            self._give_what_is_left()
        return super()._run(func, args, kwargs)

    def _give_what_is_left(self) -> None:
        left = [one for one in self._storages.values() if one.category == "temporary"]
        for part, is_sketch in _KEPT:
            found = [one for one in left if one.birth > self._began and one.is_sketch is is_sketch]
            self._put(found, part, since_birth=True)

    def note(self, extra_bytes: int = 0) -> None:
        """Note the current moment if none of the step was higher; no other is asked for."""
        if not self.moments or self.live + extra_bytes > self.moments[0].total:
            self.moments.clear()
            super().note(extra_bytes)

    def at_peak(self) -> dict[Part, int]:
        """Return what was live at the highest moment of the step, by category."""
        (highest,) = self.moments
        return {part: size for part, size in highest.sizes.items() if size}


@contextmanager
def counting(ranks: int, gpu: FakeGPU | None) -> Iterator[CountedWork]:
    """Count what is made within, as one of so many ranks; by category if there are several.

    Args:
        ranks: Of which this process is the first.
        gpu: The fake GPU that a rank has; None for the CPU.
    """
    if ranks == 1:
        with CountedWork(gpu=gpu) as count:
            yield count
        return
    device_type = gpu.device_type if gpu else "cpu"
    with fake_group(ranks, device_type), WorkByCategory(device_type, gpu) as count:
        yield count


@contextmanager
def followed_steps(step: TrainingStep, count: CountedWork) -> Iterator[Callable[[], None]]:
    """Give what does a step, and notes its moments where `count` counts by category."""
    if not isinstance(count, WorkByCategory):
        yield step
        return
    # A model is made whole before each rank takes its part; a GPU never holds it so.
    count.allocate_anew()
    with watched(step, count) as end:

        def do() -> None:
            count.begin()
            with count.saving():
                step()
            count.note()
            end()

        yield do
