"""Train with less memory: keep a sketch of a linear layer's input, and measure what it costs.

    import rmmbench
    rmmbench.convert(model, sketch="gaussian", rho=0.5)

Nothing heavy is imported until one of these names is used.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmmbench import sketches as sketches
    from rmmbench.measures.gradient.callback import NoiseCallback as NoiseCallback
    from rmmbench.nn import RMMLinear as RMMLinear
    from rmmbench.nn import convert as convert
    from rmmbench.nn import manual_seed as manual_seed
    from rmmbench.nn import rmm_linear as rmm_linear

try:
    __version__ = version("rmmbench")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "NoiseCallback",
    "RMMLinear",
    "__version__",
    "convert",
    "manual_seed",
    "rmm_linear",
    "sketches",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rmmbench' has no attribute '{name}'")
    if name == "sketches":
        return import_module("rmmbench.sketches")
    if name == "NoiseCallback":
        return import_module("rmmbench.measures.gradient.callback").NoiseCallback
    return getattr(import_module("rmmbench.nn"), name)
