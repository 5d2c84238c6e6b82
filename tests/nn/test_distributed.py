"""The layer under DDP and FSDP2: two real processes, joined by gloo."""

import os
import socket
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import rmmbench
from rmmbench import RMMLinear
from rmmbench.nn.seeds import next_seed

DRAWS = 150


def wrap_ddp(model: nn.Module) -> nn.Module:
    """Return the model under DDP."""
    return DistributedDataParallel(model)


def wrap_fsdp2(model: nn.Module) -> nn.Module:
    """Return the model with its parameters sharded over the ranks."""
    return fully_shard(model)


def whole(tensor: Tensor) -> Tensor:
    """Return a gradient gathered from all ranks."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def run_rank(rank: int, port: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Check that the mean gradient over both ranks lies along the exact one, at length 1."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    batches = [torch.randn(32, 24), torch.randn(32, 24)]
    layer = RMMLinear(24, 16, rho=0.4)
    exact = nn.Linear(24, 16)
    exact.load_state_dict(layer.state_dict())
    (sum(exact(batch).square().mean() for batch in batches) / 2).backward()
    model = wrap(layer)
    along = []
    for _ in range(DRAWS):
        model.zero_grad()
        model(batches[rank]).square().mean().backward()
        gradient = whole(layer.weight.grad)
        along.append((gradient * exact.weight.grad).sum() / exact.weight.grad.square().sum())
    ratios = torch.stack(along)
    standard_error = (ratios.std() / DRAWS**0.5).item()
    assert standard_error < 0.1
    assert abs(ratios.mean().item() - 1) <= 5 * standard_error, ratios.mean()
    seeds: list[int | None] = [None, None]
    rmmbench.manual_seed(0)
    dist.all_gather_object(seeds, next_seed())
    assert seeds[0] != seeds[1], "both ranks would draw one sketch, and their noise would add up"
    dist.destroy_process_group()


@pytest.mark.parametrize("wrap", [wrap_ddp, wrap_fsdp2])
def test_mean_gradient_over_ranks(wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Under DDP and FSDP2 the averaged gradient is unbiased, and each rank draws its own sketch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run_rank, args=(port, wrap), nprocs=2)
