"""Where kernels are tested: in Triton's interpreter on the CPU, and on a GPU.

Whether a kernel is interpreted is settled when Triton is imported, and torch may import it at any
time. So what runs in the interpreter runs in a process of its own, which `test_interpreter.py`
starts; to start it by hand: TRITON_INTERPRET=1 pytest tests/kernels.
"""

import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_collection_modifyitems(config, items):
    """Leave the tests for the interpreter to the process that has one."""
    if INTERPRETED:
        return
    left = [item for item in items if _device(item) == "interpreter"]
    items[:] = [item for item in items if _device(item) != "interpreter"]
    config.hook.pytest_deselected(items=left)


def _device(item):
    parameters = getattr(item, "callspec", None)
    return parameters and parameters.params.get("device")


@pytest.fixture(autouse=True)
def _same_numbers_each_time():
    torch.manual_seed(0)


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request, monkeypatch):
    """Where a kernel runs; what it leaves unwritten in its results is NaN."""
    if request.param == "interpreter":
        pytest.importorskip("triton", reason="triton is not installed")
        _multiply_bfloat16(monkeypatch)
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # fills new tensors with NaN
    yield torch.device("cuda" if request.param == "cuda" else "cpu")
    torch.use_deterministic_algorithms(was)


def _multiply_bfloat16(monkeypatch):
    # TODO: drop once Triton's interpreter multiplies bfloat16; that of 3.9 multiplies its bits.
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    multiply = InterpreterBuilder.create_dot

    def create_dot(self, a, b, d, *options):
        a, b = (
            self.create_fp_ext(each, tl.float32) if each.dtype.scalar == tl.bfloat16 else each
            for each in (a, b)
        )
        return multiply(self, a, b, d, *options)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
