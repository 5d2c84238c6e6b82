"""A model spread over the devices of a mesh: DDP, FSDP2, or linear layers that are split.

Methods come first, and what they change is spread: `convert` and plans look at whole layers, which
have numbers, shapes and modules of their own only before. Afterwards optimizers are made, as
parameters may be others.
"""

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from rmmbench.nn.blocks import named_blocks
from rmmbench.nn.seeds import draw_alike
from rmmbench.nn.splitting import kinds_of_split, split_layers
from rmmbench.spec.choices import Dtype, Parallel

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


_SEEDS: Final = 2**32
"""How many seeds of cases there are."""


class How(Protocol):
    """How to spread a model, as a case says it."""

    @property
    def parallel(self) -> Parallel | None:
        """DDP, FSDP2 or split layers; None leaves the model as it is."""

    @property
    def reshard(self) -> bool:
        """Whether FSDP2 gives a block's gathered parameters back after its forward pass."""

    @property
    def dtype(self) -> Dtype:
        """Of a step; "bfloat16" is FSDP2's policy, not autocast."""


def spread(model: nn.Module, how: How, mesh: "DeviceMesh") -> nn.Module:
    """Spread a model over the ranks of a mesh, and return what is to be called in its place.

    Every rank calls this with the same model, of the same parameters. "ddp" returns a module around
    the model; the others change it in place and return it. From then on all ranks draw the same
    sketches where layers are split ("tensor"), as parameters that every rank has must get the same
    gradients; else each draws its own.

    Args:
        model: Built, changed by its methods, and without gradients.
        how: Such as a case.
        mesh: Of one dimension, over the ranks.

    Raises:
        ValueError: If the model cannot be spread so.
    """
    draw_alike(how.parallel == "tensor")
    if how.parallel == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, process_group=mesh.get_group())
    if how.parallel == "fsdp2":
        _shard(model, how, mesh)
    elif how.parallel == "tensor":
        split_layers(model, mesh)
    return model


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model that `spread` was given, of what it returned."""
    inner = getattr(model, "module", None)
    is_wrapper = type(model).__name__ == "DistributedDataParallel"
    return inner if is_wrapper and isinstance(inner, nn.Module) else model


def mesh_over(ranks: int, device: str) -> "DeviceMesh":
    """Return the mesh of all ranks, which have met, on a type of device."""
    from torch.distributed.device_mesh import init_device_mesh

    # The numbers of ranks must be real where other tensors are fake.
    with _disable_current_modes():
        return init_device_mesh(device, (ranks,))


def gathered_dtype(how: How) -> torch.dtype | None:
    """Return the dtype that parameters are gathered and used in; None for their own."""
    return torch.bfloat16 if how.parallel == "fsdp2" and how.dtype == "bfloat16" else None


def seed_rank(seed: int, parallel: Parallel | None) -> None:
    """Let each rank draw its own batch and dropout; all the same where layers are split."""
    if parallel != "tensor":
        torch.manual_seed(seed + _SEEDS * dist.get_rank())


def check_spread(model: nn.Module, parallel: Parallel | None, ranks: int) -> None:
    """Raise ValueError if a model cannot be spread so over so many ranks."""
    if parallel == "fsdp2":
        _sharded_blocks(model)
    elif parallel == "tensor":
        kinds_of_split(model, ranks)


def _shard(model: nn.Module, how: How, mesh: "DeviceMesh") -> None:
    """Shard each block's parameters by themselves, and all others together."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    blocks = _sharded_blocks(model)
    policy = MixedPrecisionPolicy()
    if (gathered := gathered_dtype(how)) is not None:
        policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=torch.float32)
    for block in blocks.values():
        fully_shard(block, mesh=mesh, reshard_after_forward=how.reshard, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def _sharded_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Return the blocks of a model, whose parameters are gathered block by block.

    Raises:
        ValueError: If there are none, or a parameter is in two.
    """
    blocks = named_blocks(model)
    if not blocks:
        need = "fsdp2 needs blocks: two or more modules of one class, with parts of their own"
        given = f"in one ModuleList or Sequential, got none in {type(model).__name__}"
        raise ValueError(f"{need}, {given}; take parallel ddp")
    check_owners(model, blocks)
    return blocks


def check_owners(model: nn.Module, blocks: dict[str, nn.Module]) -> None:
    """Raise ValueError if a parameter is in two blocks, or in one and outside of it.

    Each block's are gathered and given back by themselves.
    """
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    for tied in names.values():
        owners = Counter(_block_of(name, blocks) for name in tied)
        if len(owners) > 1:
            need = "fsdp2 needs parameters that are in one block, or outside of all"
            given = f"got {tied[0]}, which is {tied[-1]} too"
            raise ValueError(f"{need}, {given}; untie them, or take parallel ddp")


def _block_of(name: str, blocks: dict[str, nn.Module]) -> str:
    places = accumulate(name.split("."), "{}.{}".format)
    return next((place for place in places if place in blocks), "")
