"""What takes less time than in torch gives what torch gives."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp._fully_shard import _fsdp_common
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor._sharding_prop import ShardingPropagator

from rmmbench.fakes.process_group import fake_group
from rmmbench.fakes.quicker import Chunks, number_by_number
from rmmbench.running.isolation import process

aten = torch.ops.aten


@pytest.mark.parametrize("count", [1, 3, 4, 7, 9])
def test_parts_are_torchs(count):
    """Each part is the one that FSDP2 would have made, those beyond the end empty."""
    tensor = torch.arange(14.0).view(7, 2)
    parts = _fsdp_common._chunk_with_empty(tensor, count, dim=0)
    assert len(parts) == count
    for number, part in enumerate(parts):
        torch.testing.assert_close(Chunks(tensor, count, dim=0)[number], part)


def shardings():
    """Return for each operator on lists whether its results are sharded as torch says they are.

    None means that torch is asked.
    """
    torchs = ShardingPropagator.propagate_op_sharding_non_cached
    quick = number_by_number(lambda *_: None)
    found = {}
    with fake_group(4, "cpu"):
        mesh = init_device_mesh("cpu", (4,))
        sizes = (2, 5)
        x, y = (
            [DTensor.from_local(torch.ones(3, size), mesh, [Shard(0)]) for size in sizes]
            for _ in range(2)
        )
        whole = [DTensor.from_local(torch.ones(12, size), mesh, [Replicate()]) for size in sizes]
        for operator, *args in (
            (aten._foreach_mul_.Scalar, x, 2.0),
            (aten._foreach_sqrt.default, x),
            (aten._foreach_addcdiv_.ScalarList, x, y, y, [1.0, 2.0]),
            (aten._foreach_div.List, whole, whole),
            (aten._foreach_norm.Scalar, x, 2.0),
            (aten._foreach_add.List, x, whole),
        ):
            dispatcher = DTensor._op_dispatcher
            schema = dispatcher.unwrap_to_op_info(operator, tuple(args), {}).schema
            mine = quick(dispatcher.sharding_propagator, schema)
            theirs = torchs(dispatcher.sharding_propagator, schema)
            found[operator.name()] = mine and mine == theirs
        # Where torch says it otherwise, as 2.11 does, it is asked of all.
        knows = dispatcher.sharding_propagator.op_single_dim_strategy_funcs
        is_quick = aten._foreach_mul_.Scalar in knows
    return [*found.values(), is_quick]


def test_shardings_are_torchs():
    """What is done with each number of some tensors is sharded alike, and torch need not say it."""
    *found, is_quick = process.call(shardings)
    assert found == [*[is_quick or None] * 4, None, None]
