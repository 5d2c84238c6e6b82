"""Kernels are used where they can run; elsewhere their twins, with one warning."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rmmbench import sketches
from rmmbench.kernels import bins, dense, launch, permutation, philox, rounding

SEED = torch.tensor(5)


@pytest.fixture(autouse=True)
def _nothing_has_failed(monkeypatch):
    monkeypatch.setattr(launch, "_failed", {})
    monkeypatch.setattr(launch, "_taken", set())


@pytest.fixture
def _as_if_on_a_gpu(monkeypatch):
    monkeypatch.setattr(launch, "usable", lambda *_: True)


def call_everything():
    """Return what the public functions give."""
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    starts = torch.arange(0, 40, 4, dtype=torch.int32)
    arguments = (permutation.permutation(SEED, 40), starts, philox.sign_words(SEED, 40))
    return [
        *arguments,
        bins.bin_sums(x, *arguments),
        *bins.bin_sums_and_total(x, *arguments),
        *bins.bin_sums_in_bits(x, *arguments, 4, SEED),
        *(kept := rounding.round_to_bits(x, 8, SEED)),
        rounding.restored(*kept, 6, 8, x.dtype),
        dense.project(x, 8, 40, SEED, dense.sign_entries),
        dense.project(x, 8, 20, SEED, dense.normal_entries),
    ]


def call_everything_by_twins():
    """Return what the twins give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "usable", lambda *_: False)
        return call_everything()


def assert_falls_back(expected):
    """Assert that every result is right, again and again, and that one warning tells of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call_everything() + call_everything()
    assert all(map(torch.equal, found, expected + expected))
    [warning] = caught
    assert warning.category is RuntimeWarning
    return str(warning.message)


@pytest.mark.usefixtures("_as_if_on_a_gpu")
def test_without_triton(monkeypatch):
    """Where Triton is not installed the twins run, and one warning says what that means."""
    expected = call_everything_by_twins()
    for name in [name for name in sys.modules if name.startswith("rmmbench.kernels._triton")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)
    message = assert_falls_back(expected)
    assert "a Triton kernel cannot run here (ModuleNotFoundError: " in message
    remedy = "install a Triton that works with this torch"
    assert f"sketches run on PyTorch's own operators, which is slower; {remedy}" in message


@pytest.mark.usefixtures("_as_if_on_a_gpu")
def test_a_kernel_that_does_not_compile(monkeypatch):
    """A failed kernel is not tried again: its twin runs, and there is one warning for all."""
    tried = []

    def fails(kernel):
        def compiled(*_):
            tried.append(kernel)
            raise RuntimeError("\nFailed to find C compiler\nat line 3")

        return compiled

    monkeypatch.setattr(launch, "loaded", fails)
    message = assert_falls_back(call_everything_by_twins())
    assert "(RuntimeError: Failed to find C compiler)" in message
    assert len(tried) == len(set(tried)) > 1


class TritonsOwnError(Exception):
    """An error of Triton's, which has only its module to be known by."""

    __module__ = "triton.runtime.errors"


NO_KERNEL = [
    TritonsOwnError("out of resource: shared memory, Required: 166912, Hardware limit: 101376."),
    ModuleNotFoundError("No module named 'triton'"),
    AttributeError("module 'triton.language' has no attribute 'philox'"),
    PermissionError(13, "Permission denied", "/root/.triton"),
    subprocess.CalledProcessError(1, ["gcc"]),
    RuntimeError("PassManager::run failed"),
    RuntimeError("0 active drivers ([]). There should only be one."),
    RuntimeError("Triton Error [CUDA]: device kernel image is invalid"),
    AssertionError("libcuda.so cannot found!"),
]
OTHERS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    RuntimeError("CUDA error: device-side assert triggered"),
    TypeError("project() missing 1 required positional argument: 'seed'"),
]


def compute():
    """Return what a kernel gives, or its twin."""
    return launch.kernel_or_twin("_triton_some:kernel", torch.neg, SEED)


def fails_with(error):
    """Return what stands for `loaded` and gives kernels that raise an error."""

    def kernel(*_):
        raise error

    return lambda _: kernel


@pytest.mark.usefixtures("_as_if_on_a_gpu")
@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_other_errors_are_the_callers(monkeypatch, error):
    """Out of memory, and whatever says nothing of a kernel, is raised, and kernels stay in use."""
    monkeypatch.setattr(launch, "loaded", fails_with(error))
    with pytest.raises(type(error)):
        compute()
    assert not launch._failed
    assert launch.path_taken() is None


@pytest.mark.usefixtures("_as_if_on_a_gpu")
@pytest.mark.parametrize("error", NO_KERNEL, ids=repr)
def test_errors_that_mean_no_kernel(monkeypatch, error):
    """What is not imported, compiled, loaded or fitted in has a twin that takes over."""
    monkeypatch.setattr(launch, "loaded", fails_with(error))
    with pytest.warns(RuntimeWarning, match=f"cannot run here \\({type(error).__name__}: "):
        assert compute() == -SEED
    assert launch.path_taken() == "torch"
    assert "a Triton kernel cannot run here" in launch.complaint()


def test_what_was_taken_is_known(monkeypatch):
    """A process knows whether kernels ran, twins, or first the ones and then the others."""
    assert launch.path_taken() is launch.complaint() is None
    compute()
    assert launch.path_taken() == "torch"
    monkeypatch.setattr(launch, "usable", lambda *_: True)
    monkeypatch.setattr(launch, "loaded", lambda _: torch.abs)
    assert compute() == SEED
    assert launch.path_taken() == "both"
    launch._taken.discard("torch")
    launch.note_sketch(SEED)
    assert launch.path_taken() == "triton"


@pytest.mark.parametrize("name", sketches.names())
def test_the_path_of_every_sketch(name):
    """On a CPU sketches run on PyTorch's own operators, those that ask for no kernel, too."""
    sketch = sketches.get(name, block_rows=4 if sketches.get(name).has_factors else None)
    sketch.project(torch.ones(8, 2), 4, 1)
    assert launch.path_taken() == "torch"


def test_fake_tensors_take_no_path():
    """What has no numbers computes nothing."""
    with FakeTensorMode():
        launch.kernel_or_twin(None, torch.neg, torch.tensor(1))
    assert launch.path_taken() is None


def test_negative_views_have_no_kernel(monkeypatch):
    """A kernel would read the numbers of a negative view with the wrong sign."""
    view = torch.complex(torch.ones(2), torch.ones(2)).conj().imag
    assert view.is_neg()
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    assert launch.usable(torch.ones(2))
    assert not launch.usable(view)


def test_usable_for_real_tensors_on_a_gpu_only():
    """Tensors on the CPU, fake ones and those of two devices have no kernel."""
    real = torch.zeros(2)
    with FakeTensorMode():
        fake = torch.zeros(2, device="cuda")
    assert fake.is_cuda
    assert not any(launch.usable(*tensors) for tensors in [(real,), (fake,), (real, fake)])


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["oporp", "countsketch", "rademacher", "gaussian"])
def test_fake_tensors_go_by_the_twin(name):
    """A prediction launches nothing: shapes are enough."""
    # Without a GPU most of torch's operators refuse even fake tensors on one.
    with FakeTensorMode():
        x = torch.zeros(64, 10, device="cuda", dtype=torch.bfloat16)
        x_proj, total = sketches.get(name).project_and_sum(x, 16, 3)
    assert (x_proj.shape, x_proj.dtype) == ((16, 10), torch.bfloat16)
    assert (x_proj.device.type, total.shape) == ("cuda", (10,))


def test_importing_sketches_does_not_import_triton():
    """Triton is imported at the first launch on a GPU, so that whoever has none never waits."""
    program = """
import sys
import torch
from rmmbench import sketches
for name in sketches.names():
    block_rows = 4 if sketches.get(name).has_factors else None
    sketches.get(name, block_rows=block_rows).project_and_sum(torch.ones(8, 3), 4, torch.tensor(1))
assert "triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
