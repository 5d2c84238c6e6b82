"""Counts live bytes by category at every moment of a training step."""

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_iter

from rmmbench.fakes.device import FakeGPU
from rmmbench.measures.optimizers import InBackward
from rmmbench.nn import ops
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.nn.analysis.shards import local, sent
from rmmbench.results.timeline import PARTS, Part, Phase

NO_WORK: Final = ("prim", "profiler")
"""Operators of these namespaces compute nothing: they read a fake tensor's device, or set names."""


@dataclass
class _Storage:
    """A live storage.

    Attributes:
        size_bytes: Its whole size.
        birth: Its number, in the order in which storages are made.
        given: The category that it was given for good, if any.
        is_sketch: Whether an operator of rmmbench made it.
        holds: How many tensors that autograd keeps for the backward pass are in it.
    """

    size_bytes: int
    birth: int
    given: Part | None = None
    is_sketch: bool = False
    holds: int = 0

    @property
    def category(self) -> Part:
        if self.given is not None:
            return self.given
        if self.holds:
            return "sketches" if self.is_sketch else "activations"
        return "temporary"


class Moment(NamedTuple):
    """What was live at one moment.

    Attributes:
        time: How many operators have run since the step began.
        phase: Of the step.
        sizes: Bytes by category.
        total: Their sum.
        births: How many storages had been made.
        allocated: Bytes according to the caching allocator, a GPU's or a fake one's; None without.
    """

    time: int
    phase: Phase
    sizes: dict[Part, int]
    total: int
    births: int
    allocated: int | None


class LiveByCategory(LiveBytes):  # type: ignore[no-untyped-call]
    """Counts live bytes as `LiveBytes` does, by category.

    `give` names parameters, gradients and the optimizer's state. Activations are what autograd
    keeps within `saving`, as long as it keeps it; those that an operator of rmmbench made are
    sketches. Everything else is temporary, also what a sketch operator uses inside.

    Attributes:
        sizes: Bytes alive now, by category.
        phase: Of the step that runs.
        operators: How many have run since the step began.
        moments: Every moment since the step began.
        before_operator: Called before each operator; may begin a phase.
    """

    def __init__(self, device_type: str | None = None, gpu: FakeGPU | None = None) -> None:
        """Count tensors on one type of device, "cpu" or "cuda", or on a fake GPU."""
        super().__init__(device_type, gpu)
        self.sizes: dict[Part, int] = dict.fromkeys(PARTS, 0)
        self.phase: Phase = "forward"
        self.operators = 0
        self.moments: list[Moment] = []
        self.before_operator: Callable[[], None] = lambda: None
        self._storages: dict[int, _Storage] = {}
        self._is_aside = False

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator, count what it made, and note the moment."""
        if self._is_aside or func.namespace in NO_WORK:
            return super()._run(func, args, kwargs)
        self.before_operator()
        self.operators += 1
        result = super()._run(func, args, kwargs)
        if func in ops.OPERATORS:
            for storage in self._known((result,)):
                storage.is_sketch = True
        for part, tensors in sent(func, args, kwargs):
            self.give(tensors, part, since_birth=True)
        self.note()
        return result

    def begin(self) -> None:
        """Begin a step, and note its first moment."""
        self.operators, self.moments, self.phase = 0, [], "forward"
        self.note()

    def enter(self, phase: Phase) -> None:
        """End a phase and begin the next; note a moment of each."""
        self.note()
        self.phase = phase
        self.note()

    def note(self, extra_bytes: int = 0) -> None:
        """Note the current moment; extra bytes are those that a sketch operator uses inside."""
        sizes = self.sizes | {"temporary": self.sizes["temporary"] + extra_bytes}
        allocated = None if extra_bytes else self._allocated()
        total = self.live + extra_bytes
        moment = Moment(self.operators, self.phase, sizes, total, self.births, allocated)
        self.moments.append(moment)

    def give(self, tensors: Iterable[Any], category: Part, *, since_birth: bool = False) -> None:
        """Put tensors into a category for good, perhaps also in the moments since each was made."""
        self._put(self._known(tensors), category, since_birth=since_birth)

    def give_state(self, optimizer: Optimizer | InBackward) -> None:
        """Put an optimizer's state into its category, also in the moments since it was made."""
        # Which tensors are the optimizer's is known only after the step.
        self.give(tree_iter(list(optimizer.state.values())), "optimizer", since_birth=True)

    def _put(
        self, storages: Iterable[_Storage], category: Part, *, since_birth: bool = False
    ) -> None:
        new: dict[Part, list[tuple[int, int]]] = {}
        for storage in storages:
            if storage.given != category:
                if storage.given is not None or storage.category == "temporary":
                    about = storage.birth, storage.size_bytes
                    new.setdefault(storage.category, []).append(about)
                self.sizes[storage.category] -= storage.size_bytes
                storage.given = category
                self.sizes[category] += storage.size_bytes
        for before in new if since_birth else ():
            self._rename(sorted(new[before]), before, category)

    def _rename(self, new: Sequence[tuple[int, int]], before: Part, category: Part) -> None:
        """Let what was of one category be of another since its birth; of each birth and bytes."""
        births = [birth for birth, _ in new]
        sizes = list(itertools.accumulate((size for _, size in new), initial=0))
        for moment in reversed(self.moments):
            size = sizes[bisect.bisect_right(births, moment.births)]
            if size == 0:
                break
            moment.sizes[category] += size
            moment.sizes[before] -= size

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Within, what autograd keeps for the backward pass is an activation or a sketch."""
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: _Held(self, tensor), lambda held: held.tensor
        ):
            yield

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within, operators do not count as the step's."""
        before, self._is_aside = self._is_aside, True
        try:
            yield
        finally:
            self._is_aside = before

    def hold(self, tensor: Tensor, times: int) -> None:
        """Count that autograd keeps a tensor, or, with -1, that it no longer does."""
        for storage in self._known([tensor]):
            self.sizes[storage.category] -= storage.size_bytes
            storage.holds += times
            self.sizes[storage.category] += storage.size_bytes

    def _allocated(self) -> int | None:
        if self._gpu is not None:
            return self._gpu.allocator.allocated
        return torch.cuda.memory_allocated() if self._device_type == "cuda" else None

    def _known(self, tensors: Iterable[Any]) -> Iterator[_Storage]:
        for tensor in local(tensors):
            storage = self._storages.get(tensor.untyped_storage()._cdata)
            if storage is not None:
                yield storage

    def _count_workspace(self, func: Any, *args: Any) -> None:
        super()._count_workspace(func, *args)
        if not self._is_aside:
            self.note(self._workspace(func, *args))

    def _workspace(self, *args: Any) -> int:
        with self.aside():
            return super()._workspace(*args)

    def _count(self, tensor: Tensor) -> None:
        key = tensor.untyped_storage()._cdata
        is_new = key not in self._alive
        super()._count(tensor)
        if is_new and key in self._alive:
            storage = _Storage(tensor.untyped_storage().nbytes(), self.births)
            self._storages[key] = storage
            self.sizes[storage.category] += storage.size_bytes

    def resized(self, storage: torch.UntypedStorage) -> None:
        """Count a storage's new size in its category."""
        super().resized(storage)
        known = self._storages.get(storage._cdata)
        if known is not None:
            self.sizes[known.category] += storage.nbytes() - known.size_bytes
            known.size_bytes = storage.nbytes()

    def _forget(self, key: int) -> None:
        super()._forget(key)
        storage = self._storages.pop(key)
        self.sizes[storage.category] -= storage.size_bytes


@dataclass
class _Held:
    """What autograd keeps of a tensor, counted until it drops it."""

    count: LiveByCategory
    tensor: Tensor

    def __post_init__(self) -> None:
        # If a node kept its own output, a reference cycle would keep both alive.
        with self.count.aside():
            self.tensor = self.tensor.detach()
        self.count.hold(self.tensor, 1)

    def __del__(self) -> None:
        self.count.hold(self.tensor, -1)
