"""What each block leaves for the backward pass in a step on fake tensors, and the work it does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.step import TrainingStep
from rmmbench.nn.recomputed_operators import is_made_again
from rmmbench.running.planning.layer_survey import work_of
from rmmbench.running.planning.surveyed import Work


@dataclass
class Passage:
    """What one forward pass of a block left and did.

    Attributes:
        kept_bytes: That it left, without its input if that will be made again.
        output_bytes: Of its output.
        work: Of the pass.
    """

    kept_bytes: int = 0
    output_bytes: int = 0
    work: Work = field(default_factory=Work)


class Passed(NamedTuple):
    """A forward and a backward pass.

    Attributes:
        blocks: The passage of each block that ran once, by name.
        work: Of it all.
        peak_bytes: The highest memory, beside what was there before.
    """

    blocks: dict[str, Passage]
    work: Work
    peak_bytes: int


def passages(step: TrainingStep, count: CountedWork, blocks: Mapping[str, nn.Module]) -> Passed:
    """Do a forward and a backward pass, and return what blocks did in it."""
    found: dict[str, list[Passage]] = {}
    step.forget_gradients()
    live = count.peak = count.live
    with _hooked(blocks, found, count):
        count.begin_counts()
        step.find_gradients()
        whole = work_of(count)
        count.counts()
    # What runs several times a step, or in one that is computed again, has no one place in it.
    once = {name: each[0] for name, each in found.items() if len(each) == 1}
    return Passed(once, whole, count.peak - live)


@contextmanager
def _hooked(
    blocks: Mapping[str, nn.Module], found: dict[str, list[Passage]], count: CountedWork
) -> Iterator[None]:
    handles = []
    for name, block in blocks.items():
        begun: list[tuple[int, Work]] = []

        def enter(*_: Any, begun: list[tuple[int, Work]] = begun) -> None:
            begun.append((count.live, work_of(count)))

        def leave(
            _: nn.Module,
            args: Any,
            kwargs: Any,
            output: Any,
            begun: list[Any] = begun,
            name: str = name,
        ) -> None:
            live, work = begun.pop()
            given = [each for each in _tensors((args, kwargs)) if is_made_again(each)]
            left = count.live - live - _bytes(given)
            passage = Passage(left, _bytes(_tensors(output)), work_of(count).less(work))
            found.setdefault(name, []).append(passage)

        handles.append(block.register_forward_pre_hook(enter))
        handles.append(block.register_forward_hook(leave, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _bytes(tensors: list[Tensor]) -> int:
    """Return the bytes of all storages, each once."""
    storages = [each.untyped_storage() for each in tensors]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())
