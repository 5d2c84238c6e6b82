"""What autograd saves lies in the host's memory from the forward to the backward pass.

A GPU's numbers go to pinned memory and come back when the backward pass asks for them, in the
order of the GPU's own stream: nothing waits for a copy but what comes after it there. Unlike
`torch.autograd.graph.save_on_cpu` it leaves alone what lives on the GPU anyway (parameters,
buffers, the batch), and moves what several operators save once.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rmmbench.methods.method import Method
from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Offload(Method[Settings]):
    """Moves what autograd saves in storages of at least 64 KiB off the GPU.

    On the CPU there is nowhere to move it to, and it stays.
    """

    takes_over = frozenset({"what autograd saves"})
    is_exact = True

    def apply(self, model: "nn.Module", settings: Settings, batch: "Mapping[str, Tensor]") -> int:
        """Change where autograd saves in the model's forward pass, and return 1 for it."""
        from rmmbench.methods._moved import Moving
        from rmmbench.methods._saved import KeptForward

        KeptForward(model, Moving())
        return 1

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which nothing is moved."""
        from rmmbench.methods._saved import kept_exactly

        return kept_exactly(model)

    def lacks(self, device: str) -> str | None:
        """Say that on the CPU nothing can be moved."""
        if device != "cpu":
            return None
        return "offload moves what is saved to the CPU's memory, and on the CPU it lies there"
