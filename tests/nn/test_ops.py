"""The operators that torch.compile cannot look into."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import rmmbench
from rmmbench import RMMLinear, sketches
from rmmbench.nn import ops

SKETCHES = [
    *((name, 10 if name == "kronecker" else None) for name in sketches.names()),
    *(("gaussian", 10), ("rademacher", 10)),
]

every_sketch = pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: "-".join(map(str, s)))


@every_sketch
def test_torchs_own_checks(sketch):
    """All three operators pass torch's checks of schema, fake implementation and compilation."""
    x, settings = torch.randn(30, 6), (12, *sketch)
    key = ops.draw(x, *settings, torch.tensor(5))
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(ops.draw, (x, *settings, torch.tensor(5)), test_utils=checks)
    torch.library.opcheck(ops.draw, (x, *settings, None), test_utils=checks[:2])
    for operator in (ops.project, ops.project_and_sum):
        torch.library.opcheck(operator, (x, *settings, key), test_utils=checks)


@every_sketch
def test_draw_and_project(sketch):
    """Without a seed draw gives another key at each call; project does what the key says."""
    x, settings = torch.randn(30, 6), (12, *sketch)
    first, second = (ops.draw(x, *settings, None) for _ in range(2))
    assert not torch.equal(first, second)
    found, total = ops.project_and_sum(x, *settings, first)
    assert torch.equal(ops.project(x, *settings, first), found)
    torch.testing.assert_close(found, sketches.get(*sketch).project(x, 12, first))
    torch.testing.assert_close(total, x.sum(0))


def test_seeds_are_never_drawn_again():
    """A draw is tagged as random, so that no compiler computes it again to save memory."""
    assert torch.Tag.nondeterministic_seeded in ops.OPERATORS[0].tags
    assert [operator.name() for operator in ops.OPERATORS] == [
        "rmmbench::draw",
        "rmmbench::project",
        "rmmbench::project_and_sum",
    ]


@every_sketch
@pytest.mark.parametrize("bias", [True, False])
def test_torch_counts_the_work(sketch, bias):
    """The counter of torch finds the sketches' work, and 2·B_proj·N·M for the weight gradient."""
    name, block_rows = sketch
    layer = RMMLinear(24, 16, bias, sketch=name, rho=0.4, block_rows=block_rows)
    x = torch.randn(3, 10, 24, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    s = sketches.get(*sketch)
    proj_dim = s.size_from(30, 12)
    counts = counter.get_flop_counts()["Global"]
    of_y = torch.ops.rmmbench.project_and_sum if bias else torch.ops.rmmbench.project
    work = s.flops(30, 24, proj_dim), s.flops(30, 16, proj_dim)
    if bias:
        assert (counts[torch.ops.rmmbench.project], counts[of_y]) == work
    else:
        assert counts[of_y] == sum(work)
    products = 2 * (2 * 30 * 24 * 16) + 2 * proj_dim * 24 * 16
    assert counter.get_total_flops() == sum(work) + products


def test_manual_seed_reaches_the_operators():
    """The keys that draw gives repeat after rmmbench.manual_seed."""
    x, keys = torch.randn(30, 6), []
    for _ in range(2):
        rmmbench.manual_seed(4)
        keys.append([ops.draw(x, 12, "gaussian", None, None).item() for _ in range(3)])
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 3
