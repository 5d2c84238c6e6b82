"""A user's own model, from a factory that can be imported."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from rmmbench.fakes.mode import as_fake, is_faking, real_tensors, why_not_fake
from rmmbench.models.model import Built
from rmmbench.spec.case import Case


def from_path(argument: str, case: Case) -> Built:
    """Build "import:package.module:factory" by calling factory(batch_size=…, seq_len=…).

    The factory returns (model, make_batch), a step, or (step, model); see
    `rmmbench.models.model.Built`. A step is a function without arguments that does forward pass,
    backward pass and update; methods can change it where its model is given.

    Raises:
        ValueError: If it cannot be imported, or returns something else.
    """
    return made_by(find_factory(argument), f"import:{argument}", case)


def made_by(factory: Callable[..., Any], where: str, case: Case) -> Built:
    """Return what factory(batch_size=…, seq_len=…) makes; messages call it `where`.

    Raises:
        ValueError: If it returns neither (model, make_batch), nor a step, nor (step, model).
    """
    made = factory(batch_size=case.batch_size, seq_len=case.seq_len)
    one, other = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if isinstance(one, nn.Module) and other is not None:
        if not callable(other) or isinstance(other, nn.Module):
            raise ValueError(f"{where} must return make_batch as a function, got {other!r:.60}")
        return Built(one, lambda: _batch(other, where), _SYNTHETIC)
    is_step = callable(one) and not isinstance(one, nn.Module | type)
    if not is_step or not (other is None or isinstance(other, nn.Module)):
        need = "(model, make_batch), a step (a function without arguments), or (step, model)"
        got = ", ".join(type(each).__name__ for each in (made if made == (one, other) else (made,)))
        raise ValueError(f"{where} must return {need}, got {got}")
    _check_arguments(one, where)
    return Built(other or nn.Module(), dict, _SYNTHETIC, step=one)


_SYNTHETIC = "inputs and labels are what the factory makes"


def _check_arguments(step: Callable[..., Any], where: str) -> None:
    """Raise ValueError if a step cannot be called without arguments."""
    try:
        inspect.signature(step).bind()
    except TypeError as error:
        need = "must return a step that is called without arguments"
        raise ValueError(f"{where} {need}, got one with a {error}") from None
    except ValueError:
        return  # what is written in C may have no signature


def find_factory(argument: str) -> Callable[..., Any]:
    """Import "package.module:factory", also from the working directory.

    Tensors that the module makes during its import are real and on the CPU.

    Raises:
        ValueError: If it cannot be imported, for whatever reason, or cannot be called.
    """
    module_name, _, attribute = argument.partition(":")
    where = f"import:{argument}"
    if not module_name or not attribute:
        form = "import:package.module:factory"
        raise ValueError(f"a model of your own must be named {form}, got '{where}'")
    try:
        with real_tensors(), _here_first():
            factory: Any = getattr(import_module(module_name), attribute)
    except Exception as error:  # importing runs the user's code, which may raise anything
        hint = "check the name, or run where the module can be imported"
        raise ValueError(
            f"{where} cannot be imported: {type(error).__name__}: {error}; {hint}"
        ) from error
    if not callable(factory):
        raise ValueError(f"{where} must be a function, got {factory!r:.60}")
    return cast("Callable[..., Any]", factory)


@contextmanager
def _here_first() -> Iterator[None]:
    """Find modules in the working directory first within, and last afterwards.

    So a file there never stands in for a module that a library imports later.
    """
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")
        if "" not in sys.path:
            sys.path.append("")


def _batch(make_batch: Callable[[], Any], where: str) -> Mapping[str, Any]:
    """Return a batch, of fake tensors if the model's tensors are fake."""
    batch = _made(make_batch)
    if not isinstance(batch, Mapping):
        need = "the model's keyword arguments by name"
        raise ValueError(f"make_batch of {where} must return {need}, got {type(batch).__name__}")
    if is_faking():
        faked: dict[str, Any] = tree_map_only(Tensor, as_fake, dict(batch))
        return faked
    return batch


def _made(make_batch: Callable[[], Any]) -> Any:
    try:
        return make_batch()
    except Exception as error:
        if why_not_fake(error) is None:
            raise
    # The batch is read from data, whose values fake tensors do not have.
    with real_tensors():
        return make_batch()
