"""The bytes that autograd saves for the backward pass of a linear layer."""

from collections.abc import Callable, Iterator

import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from rmmbench import sketches
from rmmbench.claims._table1 import N_IN, PROJ_DIM, RHO, ROWS, SIZE, Layer
from rmmbench.claims.claim import Claim, Finding
from rmmbench.nn import rmm_linear

_SEED_BYTES = 8


class Memory(Claim):
    """Table 1, first column."""

    title = "What is kept for the backward pass (section 2.4, Table 1)"
    statement = "B N_in numbers without a sketch, B_proj N_in with one, and a seed of O(1)"
    method = f"the storages that autograd saves, each once, parameters left out; {SIZE}"

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try the layer without a sketch, then with each."""
        layer = Layer.made(seed)
        whole = ROWS * N_IN * layer.x.itemsize
        saved = _saved_bytes(lambda: F.linear(*layer), layer)
        yield Finding(
            case="without RMM",
            paper=f"{whole:,} B",
            here=f"{saved:,} B",
            holds=saved == whole,
            why="autograd does not keep exactly the input",
            numbers={"table_1_bytes": whole, "measured_bytes": saved},
        )
        for name in sketches.names():
            yield _sketched(name, layer)


def _sketched(name: str, layer: Layer) -> Finding:
    key_bytes = sketches.get(name).new_key(layer.x, PROJ_DIM).nbytes
    expected = PROJ_DIM * N_IN * layer.x.itemsize
    saved = _saved_bytes(lambda: rmm_linear(*layer, sketch=name, rho=RHO), layer)
    return Finding(
        case=name,
        paper=f"{expected:,} B",
        here=f"{saved:,} B = {expected:,} B + {saved - expected:,} B",
        holds=0 <= saved - expected <= _SEED_BYTES,
        corrected_holds=saved - expected == key_bytes,
        is_own=True,
        why="S depends on X: which rows it keeps, and their scales, take 16 B a row, not O(1)",
        numbers={"table_1_bytes": expected, "measured_bytes": saved, "key_bytes": key_bytes},
    )


def _saved_bytes(forward: Callable[[], Tensor], layer: Layer) -> int:
    """Return the bytes that autograd saves while `forward` runs, without parameters."""
    own = {parameter.data_ptr() for parameter in (layer.weight, layer.bias)}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = forward()
    saved = sum(kept[place].untyped_storage().nbytes() for place in kept.keys() - own)
    del output
    return saved
