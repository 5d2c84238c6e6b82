"""Who keeps what a linear layer reads: one forward pass on fake tensors, which allocates nothing.

Autograd keeps a tensor once, whoever asks for it. If another operation keeps a layer's input too,
as a ReLU keeps its output, a sketch of it saves nothing and costs its own bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from rmmbench.nn.analysis.rehearsal import Example, input_of, rehearsal


class Reading(NamedTuple):
    """A tensor that a linear layer read and of which it keeps a storage for the backward pass.

    Attributes:
        layer: Qualified name.
        tensor: A number that is the same for layers that read the very same tensor.
        storage: A number that is the same for layers that keep one storage between them.
        shape: Of the tensor, the last dimension being the features.
        dtype: Of what is kept; under autocast it is a cast copy.
        kept_bytes: Of the whole storage.
        others: What else keeps it, such as "relu in mlp.act"; empty if only linear layers do.
    """

    layer: str
    tensor: int
    storage: int
    shape: torch.Size
    dtype: torch.dtype
    kept_bytes: int
    others: tuple[str, ...]


def readings(model: nn.Module, layers: Sequence[str], example: Example) -> list[Reading]:
    """Return what the linear layers of a model keep in one forward pass in training mode.

    Neither parameters, buffers nor random generators change. Under autocast the pass is as autocast
    makes it.

    Args:
        model: Called with `example`.
        layers: Qualified names of the linear layers.
        example: A batch like those of training; only its shapes and dtypes matter.

    Raises:
        ValueError: If the model's forward pass asks for values, which fake tensors do not have.
    """
    with rehearsal(model, example) as step:
        watch = _Watch(set(layers), step.state.values())
        for tensor in tree_leaves(step.batch):
            if isinstance(tensor, Tensor):
                watch.keeps(tensor, "the batch")
        packing = saved_tensors_hooks(watch.note, lambda nothing: nothing)
        try:
            with watch.attached(model), watch, packing:
                step.forward()
        finally:
            watch.let_go()
    return watch.readings()


class _Watch(TorchFunctionMode):
    """Notes for every storage that autograd saves who saves it: a layer, or a function."""

    def __init__(self, layers: set[str], state: Iterable[Tensor]) -> None:
        super().__init__()
        self._layers = layers
        self._own = {tensor.untyped_storage()._cdata for tensor in state}
        self._modules: list[str] = []
        self._read: list[Tensor] = []
        self._functions: list[str] = []
        self._readings: dict[tuple[str, int], Reading] = {}
        self._keepers: dict[int, list[str]] = {}
        self._alive: list[Tensor] = []  # or an address would come back for another tensor

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self._functions.append(getattr(func, "__name__", str(func)).strip("_"))
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self._functions.pop()

    def note(self, tensor: Tensor) -> None:
        """Take in what is saved; in its place nothing is, as no backward pass follows."""
        layer = next((name for name in reversed(self._modules) if name in self._layers), None)
        if layer is None:
            self.keeps(tensor, f"{self._function()} in {self._module()}")
            return
        storage, read = tensor.untyped_storage(), self._read[-1]
        if _is_of(tensor, read) and storage._cdata not in self._own:
            self._alive += [tensor, read]
            known = (id(read), storage._cdata, read.shape, tensor.dtype, storage.nbytes())
            self._readings[layer, storage._cdata] = Reading(layer, *known, ())

    def keeps(self, tensor: Tensor, who: str) -> None:
        self._alive.append(tensor)
        keepers = self._keepers.setdefault(tensor.untyped_storage()._cdata, [])
        if who not in keepers:
            keepers.append(who)

    def let_go(self) -> None:
        """Break the circle of tensors, their graph, what notes for it, and this."""
        self._alive.clear()

    def readings(self) -> list[Reading]:
        return [
            reading._replace(others=tuple(self._keepers.get(reading.storage, ())))
            for reading in self._readings.values()
        ]

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Follow which module runs, while within."""

        def enter(name: str) -> Callable[..., None]:
            def hook(_: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
                self._modules.append(name)
                if name in self._layers:
                    self._read.append(input_of(args, keywords))

            return hook

        def leave(*_: Any) -> None:
            if self._modules.pop() in self._layers:
                self._read.pop()

        with ExitStack() as stack:
            for name, module in model.named_modules():
                for handle in (
                    module.register_forward_pre_hook(enter(name), with_kwargs=True),
                    module.register_forward_hook(leave, always_call=True),
                ):
                    stack.callback(handle.remove)
            yield

    def _function(self) -> str:
        return self._functions[0] if self._functions else "a custom function"

    def _module(self) -> str:
        return self._modules[-1] if self._modules and self._modules[-1] else "the model itself"


def _is_of(kept: Tensor, read: Tensor) -> bool:
    """Tell whether what a layer keeps is its input, or a copy; and not autocast's of its weight."""
    if kept.untyped_storage()._cdata == read.untyped_storage()._cdata:
        return True
    # A layer multiplies by its weight transposed, so that such a copy is not contiguous.
    return kept.numel() == read.numel() and kept.is_contiguous()
