"""What can be sketched of a model, and what is left out with which reason."""

import pytest
import torch
import transformers
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

import rmmbench
from rmmbench.nn.candidates import left_out_layers, linear_layers


class Doubling(nn.Linear):
    """Computes something else."""

    def forward(self, input):
        """Double the product."""
        return 2 * super().forward(input)


class Experts(nn.Module):
    """Weights of three dimensions, as mixtures of experts have them; and what only looks so."""

    def __init__(self):
        """Make the parameters."""
        super().__init__()
        self.up = nn.Parameter(torch.zeros(4, 8, 16))
        self.positions = nn.Parameter(torch.zeros(1, 8, 16))
        self.convolution = nn.Conv1d(8, 8, 3)


class OtherLinear(nn.Module):
    """A linear layer of another library."""

    def __init__(self):
        """Make the weight."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 8))


class Functional(nn.Module):
    """Multiplies by the weights of two layers itself, and calls the third."""

    def __init__(self):
        """Make three layers."""
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(8, 8) for _ in range(3))
        nn.init.zeros_(self.third.weight)

    def forward(self, x):
        """Read what is asked of the third before it is called."""
        assert isinstance(self.third.weight, torch.Tensor)
        x = nn.functional.linear(x, self.first.weight).to(self.third.weight.dtype)
        return self.third(x @ self.second.weight.T)


OWN = "multiplies by its own"


@pytest.mark.parametrize(
    ("module", "reasons"),
    [
        (nn.Linear(8, 4), {}),
        (Doubling(8, 4), {"0": "Doubling has a forward pass of its own"}),
        (nn.LazyLinear(4), {"0": "LazyLinear has no shape before its first batch"}),
        (weight_norm(nn.Linear(8, 4)), {"0": "parametrized before it was converted"}),
        (Experts(), {"0.up": f"Experts {OWN} 3-dimensional weights"}),
        (OtherLinear(), {"0.weight": f"OtherLinear {OWN} 2-dimensional weights"}),
        (
            Functional(),
            {
                "0.first": "Functional reads its weight without calling it",
                "0.second": "Functional reads its weight without calling it",
            },
        ),
        (
            nn.MultiheadAttention(8, 2),
            {
                "0.in_proj_weight": f"MultiheadAttention {OWN} 2-dimensional weights",
                "0.out_proj": "MultiheadAttention reads its weight without calling it",
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_left_out(module, reasons):
    """What multiplies by a weight and cannot be sketched is told with its reason, and only that."""
    model = nn.Sequential(module, nn.Linear(8, 8))
    assert left_out_layers(model) == reasons
    rmmbench.convert(model, rho=0.5)
    assert left_out_layers(model) == reasons


def test_layers_within_torchs_own_blocks():
    """The encoder of torch hands weights on in eval mode alone: its layers can be sketched."""
    block = nn.TransformerEncoderLayer(8, 2, 16)
    assert list(linear_layers(block)) == ["linear1", "linear2"]


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("mamba", {"x_proj", "dt_proj", "out_proj"}),
        ("falcon_mamba", {"x_proj", "dt_proj", "out_proj"}),
        ("mamba2", {"out_proj"}),
    ],
)
def test_projections_that_a_fused_kernel_takes(name, left):
    """Of a mixer of Mamba's kind only what it calls on every device is sketched."""
    config = transformers.AutoConfig.for_model(name, num_hidden_layers=1, vocab_size=32)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    found = {name.rpartition(".")[2]: why for name, why in left_out_layers(model).items()}
    assert found.keys() == left
    assert all("Mixer reads its weight without calling it" in why for why in found.values())
    assert "in_proj" in {name.rpartition(".")[2] for name in linear_layers(model)}


def test_attention_that_is_one_function():
    """WavLM's attention hands the weights of Q, K, V and its output to one function."""
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    found = left_out_layers(WavLMAttention(8, 2))
    assert {name for name in found if name in names} == set(names)


def test_experts_of_a_mixture():
    """Experts hold their weights in three dimensions, which no linear layer does: they are told."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4}
    with torch.device("meta"):
        model = transformers.MixtralForCausalLM(transformers.MixtralConfig(**sizes, **heads))
    reasons = list(left_out_layers(model).values())
    assert reasons == ["MixtralExperts multiplies by its own 3-dimensional weights"] * 4


def test_falcon():
    """Every linear layer of Falcon is one, though its class is written anew."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.FalconConfig(vocab_size=64, **sizes)
    with torch.device("meta"):
        model = transformers.FalconForCausalLM(config)
    assert len(linear_layers(model)) == 4 * 2 + 1
    assert left_out_layers(model) == {}
