"""A model's training step on fake tensors: nothing is computed, nothing of it changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import detect_fake_mode
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._pytree import tree_leaves, tree_map

from rmmbench.fakes.mode import as_fake, fake_tensors, why_not_fake
from rmmbench.nn.analysis.live import nothing_counted

Example = Mapping[str, Any] | Sequence[Any] | Tensor
"""A batch: keyword arguments of the model, positional ones, or the only one."""


@dataclass
class Rehearsal:
    """A model, in training mode, with fake parameters, buffers and batch.

    Attributes:
        state: Parameters and buffers by name.
    """

    model: nn.Module
    state: dict[str, Tensor]
    batch: Any

    def forward(self) -> Any:
        """Return what the model returns.

        Raises:
            ValueError: If it asks for values, which fake tensors do not have.
        """
        keywords = dict(self.batch) if isinstance(self.batch, Mapping) else {}
        single = isinstance(self.batch, Tensor)
        positional = () if keywords else (self.batch,) if single else tuple(self.batch)
        try:
            return self.model(*positional, **keywords)
        except Exception as error:
            why = why_not_fake(error)
            if why is None:
                raise
            remedy = "name the layers with include or exclude instead"
            raise ValueError(f"fake tensors cannot follow this model: {why}; {remedy}") from error

    def step(self) -> None:
        """Do forward and backward pass, of the model's loss or else of all it returns."""
        before = {name: tensor.grad for name, tensor in self.state.items()}
        output = self.forward()
        loss = getattr(output, "loss", None)
        ends = [loss] if isinstance(loss, Tensor) else tree_leaves(output)
        sums = [end.sum() for end in ends if isinstance(end, Tensor) and end.requires_grad]
        del output, loss, ends
        if sums:
            torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
        for name, tensor in self.state.items():
            tensor.grad = before[name]


@contextmanager
def rehearsal(model: nn.Module, example: Example) -> Iterator[Rehearsal]:
    """Make everything fake, enter training mode, and leave it as it was before.

    Args:
        model: Called with `example`.
        example: A batch like those of training; only its shapes and dtypes matter.
    """
    modes = [(module, module.training) for module in model.modules()]
    with nothing_counted(), _fakes(model) as fake, torch.enable_grad():
        tensors = (*model.named_parameters(), *model.named_buffers())
        state = {name: fake(tensor) for name, tensor in tensors}
        batch = tree_map(lambda leaf: fake(leaf) if isinstance(leaf, Tensor) else leaf, example)
        model.train()
        try:
            # For the backward pass too, in which a checkpoint is computed again.
            with _reparametrize_module(model, state, tie_weights=True):
                yield Rehearsal(model, state, batch)
        finally:
            for module, mode in modes:
                module.training = mode


def input_of(args: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor:
    """Return what a linear layer was called with, from what a hook is given."""
    found: Tensor = args[0] if args else next(iter(keywords.values()))
    return found


@contextmanager
def _fakes(model: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Enter a mode in which nothing is computed, if it is not on; give what makes tensors fake."""
    if detect_fake_mode(list(model.parameters())) is not None:
        yield lambda tensor: tensor
        return
    with fake_tensors():
        yield as_fake
