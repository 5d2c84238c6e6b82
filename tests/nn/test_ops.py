"""The operators that torch.compile cannot look into."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import rmmbench
from rmmbench import RMMLinear, sketches
from rmmbench.nn import ops

SKETCHES = [
    *(f"{name}:block_rows=10" if name == "kronecker" else name for name in sketches.names()),
    *("gaussian:block_rows=10", "rademacher:block_rows=10"),
]

every_sketch = pytest.mark.parametrize("sketch", SKETCHES)


@every_sketch
def test_torchs_own_checks(sketch):
    """All operators pass torch's checks of schema, fake implementation and compilation."""
    x, settings, seed = torch.randn(30, 6), (12, sketch), torch.tensor(5)
    key = ops.sketch(x, *settings, seed, None, None)[1]
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(ops.sketch, (x, *settings, seed, None, None), test_utils=checks)
    torch.library.opcheck(ops.sketch, (x, *settings, None, None, None), test_utils=checks[:2])
    torch.library.opcheck(ops.draw_seed, (x, seed), test_utils=checks)
    torch.library.opcheck(ops.rounding_words, (seed, 30, 2), test_utils=checks)
    torch.library.opcheck(ops.draw_seed, (x, None), test_utils=checks[:2])
    for operator in (ops.project, ops.project_and_sum):
        torch.library.opcheck(operator, (x, *settings, key), test_utils=checks)


@every_sketch
def test_sketch_and_project(sketch):
    """Without a seed each call draws another S; what is returned is SᵀX and the key of that S."""
    x, settings = torch.randn(30, 6), (12, sketch)
    (x_proj, key), (_, other) = (ops.sketch(x, *settings, None, None, None) for _ in range(2))
    assert not torch.equal(key, other)
    found, total = ops.project_and_sum(x, *settings, key)
    assert torch.equal(ops.project(x, *settings, key), found)
    torch.testing.assert_close(x_proj, found)
    torch.testing.assert_close(found, sketches.get(sketch).project(x, 12, key))
    torch.testing.assert_close(total, x.sum(0))


def test_what_another_layer_has_is_not_made_again():
    """Given SᵀX and its key the operator returns these very tensors, and draws no seed."""
    x, settings = torch.randn(30, 6), (12, "oporp")
    kept = ops.sketch(x, *settings, None, None, None)
    rmmbench.manual_seed(4)
    found = ops.sketch(x, *settings, None, *kept)
    assert [tensor.data_ptr() for tensor in found] == [tensor.data_ptr() for tensor in kept]
    rmmbench.manual_seed(4)
    first = ops.sketch(x, *settings, None, None, None)[1]
    rmmbench.manual_seed(4)
    ops.sketch(x, *settings, None, *kept)
    assert torch.equal(ops.sketch(x, *settings, None, None, None)[1], first)


def test_seeds_are_never_drawn_again():
    """What draws is tagged as random, so that no compiler computes it again to save memory."""
    for operator in (*ops.DRAWING, ops.draw_seed):
        assert torch.Tag.nondeterministic_seeded in operator.tags
    assert [operator.name() for operator in ops.OPERATORS] == [
        "rmmbench::sketch",
        "rmmbench::sketch_in_bits",
        "rmmbench::project",
        "rmmbench::project_and_sum",
        "rmmbench::product_in_bits",
        "rmmbench::principal_sketch",
    ]


@every_sketch
@pytest.mark.parametrize("bias", [True, False])
def test_torch_counts_the_work(sketch, bias):
    """The counter of torch finds the sketches' work, and 2·B_proj·N·M for the weight gradient."""
    name, _, block_rows = sketch.partition(":block_rows=")
    own = {"block_rows": int(block_rows)} if block_rows else {}
    layer = RMMLinear(24, 16, bias, sketch=name, rho=0.4, **own)
    x = torch.randn(3, 10, 24, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    s = sketches.get(sketch)
    proj_dim = s.size_from(30, 12)
    counts = counter.get_flop_counts()["Global"]
    of_y = torch.ops.rmmbench.project_and_sum if bias else torch.ops.rmmbench.project
    work = s.flops(30, 24, proj_dim), s.flops(30, 16, proj_dim)
    assert (counts[torch.ops.rmmbench.sketch], counts[of_y]) == work
    products = 2 * (2 * 30 * 24 * 16) + 2 * proj_dim * 24 * 16
    assert counter.get_total_flops() == sum(work) + products


def test_manual_seed_reaches_the_operators():
    """The keys of what is sketched repeat after rmmbench.manual_seed."""
    x, keys = torch.randn(30, 6), []
    for _ in range(2):
        rmmbench.manual_seed(4)
        drawn = [ops.sketch(x, 12, "gaussian", None, None, None) for _ in range(3)]
        keys.append([key.item() for _, key in drawn])
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 3


def test_a_shared_sketch_is_no_work():
    """Layers that take another's sketch add nothing to the count of the work."""
    x, settings = torch.randn(30, 6), (12, "oporp")
    kept = ops.sketch(x, *settings, None, None, None)
    with FlopCounterMode(display=False) as counter:
        ops.sketch(x, *settings, None, *kept)
    assert counter.get_total_flops() == 0


class Names(TorchDispatchMode):
    """Notes the names of operators."""

    def __init__(self):
        """Begin with none."""
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note it, and do it."""
        self.found.append(func.name())
        return func(*args, **(kwargs or {}))


@every_sketch
def test_a_layer_goes_past_the_dispatcher_and_does_the_same(sketch):
    """What is called directly gives what the operator gives; who watches sees the operator."""
    x = torch.randn(30, 6)
    x_proj, key = ops.call(ops.sketch, x, 12, sketch, torch.tensor(5), None, None)
    expected = ops.sketch(x, 12, sketch, torch.tensor(5), None, None)
    assert torch.equal(x_proj, expected[0])
    assert torch.equal(key, expected[1])
    found = ops.call(ops.project_and_sum, x, 12, sketch, key)
    with Names() as names:
        expected = ops.call(ops.project_and_sum, x, 12, sketch, key)
    assert names.found[0] == "rmmbench::project_and_sum"
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad
