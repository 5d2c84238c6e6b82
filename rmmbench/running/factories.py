"""A model as Python callers give it: a name, or a function that other processes can call too."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

Factory = Callable[
    ...,
    "tuple[nn.Module, Callable[[], Mapping[str, Any]]] | Callable[[], object] "
    "| tuple[Callable[[], object], nn.Module]",
]
"""factory(batch_size=…, seq_len=…) returns a model and a function that makes its batches; or a
training step, a function without arguments, alone or with the model that it trains."""

_OWN = "defined_here"
_MODULE = """
import pickle
from pathlib import Path

factory = pickle.loads(Path(__file__).with_suffix(".pickle").read_bytes())
del __file__  # the code is not in this folder, and so its commit is the working directory's
"""


def name_of(model: str | Factory) -> str:
    """Return the model's name in a case.

    Raises:
        TypeError: If it is neither a name nor a function.
    """
    if isinstance(model, str):
        return model
    if not callable(model) or hasattr(model, "named_parameters"):
        need = "a name of `rmmbench list models` or a function that makes a model and its batches"
        got = "a model itself" if callable(model) else type(model).__name__
        raise TypeError(f"model must be {need}, got {got}; see `rmmbench docs own-model`")
    return f"import:{model.__module__ if _is_found(model) else _OWN}:{_word(model)}"


@contextmanager
def importable(model: str | Factory) -> Iterator[str]:
    """Give a name by which another process finds the model, within this context.

    Raises:
        TypeError: If the model is neither a name nor a function.
        UsageError: If another process can neither import the function nor be sent it.
    """
    name = name_of(model)
    if isinstance(model, str) or _is_found(model):
        yield name
        return
    if find_spec("cloudpickle") is None:
        where = "a model's function that is defined here cannot be imported by another process"
        raise UsageError(f"{where}; pip install cloudpickle, or put it in a file of its own")
    own = f"{_OWN}_{_word(model)}"
    with TemporaryDirectory(prefix="rmmbench-") as folder:
        Path(folder, f"{own}.pickle").write_bytes(import_module("cloudpickle").dumps(model))
        Path(folder, f"{own}.py").write_text(_MODULE, encoding="utf-8")
        # A process that measures gets this process's sys.path.
        sys.path.append(folder)
        try:
            yield f"import:{own}:factory"
        finally:
            sys.path.remove(folder)


def _is_found(model: Factory) -> bool:
    """Return whether a function can be imported by its name from its module."""
    module = sys.modules.get(getattr(model, "__module__", ""))
    if module is None or module.__name__ == "__main__" or not getattr(module, "__file__", None):
        return False
    return getattr(module, getattr(model, "__qualname__", ""), None) is model


def _word(model: Factory) -> str:
    """Return a function's name as part of a module's name; a lambda's is no identifier."""
    return re.sub(r"\W+", "_", getattr(model, "__name__", "factory")).strip("_")
