"""On a GPU: PyTorch chooses the kernels of attention that the rules for the fake GPU say."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from rmmbench.fakes import workspaces
from rmmbench.fakes.cuda_attention import Attention, Call
from rmmbench.measures.environment import gpu_here

pytestmark = pytest.mark.cuda


class Called(TorchDispatchMode):
    """Notes the kernels of attention that are called."""

    def __init__(self):
        """Start with none."""
        super().__init__()
        self.kernels = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note a kernel, and call it."""
        if func in workspaces.ATTENTION:
            self.kernels.append(workspaces.ATTENTION[func])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("width", [40, 64, 256])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("is_causal", [False, True])
def test_the_kernel_is_the_one_that_the_rules_name(dtype, width, masked, dropout, is_causal):
    """A fused kernel runs where, and only where, the rules say so; else the math path does."""
    if masked and is_causal:
        pytest.skip("PyTorch takes one of the two")
    shape = (2, 4, 48, width)
    q, k, v = (torch.randn(shape, dtype=dtype, device="cuda", requires_grad=True) for _ in range(3))
    mask = torch.ones(2, 1, 48, 48, dtype=torch.bool, device="cuda") if masked else None
    call = Call(q, k, v, mask, dropout, is_causal)
    with Called() as called:
        scaled_dot_product_attention(*call[:6])
    assert (called.kernels or ["math"]) == [Attention(gpu_here()).choose(call)]
