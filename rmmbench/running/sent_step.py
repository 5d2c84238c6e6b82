"""A training step that is sent to another process, with all that its function refers to."""

import inspect
import pickle
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any

from rmmbench.errors import UsageError


class SentStep:
    """A factory as `rmmbench.measure` takes it, made from a function that may take less.

    The function is unpickled whenever the factory is called, so each call has tensors of its own.
    """

    def __init__(self, function: Callable[..., Any], whole: Collection[ModuleType]) -> None:
        """Pickle a function.

        Args:
            function: Takes batch_size and seq_len, or one of them, or neither, and returns what a
                factory returns; or it is itself a training step, without arguments, and the
                models and optimizers that it refers to are sent along.
            whole: Modules that the other process cannot import: what the function refers to in
                them is sent too.

        Raises:
            UsageError: If something that it refers to cannot be pickled.
        """
        self.__name__ = getattr(function, "__name__", "step")
        self._pickled = _pickled(function, whole)

    def __call__(self, batch_size: int, seq_len: int | None) -> Any:
        """Return what the function returns, or the function if it is a step itself."""
        from rmmbench.fakes.mode import is_faking, real_tensors

        with real_tensors():
            function = pickle.loads(self._pickled)
        if is_faking() and _refers_to_tensors(function):
            what = f"{self.__name__} refers to tensors that are there already"
            remedy = "make model, optimizer and batch in it and return the step"
            raise ValueError(f"{what}, and a prediction needs fake ones; {remedy}")
        made = function(**_taken(function, batch_size=batch_size, seq_len=seq_len))
        return made if isinstance(made, tuple) or callable(made) else function


def _refers_to_tensors(function: Callable[..., Any]) -> bool:
    """Tell whether a function trains what is outside of it."""
    from torch import nn

    if not inspect.isfunction(function):
        return False
    outside = inspect.getclosurevars(function)
    values = (*outside.nonlocals.values(), *outside.globals.values())
    return any(isinstance(each, nn.Module | nn.Parameter) for each in values)


def _taken(function: Callable[..., Any], **sizes: Any) -> dict[str, Any]:
    """Return those of the arguments that a function takes."""
    parameters = inspect.signature(function).parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return {name: size for name, size in sizes.items() if takes_all or name in parameters}


def _pickled(function: Callable[..., Any], whole: Collection[ModuleType]) -> bytes:
    import cloudpickle

    added = [
        each for each in whole if each.__name__ not in cloudpickle.list_registry_pickle_by_value()
    ]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(function)
    except Exception as error:  # whatever it refers to may refuse in its own way
        name = getattr(function, "__name__", "the step")
        what = f"{name} refers to something that cannot be sent to a process of its own"
        raise UsageError(f"{what}: {error}; make what it needs within it") from None
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)
    return data
