"""Linear layers split over ranks, each of which holds a part of the weight [Shoeybi et al. 2019].

Where one layer's outputs go to the next one's inputs number by number, or head by head, the first
is split by its outputs and the second by its inputs. Between them each rank has its own part of the
activations, and one sum over the ranks makes the result whole. Any other layer is split by its
outputs, which are put together at once. Parameters become DTensors; what a rank computes with are
plain tensors, so that sketches, hooks and single operators meet what they always do. One S serves
all parts of a layer: rows are what is sketched, and every rank has all of them.

Shoeybi, Patwary, Puri, LeGresley, Casper, Catanzaro (2019): Megatron-LM: Training Multi-Billion
Parameter Language Models Using Model Parallelism. arXiv 1909.08053.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.nn.blocks import named_blocks
from rmmbench.nn.compressed_layers import CompressedLinear
from rmmbench.nn.principal import place_basis
from rmmbench.nn.swap import become, check_forwards

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class _Pair(NamedTuple):
    """Layers of transformers' blocks, by the ends of their names: split by outputs, by inputs."""

    first: str
    second: str
    has_heads: bool = False


_PAIRS: Final = (
    _Pair(r"[qkv]_proj", "o_proj", has_heads=True),
    _Pair(r"[qkv]_proj", "out_proj", has_heads=True),
    _Pair(r"attention\.self\.(query|key|value)", "attention.output.dense", has_heads=True),
    _Pair(r"(gate|up)_proj", "down_proj"),
    _Pair(r"intermediate\.dense", "output.dense"),
    _Pair(r"fc1", "fc2"),
)

_HEAD_SIZES: Final = ("head_dim", "attention_head_size")
"""What attention calls the features of a head."""


class Split:
    """How a layer is split: what it does around its linear map.

    Attributes:
        dimensions: Along which its parameters are split, by name; the others are whole.
    """

    dimensions: ClassVar[dict[str, int]] = {"weight": 0, "bias": 0}

    def __init__(self, mesh: "DeviceMesh") -> None:
        """Split over the ranks of a mesh."""
        self.mesh = mesh

    def __call__(self, linear: Linear, input: Tensor, weight: Any, bias: Any) -> Tensor:
        """Return what the layer returns on this rank.

        Args:
            linear: The map, of plain tensors.
            input: What the layer reads on this rank.
            weight: A DTensor.
            bias: A DTensor if it is split, too.
        """
        raise NotImplementedError

    def features(self, whole: int) -> int:
        """Return how many of the input's features this rank has."""
        return whole


class ByOutputs(Split):
    """Each rank computes a part of the outputs from all inputs."""

    gathers = False

    def __call__(self, linear: Linear, input: Tensor, weight: Any, bias: Any) -> Tensor:
        """Return this rank's part of the outputs, or all of them if it `gathers`."""
        from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

        # The input's gradient is a sum over the ranks.
        entered = DTensor.from_local(input, self.mesh, [Replicate()], run_check=False)
        own = entered.to_local(grad_placements=[Partial()])
        output = linear(own, weight.to_local(), None if bias is None else bias.to_local())
        if not self.gathers:
            return output
        parts = DTensor.from_local(output, self.mesh, [Shard(-1)], run_check=False)
        whole: Tensor = parts.redistribute(placements=[Replicate()]).to_local()
        return whole


class Gathered(ByOutputs):
    """The same, and then every rank has all outputs."""

    gathers = True


class ByInputs(Split):
    """Each rank computes its inputs' share of all outputs, and the shares are added up."""

    dimensions: ClassVar[dict[str, int]] = {"weight": 1}

    def __call__(self, linear: Linear, input: Tensor, weight: Any, bias: Any) -> Tensor:
        """Return all outputs."""
        from torch.distributed.tensor import DTensor, Partial, Replicate

        share = linear(input, weight.to_local(), None)
        shares = DTensor.from_local(share, self.mesh, [Partial()], run_check=False)
        whole: Tensor = shares.redistribute(placements=[Replicate()]).to_local()
        return whole if bias is None else whole + bias.to(whole.dtype)

    def features(self, whole: int) -> int:
        """Return how many of the input's features this rank has."""
        return whole // self.mesh.size()


class SplitLinear(nn.Linear):
    """`torch.nn.Linear`, split."""

    split: Split

    def forward(self, input: Tensor) -> Tensor:
        """Return the linear map of `input`, or this rank's part of it."""
        return self.split(F.linear, input, self.weight, self.bias)


def split_layers(model: nn.Module, mesh: "DeviceMesh") -> dict[str, Split]:
    """Split the linear layers of a model in place, and return how, by qualified name.

    Raises:
        ValueError: As `kinds_of_split` raises it, or if something else replaced a layer's forward.
    """
    splits = {name: kind(mesh) for name, kind in kinds_of_split(model, mesh.size()).items()}
    layers = {name: model.get_submodule(name) for name in splits}
    check_forwards(layers)
    for name, split in splits.items():
        _split(layers[name], split)
    return splits


def kinds_of_split(model: nn.Module, ranks: int) -> dict[str, type[Split]]:
    """Return how each linear layer of a model is to be split, by qualified name.

    A layer whose weight another module has too, or whose sizes the ranks do not divide, stays
    whole; so does every other module.

    Raises:
        ValueError: If the ranks do not divide the heads of attention, or there is no layer to
            split.
    """
    every = model.named_parameters(remove_duplicate=False)
    names = Counter[Tensor](parameter for _, parameter in every)
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and names[layer.weight] == 1
    }
    splits = dict(_pairs(model, layers, ranks))
    for name, layer in layers.items():
        if name not in splits and layer.out_features % ranks == 0:
            splits[name] = Gathered
    if not splits:
        need = f"tensor needs linear layers whose outputs {ranks} ranks divide"
        given = f"and whose weights are theirs alone, got none in {type(model).__name__}"
        raise ValueError(f"{need}, {given}; take fewer ranks, or parallel ddp")
    return splits


def _pairs(
    model: nn.Module, layers: dict[str, nn.Linear], ranks: int
) -> Iterator[tuple[str, type[Split]]]:
    """Yield the layers of transformers' blocks that are split by outputs and then by inputs.

    Of a block from elsewhere it is not known what is between them.
    """
    for block, module in named_blocks(model).items():
        if not any(kind.__module__.startswith("transformers.") for kind in type(module).__mro__):
            continue
        inside = [name for name in layers if name.startswith(f"{block}.")]
        for pair, last in ((pair, name) for pair in _PAIRS for name in inside):
            if not last.endswith(f".{pair.second}"):
                continue
            first = re.escape(last.removesuffix(pair.second)) + pair.first
            heads = [name for name in inside if re.fullmatch(first, name)]
            for name in heads if pair.has_heads else ():
                _check_heads(name, layers[name], model, ranks)
            if heads and not any(layers[name].out_features % ranks for name in heads):
                yield from ((name, ByOutputs) for name in heads)
                yield last, ByInputs


def _check_heads(name: str, layer: nn.Linear, model: nn.Module, ranks: int) -> None:
    around = model.get_submodule(name.rpartition(".")[0])
    size = next((getattr(around, each, None) for each in _HEAD_SIZES if hasattr(around, each)), 1)
    heads = layer.out_features // (size or 1)
    if heads % ranks:
        need = f"tensor needs ranks that divide the heads of attention, got {ranks} ranks"
        given = f"and {heads} heads in '{name}'"
        raise ValueError(f"{need} {given}; take ranks that divide {heads}, or parallel ddp")


def _split(layer: Any, split: Split) -> None:
    """Leave a layer this rank's part of its parameters."""
    for name, dimension in split.dimensions.items():
        whole = getattr(layer, name)
        if whole is not None:
            setattr(layer, name, _part(whole, dimension, split.mesh))
    if isinstance(layer, CompressedLinear):
        layer.split = split
        basis = layer._buffers.get("basis")
        if basis is not None:
            place_basis(layer, basis.shape[1])
    else:
        become(layer, SplitLinear, SplitLinear)
        layer.split = split


def _part(whole: nn.Parameter, dimension: int, mesh: "DeviceMesh") -> nn.Parameter:
    """Return this rank's part of a parameter, in memory of its own."""
    from torch.distributed.tensor import DTensor, Shard

    own = whole.detach().chunk(mesh.size(), dimension)[mesh.get_local_rank()].clone()
    part = DTensor.from_local(own.contiguous(), mesh, [Shard(dimension)], run_check=False)
    return nn.Parameter(part, requires_grad=whole.requires_grad)
