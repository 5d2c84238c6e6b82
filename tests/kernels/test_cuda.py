"""On a GPU: what sketches give is what they give on the CPU, and nothing waits for it."""

import pytest
import torch

from rmmbench import sketches
from rmmbench.kernels import bins, dense, launch, rounding
from rmmbench.kernels.levels import BITS

pytestmark = pytest.mark.cuda

WITH_KERNELS = ["oporp", "countsketch", "rademacher", "gaussian"]
every_sketch = pytest.mark.parametrize("name", WITH_KERNELS)


def seed_on_gpu(seed):
    """Return a seed that is never on the CPU."""
    return torch.full((), seed, dtype=torch.int64, device="cuda")


@every_sketch
@pytest.mark.parametrize("rows", [1, 63, 1000, 5000])
def test_sketches_equal_those_of_the_twins(name, rows):
    """The kernels run, none fails, and S is the one that PyTorch's own operators make."""
    x, proj_dim = torch.randn(rows, 130), -(-rows // 3)
    y_proj, total = sketches.get(name).project_and_sum(x.cuda(), proj_dim, seed_on_gpu(11))
    if name == "gaussian":  # on the CPU it takes torch's own generator
        entries = dense.normal_entries
        exact = dense.project_twin(x.double(), proj_dim, rows, torch.tensor(11), entries)
    else:
        exact = sketches.get(name).project(x.double(), proj_dim, 11)
    assert not launch._failed
    assert (y_proj.cpu() - exact).norm() <= 1e-5 * exact.norm()
    torch.testing.assert_close(total.cpu(), x.sum(0), rtol=1e-4, atol=1e-3)


@every_sketch
def test_nothing_waits_for_the_gpu(name):
    """Neither drawing nor projecting synchronises, once kernels are compiled."""
    sketch, x, seed = sketches.get(name), torch.randn(1000, 130, device="cuda"), seed_on_gpu(1)
    sketch.project_and_sum(x, 300, seed)
    torch.cuda.set_sync_debug_mode("error")
    try:
        sketch.project_and_sum(x, 300, seed)
        sketch.project(x, 300, 7)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["oporp", "gaussian"])
def test_few_bits_wait_for_nothing(name, bits):
    """Rounding, in the pass that makes the sums or after it, and the product do not synchronise."""
    sketch, seed = sketches.get(name), seed_on_gpu(1)
    x, y = (torch.randn(1000, 130, device="cuda") for _ in range(2))

    def step():
        kept = sketch.project_in_bits(x, 300, seed, bits, seed)
        return rounding.product(sketch.project(y, 300, seed), *kept, 130, bits)

    expected = step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not launch._failed
    assert torch.equal(found, expected)


@every_sketch
def test_a_graph_draws_anew(name):
    """A captured projection reads its seed at each replay."""
    sketch, x, seed = sketches.get(name), torch.randn(1000, 130, device="cuda"), seed_on_gpu(1)
    expected = [sketch.project(x, 300, number) for number in (1, 2)]
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        x_proj = sketch.project(x, 300, seed)
        seed.add_(1)
    for number in range(2):
        graph.replay()
        torch.testing.assert_close(x_proj, expected[number])
    assert not torch.allclose(*expected)


def test_more_than_two_billion_elements():
    """Rows that lie past 2³¹ elements are found."""
    rows, features = 70_001, 32_768
    if torch.cuda.mem_get_info()[0] < 12 * 2**30:
        pytest.skip("needs 12 GiB of GPU memory")
    x = torch.zeros(rows, features, dtype=torch.bfloat16, device="cuda")
    x[-1] = 1
    order = torch.arange(rows, dtype=torch.int32, device="cuda")
    plus = torch.zeros(-(-rows // 32), dtype=torch.int64, device="cuda")
    sums, total = bins.bin_sums_and_total(x, order, order[:2] * (rows - 1), plus)
    assert not launch._failed
    assert torch.equal(sums[1], x[-1])
    assert torch.equal(total, x[-1])
