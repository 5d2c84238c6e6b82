"""A model of the user's own, from a factory that can be imported."""

import sys
from importlib import import_module

from torch import nn

from rmmbench.models.model import Built
from rmmbench.record import Case


def from_path(argument: str, case: Case) -> Built:
    """Build "import:package.module:factory" by calling factory(batch_size=…, seq_len=…).

    The factory returns (model, make_batch); see `rmmbench.models.model.Built`. The working
    directory can be imported from.

    Raises:
        ValueError: If it cannot be imported, or what it returns is not that pair.
    """
    module_name, _, attribute = argument.partition(":")
    where = f"import:{argument}"
    if not module_name or not attribute:
        raise ValueError(
            f"a model of your own is named import:package.module:factory, got '{where}'"
        )
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        factory = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        hint = "check the name, or run where the module can be imported"
        raise ValueError(f"{where} cannot be imported: {error}; {hint}") from error
    made = factory(batch_size=case.batch_size, seq_len=case.seq_len)
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module)):
        raise ValueError(f"{where} must return (model, make_batch), got {type(made).__name__}")
    if not callable(made[1]):
        raise ValueError(f"{where} must return make_batch as a function, got {made[1]!r:.60}")
    return Built(*made)
