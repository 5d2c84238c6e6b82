"""How a rank meets the others of its case, and what it lacks for that."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist

from rmmbench.measures.environment import cpu_count
from rmmbench.running.isolation.rank_processes import Rank
from rmmbench.spec.case import Case

_LOOPBACK = Path("/sys/class/net/lo")


def join(rank: Rank, device: Literal["cuda", "cpu"]) -> list[str]:
    """Meet the other ranks, and return warnings; a second time does nothing.

    On a CPU each rank takes its share of the threads. What torchrun tells its processes by
    variables stands there too, for those who look.
    """
    if dist.is_initialized():
        return []
    count = rank.ranks
    numbers = {"RANK": rank.number, "LOCAL_RANK": rank.number}
    numbers |= {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    numbers["OMP_NUM_THREADS"] = max(1, torch.get_num_threads() // count)
    os.environ |= {name: str(number) for name, number in numbers.items()}
    if _LOOPBACK.exists():  # they are all on this machine
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "gloo"
    if device == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(rank.number)
    else:
        torch.set_num_threads(numbers["OMP_NUM_THREADS"])
    dist.init_process_group(
        backend,
        init_method=rank.meeting.as_uri(),
        rank=rank.number,
        world_size=count,
        timeout=timedelta(seconds=rank.patience_seconds),
    )
    return shared_cores(count) if device == "cpu" else []


def ranks_lack(case: Case, device: str) -> str | None:
    """Return what a case's step lacks on a device for its ranks, in words; None for nothing.

    Args:
        case: Perhaps of one rank.
        device: "cuda", "cpu", or "predict", which lacks nothing.
    """
    if device != "cuda" or case.ranks == 1:
        return None
    count = torch.cuda.device_count()
    if count >= case.ranks:
        return None
    return f"ranks must be at most the GPUs here, {count}, got {case.ranks}; take fewer ranks"


def shared_cores(ranks: int) -> list[str]:
    """Return a warning if so many ranks have less than a core each."""
    cores = cpu_count()
    if ranks <= cores:
        return []
    what = f"{ranks} ranks share {cores} CPU core{'s' * (cores > 1)}"
    return [f"{what}, so steps take longer than on ranks with cores of their own; take fewer ranks"]
