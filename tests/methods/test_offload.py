"""What is saved waits elsewhere: what is moved, how often, and that it comes back as it was."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from rmmbench import methods
from rmmbench.errors import UsageError
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.cuda import measure_cuda_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.methods import _moved
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case
from rmmbench.spec.steps import Step

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH = 128
ROWS = 128  # so that an activation has the 64 KiB from which on it is moved


class Arrays(_moved.Host):
    """Memory of the CPU that torch's allocator knows nothing of; notes what is put there."""

    def __init__(self):
        """Start from nothing."""
        self.put_lengths = []

    def put(self, run):
        """Copy a run of numbers to an array of numpy's."""
        self.put_lengths.append(len(run))
        return run.view(torch.uint8).numpy().copy()

    def get(self, kept, run):
        """Copy them back."""
        run.view(torch.uint8).copy_(torch.from_numpy(kept))


@pytest.fixture
def arrays(monkeypatch):
    """Move real tensors on the CPU to arrays, fake ones to where they go otherwise."""
    host, usual = Arrays(), _moved.host_of
    monkeypatch.setattr(_moved, "host_of", lambda tensor: usual(tensor) or host)
    return host


def case(model="roberta-tiny", method="offload", **settings):
    """Return a case whose activations are large enough to move."""
    data = {"model": model, "method": method, "batch_size": 16, "seq_len": 64}
    return Case.model_validate(data | settings)


def step_of(wanted, device="cpu"):
    """Return the training step of a case."""
    return prepare(Draft(wanted, lambda _: None), device, foreach=device == "cuda")


def gradients(step):
    """Return the gradients of one step, with dropout drawn alike."""
    torch.manual_seed(5)
    step.forward().backward()
    return [parameter.grad for parameter in step.model.parameters()]


class Reader(nn.Module):
    """A model that is what a function does with its weight and an activation."""

    def __init__(self, function):
        """Draw the weight, the same each time."""
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=generator))
        self.function = function

    def forward(self, input):
        """Return a sum over what the function makes of the activation."""
        return self.function(input @ self.weight, self.weight).square().mean()


def weight_gradients(function):
    """Return the gradient of a Reader's weight without and with offload."""
    found = []
    for name in ("exact", "offload"):
        model = Reader(function).train()
        methods.stack(case(method=name).steps).apply(model, {})
        model(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(2))).backward()
        found.append(model.weight.grad)
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_prediction_is_what_a_step_holds_elsewhere_than_its_host(arrays, dtype):
    """Predicted peak and saved bytes are those of real steps whose host torch does not see."""
    measured, warnings = measure_cpu_memory(lambda: step_of(case(dtype=dtype)))
    predicted = predict_memory(lambda: step_of(case(dtype=dtype)))
    assert not warnings
    assert predicted.peak_allocated_bytes == pytest.approx(measured.peak_allocated_bytes, rel=0.02)
    assert predicted.saved_bytes == pytest.approx(measured.saved_bytes, rel=0.02)


def test_what_is_saved_is_no_longer_there():
    """Of what RoBERTa saves less than a fiftieth stays; the peak falls by most of it."""
    exact = predict_memory(lambda: step_of(case(method="exact")))
    moved = predict_memory(lambda: step_of(case()))
    assert moved.saved_bytes < exact.saved_bytes / 50
    fall = exact.peak_allocated_bytes - moved.peak_allocated_bytes
    assert fall > 0.7 * exact.saved_bytes


def test_gradients_are_exactly_the_same(arrays):
    """With dropout drawn alike every bit of every gradient is the unchanged model's."""
    exact = gradients(step_of(case(method="exact")))
    assert all(map(torch.equal, gradients(step_of(case())), exact))
    assert arrays.put_lengths


@pytest.mark.parametrize(
    ("function", "moved"),
    [
        pytest.param(lambda x, w: (x @ w) * (x @ w) + x @ w, 4, id="read by several"),
        pytest.param(lambda x, w: x[:, :64] * x[:, 64:], 1, id="two halves"),
        pytest.param(lambda x, w: x.T @ x.view(-1, ROWS), 2, id="transposed"),
        pytest.param(lambda x, w: x[:1].expand(ROWS, -1) * x, 2, id="repeated"),
        pytest.param(lambda x, w: x.relu_() * w, 2, id="changed in place"),
        pytest.param(lambda x, w: torch.eye(ROWS).to_sparse() @ x, 1, id="beside a sparse one"),
    ],
)
def test_views_and_shared_storages_come_back(arrays, function, moved):
    """Whatever views of a storage are saved, it is moved once, and gradients are the same."""
    exact, found = weight_gradients(function)
    assert torch.equal(found, exact)
    assert arrays.put_lengths == [ROWS * WIDTH] * moved


def test_a_storage_that_changes_is_kept_as_it_was_each_time(arrays):
    """What is changed in place between two saves is moved at both, where torch would refuse."""

    def doubled_between(x, w):
        detached = x.detach().clone()
        first = w * detached
        detached.mul_(2)
        return first + w * detached

    _, found = weight_gradients(lambda x, w: w * (3 * x.detach()))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        weight_gradients(doubled_between)
    model = Reader(doubled_between).train()
    methods.stack(case().steps).apply(model, {})
    model(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(2))).backward()
    torch.testing.assert_close(model.weight.grad, found)


def test_a_graph_can_be_followed_twice(arrays):
    """With retain_graph the second backward pass finds everything again."""
    model = Reader(lambda x, w: (x @ w).relu() * x).train()
    methods.stack(case().steps).apply(model, {})
    loss = model(torch.randn(ROWS, WIDTH))
    (first,) = torch.autograd.grad(loss, [model.weight], retain_graph=True)
    (second,) = torch.autograd.grad(loss, [model.weight])
    assert torch.equal(first, second)


def test_what_lives_anyway_stays(arrays):
    """Parameters, buffers and the batch are not moved, nor views of them, nor what is small."""
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)).train()
    model.register_buffer("scale", torch.ones(ROWS, WIDTH))
    methods.stack(case().steps).apply(model, {})
    output = model(torch.randn(ROWS, WIDTH, requires_grad=True))
    assert arrays.put_lengths == [ROWS * WIDTH]  # what the norm reads
    output.sum().backward()


def test_hooks_around_see_what_stays(arrays):
    """What is left alone goes through the hooks that the model was called within."""
    model = Reader(lambda x, w: x * 2).train()
    methods.stack(case().steps).apply(model, {})
    batch, seen, asked = torch.randn(ROWS, WIDTH), [], []

    def note(tensor):
        seen.append(tensor.untyped_storage()._cdata)
        return (tensor,)

    def tell(packed):
        asked.append(packed)
        return packed[0]

    with saved_tensors_hooks(note, tell):
        loss = model(batch)
    assert batch.untyped_storage()._cdata in seen
    loss.backward()
    assert len(asked) == len(seen)


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_is_a_model_of_its_own(arrays, how):
    """A copy computes with its own parameters, and moves what it saves, switched for itself."""
    step = step_of(case("mlp:128-128-128"))
    original, batch = step.model, step.batch
    copied = copy.deepcopy(original) if how == "deepcopy" else pickle.loads(pickle.dumps(original))
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not copied(**batch).logits.any()
    assert original(**batch).logits.any()
    before = len(arrays.put_lengths)
    with methods.get("offload").reference(original):
        copied(**batch).loss.backward()
    assert len(arrays.put_lengths) > before
    assert all(parameter.grad is None for parameter in original.parameters())


def test_the_signature_stays():
    """Who asks what the model takes is told what it took before."""
    model = step_of(case("mlp:6-8-4", "exact")).model
    before = inspect.signature(model.forward)
    methods.stack(case().steps).apply(model, {})
    assert inspect.signature(model.forward) == before


def test_nothing_moves_in_evaluation(arrays):
    """A model in eval mode, or in the reference, keeps what it saves."""
    step = step_of(case())
    with methods.get("offload").reference(step.model):
        step()
    step.model.eval()
    step()
    assert not arrays.put_lengths


def test_on_the_cpu_there_is_nowhere_to_move_to():
    """There the method says so, and what is saved stays."""
    method = methods.get("offload")
    assert "the CPU's memory" in method.lacks("cpu")
    assert method.lacks("cuda") is None
    assert method.lacks("predict") is None
    assert _moved.host_of(torch.ones(3)) is None


def test_inputs_of_checkpoints_are_moved(arrays):
    """With checkpoint what blocks begin from is moved, and gradients are the same to the bit."""
    exact = gradients(step_of(case(method="exact")))
    assert all(map(torch.equal, gradients(step_of(case(method="checkpoint+offload"))), exact))
    both, alone = (
        predict_memory(lambda name=name: step_of(case(method=name)))
        for name in ("checkpoint+offload", "checkpoint")
    )
    assert both.saved_bytes < alone.saved_bytes


@pytest.mark.parametrize("other", ["quantize", "compile", "memory-budget"])
def test_what_decides_about_the_same_is_refused(other):
    """Two methods cannot both say how what autograd saves is kept."""
    with pytest.raises(UsageError, match=r"both take over .*what autograd saves"):
        methods.stack([Step("offload"), Step(other)])


@pytest.mark.cuda
def test_a_gpu_holds_what_was_predicted():
    """On a GPU gradients are the same to the bit, and the peak is the predicted one within 5 %."""
    wanted = case(batch_size=64)
    memory, _ = measure_cuda_memory(lambda: step_of(wanted, "cuda"))
    predicted = predict_memory(lambda: step_of(wanted))
    assert memory.peak_allocated_bytes == pytest.approx(predicted.peak_allocated_bytes, rel=0.05)
    exact = gradients(step_of(case(batch_size=64, method="exact"), "cuda"))
    assert all(map(torch.equal, gradients(step_of(wanted, "cuda")), exact))
