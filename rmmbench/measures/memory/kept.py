"""What a training step keeps for its backward pass, in bytes."""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from rmmbench.measures.memory.saved import GatheredParameters, saved_inputs
from rmmbench.measures.step import TrainingStep
from rmmbench.measures.whole_step import WholeStep


def kept_bytes(step: TrainingStep, live: Callable[[], int], loss_bytes: int | None = None) -> int:
    """Return the bytes that a step keeps between forward and backward pass.

    Of a step of somebody's own it is the most that autograd holds at once, without what is there
    between steps, such as parameters.

    Args:
        step: After a step that warmed up, without garbage.
        live: Returns how many bytes are live now.
        loss_bytes: What the loss takes; by default its own size.
    """
    if isinstance(step, WholeStep):
        return most_held(step)
    resting, gathered = live(), GatheredParameters(step.model)
    with saved_inputs(step.batch) as saved:
        loss = step.forward()
    # All that the forward pass leaves behind, whoever holds it, except the loss.
    size = loss.untyped_storage().nbytes() if loss_bytes is None else loss_bytes
    held = live() - resting - size - gathered.total_bytes()
    return max(0, held + saved.total_bytes())


def most_held(step: Callable[[], object]) -> int:
    """Do a step, and return the most bytes that autograd held at once; see `Holding`."""
    with Holding() as holding:
        step()
    return holding.most_bytes()


class Holding:
    """Within it, what autograd holds is followed, each storage once.

    What a function of autograd keeps without `save_for_backward` is left out.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._events: list[tuple[int, int]] = []
        self._storages: dict[int, weakref.ref[Any]] = {}
        self._hooks = saved_tensors_hooks(self._hold, lambda held: held.tensor)

    def _hold(self, tensor: Tensor) -> "_Held":
        return _Held(tensor, self._events, self._storages)

    def __enter__(self) -> "Holding":
        """Begin to follow."""
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._hooks.__exit__(*error)

    def most_bytes(self) -> int:
        """Return the most that was held at once, without storages that are still there.

        Those outlive the step, such as parameters.
        """
        lasting = {key for key, storage in self._storages.items() if storage() is not None}
        held: dict[int, int] = {}
        most = now = 0
        for key, change in self._events:
            if key not in lasting:
                before = held.get(key, 0)
                held[key] = before + (1 if change > 0 else -1)
                now += change if before == 0 or held[key] == 0 else 0
                most = max(most, now)
        return most


class _Held:
    """What autograd keeps of a tensor; told in `events` when it takes it and lets it go."""

    def __init__(
        self, tensor: Tensor, events: list[tuple[int, int]], storages: "dict[int, Any]"
    ) -> None:
        # If a node kept its own output, a reference cycle would keep both alive.
        self.tensor = tensor.detach()
        storage = self.tensor.untyped_storage()
        key = storage._cdata
        known = storages.get(key)
        if known is None or known() is None:
            storages[key] = weakref.ref(storage)
        self._events, self._told = events, (key, storage.nbytes())
        events.append(self._told)

    def __del__(self) -> None:
        key, size = self._told
        self._events.append((key, -size))
