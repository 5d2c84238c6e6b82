"""On fake tensors a user's own code works as on real ones: conversions, experts, loaded data."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.data import DataLoader, TensorDataset

from rmmbench.fakes.mode import fake_tensors, is_faking, real_tensors


class Tied(nn.Module):
    """An embedding whose weight is the last layer's too."""

    def __init__(self):
        """Tie the two, and add a frozen parameter."""
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)


@pytest.mark.parametrize(
    ("convert", "dtype"),
    [
        (nn.Module.bfloat16, torch.bfloat16),
        (nn.Module.half, torch.float16),
        (lambda model: model.to("cpu"), torch.float32),
        (lambda model: model.to(torch.bfloat16).float(), torch.float32),
    ],
)
def test_modules_convert_themselves(convert, dtype):
    """`Module.to` and its kin keep each parameter's identity, ties, requires_grad and gradient."""
    with fake_tensors():
        model = Tied()
        before = dict(model.named_parameters(remove_duplicate=False))
        model.head(model.embedding(torch.zeros(2, dtype=torch.long))).sum().backward()
        convert(model)
        after = dict(model.named_parameters(remove_duplicate=False))
        model.head(model.embedding(torch.zeros(2, dtype=torch.long))).sum().backward()
    assert all(after[name] is before[name] for name in before)
    assert {parameter.dtype for parameter in after.values()} == {dtype}
    assert not model.frozen.requires_grad
    assert model.head.weight.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_experts_are_multiplied_in_every_dtype(dtype):
    """A grouped product and its gradients have the shapes and dtypes that a real one's have."""
    with fake_tensors():
        rows = torch.randn(16, 8, dtype=dtype, requires_grad=True)
        experts = torch.randn(4, 8, 24, dtype=dtype, requires_grad=True)
        ends = torch.tensor([4, 8, 12, 16], dtype=torch.int32)
        product = F.grouped_mm(rows, experts, offs=ends)
        (product * product).sum().backward()
    assert (product.shape, product.dtype) == ((16, 24), dtype)
    assert (rows.grad.shape, experts.grad.shape) == (rows.shape, experts.shape)


def test_loaders_give_what_is_there():
    """A data loader shuffles and collates real data, as its batches hold values."""
    data = TensorDataset(torch.arange(6))
    with fake_tensors():
        batches = [batch for (batch,) in DataLoader(data, batch_size=4, shuffle=True)]
    assert [type(batch) for batch in batches] == [torch.Tensor, torch.Tensor]
    assert sorted(torch.cat(batches).tolist()) == list(range(6))


def test_real_tensors_can_be_made_within():
    """What is imported or read within makes real tensors on the CPU, wherever that is."""
    with fake_tensors(), torch.device("meta"):
        with real_tensors():
            real = torch.ones(2)
            assert not is_faking()
        assert is_faking()
        assert isinstance(torch.ones(2, device="cpu"), FakeTensor)
    assert (type(real), real.device.type) == (torch.Tensor, "cpu")


def test_what_one_look_keeps_another_can_use():
    """A tensor that a model keeps from one prediction to the next belongs to both."""
    with fake_tensors():
        kept = torch.ones(3)
    with fake_tensors():
        assert (kept + torch.ones(3)).shape == (3,)
