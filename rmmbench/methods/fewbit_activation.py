"""Activation functions that keep a few bits of each element in place of their input.

Novikov, Bershatsky, Gusak, Shonenkov, Dimitrov, Oseledets (2022): Few-Bit Backward: Quantized
Gradients of Activation Functions for Memory Footprint Reduction. arXiv 2202.00441.

The output of f = GELU or SiLU is exact. In the backward pass f′ is replaced by the step function of
2^bits pieces that is nearest to it in the sense of ∫ (f′ − q)², and of each element only the number
of its piece is kept. The gradient of the input is so an approximation: it has no noise, and is the
same for the same input, but it is biased, and so are the gradients of all that comes before.

Modules are converted, of the types `torch.nn.GELU` and `SiLU` and those that transformers has for
the same functions. A function that is called without a module is not seen. Of a function's output,
which the layer behind it may keep, nothing is saved here.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Final, Literal

from rmmbench.methods.method import Method
from rmmbench.spec.settings import Setting, Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

_FUNCTIONS: Final = {
    "torch.nn.modules.activation.SiLU": "silu",
    "transformers.activations.SiLUActivation": "silu",
    "transformers.activations.GELUActivation": "gelu",
    "transformers.activations.GELUTanh": "gelu-tanh",
    "transformers.activations.NewGELUActivation": "gelu-tanh",
    "transformers.activations.FastGELUActivation": "gelu-tanh",
    "transformers.activations.AccurateGELUActivation": "gelu-tanh",
    "transformers.activations.QuickGELUActivation": "quick-gelu",
}


class FewBitSettings(Settings):
    """How little is kept.

    Attributes:
        activation_bits: Of each element.
    """

    activation_bits: Annotated[
        Literal[1, 2, 3, 4],
        Setting("{}-bit activations", varies=True, amount=True, alone="{} bits"),
    ] = 3


class FewBitActivation(Method[FewBitSettings]):
    """Makes every GELU and SiLU of a model keep a few bits an element.

    Saves for backward: bits · ⌈elements / 8⌉ bytes.
    """

    takes_over = frozenset({"activation functions"})

    def apply(
        self, model: "nn.Module", settings: FewBitSettings, batch: "Mapping[str, Tensor]"
    ) -> int:
        """Convert the model's activation functions and return how many were.

        Raises:
            ValueError: If it has none.
        """
        from rmmbench.methods._fewbit import make_few_bit
        from rmmbench.nn.swap import check_forwards

        modules = dict(model.named_modules())
        functions = {name: f for name, module in modules.items() if (f := _function(module))}
        if not functions:
            need = "fewbit-activation must have a module of GELU or SiLU to convert"
            raise ValueError(f"{need}, and the model has none; choose another method")
        check_forwards({name: modules[name] for name in functions})
        device = next((parameter.device for parameter in model.parameters()), None)
        for name, function in functions.items():
            make_few_bit(modules[name], function, settings.activation_bits, device)
        return len(functions)

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which every activation function is exact."""
        from rmmbench.methods._fewbit import FewBit
        from rmmbench.nn.conversion import all_exact

        return all_exact(module for module in model.modules() if isinstance(module, FewBit))


def _function(module: "nn.Module") -> str | None:
    """Return what an activation function's module computes, None for other modules."""
    from torch import nn

    if type(module) is nn.GELU:
        return "gelu" if module.approximate == "none" else "gelu-tanh"
    kind = type(module)
    return _FUNCTIONS.get(f"{kind.__module__}.{kind.__qualname__}")
