"""The group of processes that are not there takes tensors apart as torch does."""

import pytest
import torch
from torch.distributed.fsdp._fully_shard import _fsdp_common

from rmmbench.fakes.process_group import Chunks


@pytest.mark.parametrize("count", [1, 3, 4, 7, 9])
def test_parts_are_torchs(count):
    """Each part is the one that FSDP2 would have made, those beyond the end empty."""
    tensor = torch.arange(14.0).view(7, 2)
    parts = _fsdp_common._chunk_with_empty(tensor, count, dim=0)
    assert len(parts) == count
    for number, part in enumerate(parts):
        torch.testing.assert_close(Chunks(tensor, count, dim=0)[number], part)
