"""The layer under DDP and FSDP2: two real processes, joined by gloo."""

import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import rmmbench
from rmmbench.nn.seeds import next_seed

DRAWS = 36


class Attention(nn.Module):
    """Three layers that read one tensor."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(24, 16) for _ in range(3))

    def forward(self, x):
        """Return a sum that is another function of each."""
        return torch.tanh(self.q(x)) + torch.sin(self.k(x)) + self.v(x)


def whole(tensor):
    """Return a gradient gathered from all ranks."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def gradients(model, x, target):
    """Return the gradients of the three weights."""
    model.zero_grad()
    (model(x) - target).square().mean().backward()
    return [whole(p.grad) for name, p in model.named_parameters() if name.endswith("weight")]


def check_mean_gradient(rank, wrap, **settings):
    """Assert that the mean gradient over both ranks lies along the exact one, at length 1."""
    torch.manual_seed(0)
    # Rows near one direction, half of them opposite, have little noise.
    signs = torch.tensor([1.0, -1.0]).repeat(32)[torch.randperm(64)].view(64, 1)
    x, target = signs * torch.randn(24) + 0.3 * torch.randn(64, 24), 3 * signs * torch.randn(16)
    model = nn.Sequential(Attention())
    exact = gradients(model, x, target)
    model = wrap(rmmbench.convert(model, **settings))
    mine = slice(32 * rank, 32 * rank + 32)
    along = []
    for _ in range(DRAWS):
        pairs = zip(gradients(model, x[mine], target[mine]), exact, strict=True)
        along.append([float((g * e).sum() / e.square().sum()) for g, e in pairs])
    ratios = torch.tensor(along)
    standard_error = ratios.std(0) / DRAWS**0.5
    assert bool((standard_error < 0.1).all()), standard_error
    assert bool(((ratios.mean(0) - 1).abs() <= 5 * standard_error).all()), (wrap, ratios.mean(0))


def run_rank(rank, port):
    """Check both ways to train on several devices, and that the ranks' seeds are different."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for wrap in (DistributedDataParallel, fully_shard):
        for share in (True, False):
            check_mean_gradient(rank, wrap, rho=0.4, share=share)
        check_mean_gradient(rank, wrap, sketch="oporp", rho=0.4, bits=8)
        check_mean_gradient(rank, wrap, bits=2)
        check_mean_gradient(rank, wrap, rho=0.4, bits=4, principal=2)
    seeds = [None, None]
    rmmbench.manual_seed(0)
    dist.all_gather_object(seeds, next_seed().item())
    assert seeds[0] != seeds[1], "both ranks would draw one sketch, and their noise would add up"
    dist.destroy_process_group()
    # All is checked. torch 2.13's threads sometimes abort a process that Python ends.
    os._exit(0)


def test_mean_gradient_over_ranks():
    """Under DDP and FSDP2 the averaged gradient is unbiased, and each rank draws its own sketch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run_rank, args=(port,), nprocs=2)
