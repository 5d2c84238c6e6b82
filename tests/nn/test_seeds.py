"""Seeds come from a stream of their own, which repeats when it is told to."""

import itertools

import pytest
import torch
import torch.distributed as dist

import rmmbench
from rmmbench import RMMLinear
from rmmbench.nn import seeds
from rmmbench.nn.seeds import next_seed

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]

every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Give each test a stream that nobody has seeded."""
    monkeypatch.setattr(seeds, "_stream", seeds._Stream())
    torch.manual_seed(0)


def take(count, device="cpu"):
    """Return the next seeds."""
    return [next_seed(device).item() for _ in range(count)]


@every_device
def test_no_two_are_alike(device):
    """Seeds are int64 numbers on the device that asks, at least 0, and none comes twice."""
    seed = next_seed(device)
    assert (seed.dtype, seed.shape, seed.device.type) == (torch.int64, (), device)
    found = take(1000, device)
    assert len(set(found)) == 1000
    assert min(found) >= 0


@every_device
def test_a_seed_stays_what_it_was(device):
    """A seed that was kept does not change as others are drawn."""
    first = next_seed(device)
    value = first.item()
    take(3, device)
    assert first.item() == value


@every_device
def test_manual_seed_repeats(device):
    """manual_seed starts the stream anew; another seed starts another stream."""
    rmmbench.manual_seed(3)
    first = take(100, device)
    rmmbench.manual_seed(3)
    assert take(100, device) == first
    for other in (4, 2**40, -1):
        rmmbench.manual_seed(other)
        assert set(take(100, device)).isdisjoint(first)


@every_device
def test_follows_torchs_seed(device):
    """Without manual_seed the stream depends on torch's seed, which it leaves as it is."""
    first = take(10, device)
    state = torch.get_rng_state()
    seeds._stream = seeds._Stream()
    assert take(10, device) == first
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    seeds._stream = seeds._Stream()
    assert set(take(10, device)).isdisjoint(first)


@every_device
def test_torchs_seed_restarts_nothing(device):
    """Seeding torch with the same number once an epoch does not bring back the same sketches."""
    first = take(10, device)
    torch.manual_seed(0)
    assert set(take(10, device)).isdisjoint(first)


@every_device
def test_manual_seed_goes_before_torchs(device):
    """After manual_seed it no longer matters how torch is seeded."""
    rmmbench.manual_seed(3)
    first = take(2, device)
    rmmbench.manual_seed(3)
    torch.manual_seed(99)
    assert take(2, device) == first


@every_device
def test_ranks_have_streams_of_their_own(device, monkeypatch):
    """Two ranks with one seed draw different sketches, or their noise would not average out."""
    rmmbench.manual_seed(0)
    first = take(10, device)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    rmmbench.manual_seed(0)
    assert set(take(10, device)).isdisjoint(first)


@pytest.fixture
def two_gpus(monkeypatch):
    """Let there seem to be two GPUs, the second the current one, whose tensors are the host's."""
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch, "empty", lambda size, dtype, device: empty(size, dtype=dtype))


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_has_one_stream_whatever_it_is_called():
    """The current GPU, named without its number, draws on; it does not start a stream again."""
    found = take(3, "cuda") + take(3, "cuda:1") + take(3, "cuda")
    assert len(set(found)) == 9
    assert list(seeds._stream.on_gpu) == [torch.device("cuda:1")]


@pytest.mark.usefixtures("two_gpus")
def test_two_gpus_of_one_process_draw_apart():
    """Two GPUs, with one seed, draw different sketches, and each again after manual_seed."""
    found = []
    for _ in range(2):
        rmmbench.manual_seed(3)
        found.append([take(100, f"cuda:{index}") for index in range(2)])
    assert set(found[0][0]).isdisjoint(found[0][1])
    assert found[0] == found[1]


def test_a_compiled_layer_finds_its_stream(monkeypatch):
    """A stream that lives on a device is there, and real, before compiled code runs at all."""
    monkeypatch.setattr(seeds, "is_host", lambda device: False)
    there = []

    def backend(graph, inputs):
        there.append([type(last) for _, last in seeds._stream.on_gpu.values()])
        return graph.forward

    layer = RMMLinear(24, 16, rho=0.5)
    torch.compile(layer, backend=backend, fullgraph=True)(torch.randn(20, 24)).sum().backward()
    assert there == [[torch.Tensor]]
    assert layer.weight.grad is not None


@pytest.mark.cuda
def test_the_first_step_may_be_a_cuda_graph():
    """Compiled to reduce overhead a layer runs from its first step on, and draws anew at each."""
    layer, x = RMMLinear(24, 16, rho=0.2, device="cuda"), torch.randn(40, 24, device="cuda")
    step = torch.compile(layer, mode="reduce-overhead")
    found = []
    for _ in range(4):
        layer.weight.grad = None
        step(x).square().sum().backward()
        found.append(layer.weight.grad.clone())
    assert not any(torch.allclose(*pair) for pair in itertools.pairwise(found))


@pytest.mark.cuda
def test_nothing_waits_for_the_gpu():
    """Drawing seeds, and a whole step of a layer, make the host wait for nothing."""
    layer = RMMLinear(24, 16, rho=0.5, device="cuda")
    x = torch.randn(40, 24, device="cuda")
    layer(x).sum().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        next_seed("cuda")
        layer(x).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_a_replayed_graph_draws_anew():
    """A CUDA graph draws another sketch each time, and starts anew when the stream does."""
    layer = RMMLinear(24, 16, rho=0.2, device="cuda")
    x = torch.randn(40, 24, device="cuda")

    def step():
        layer.weight.grad = layer.bias.grad = None
        layer(x).square().sum().backward()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    found = []
    for start in (1, None, 1):
        if start is not None:
            rmmbench.manual_seed(start)
            next_seed("cuda")
        graph.replay()
        found.append(layer.weight.grad.clone())
    assert not torch.allclose(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.cuda
def test_a_graph_cannot_start_the_stream():
    """Capturing a graph before the first seed is refused, with what to do."""
    torch.zeros((), device="cuda")
    graph = torch.cuda.CUDAGraph()
    with (
        pytest.raises(RuntimeError, match="run one step, after seeding, before the graph is capt"),
        torch.cuda.graph(graph),
    ):
        next_seed("cuda")
