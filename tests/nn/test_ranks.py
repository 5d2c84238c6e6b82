"""Ranks that sketch differently are told, by two real processes joined by gloo."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import rmmbench
from rmmbench.nn.ranks import check_same_settings


def model(include=None, **settings):
    """Return two layers, converted."""
    layers = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    return rmmbench.convert(layers, include=include, **settings)


def run_rank(rank, port):
    """Compare models that are alike, of another rate, of another sketch, and of other layers."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    check_same_settings(model(rho=0.5))
    message = (
        r"rho must be the same on every rank, got 0.5 on rank 0 and 0.2 on rank 1 in layer '0'"
    )
    with pytest.raises(ValueError, match=message):
        check_same_settings(model(rho=(0.5, 0.2)[rank]))
    with pytest.raises(ValueError, match=r"sketch must .* got dct on rank 0 and oporp on rank 1"):
        check_same_settings(model(rho=0.5, sketch=("dct", "oporp")[rank]))
    message = "layer '1' must be sketched on every rank or on none, got a sketch on rank 0"
    with pytest.raises(ValueError, match=message):
        check_same_settings(model(rho=0.5, include=(None, "0")[rank]))
    dist.destroy_process_group()


def test_ranks_are_compared():
    """What differs is named with both values, on both ranks; what is alike passes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run_rank, args=(port,), nprocs=2)


def test_one_process_has_nothing_to_compare():
    """Without torch.distributed every model passes."""
    check_same_settings(model(rho=0.5))
