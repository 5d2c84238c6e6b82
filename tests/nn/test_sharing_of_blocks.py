"""What is shared where layers are wrapped, and in parts of a block."""

import pytest
import torch
import torch._dynamo
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import rmmbench
from rmmbench.nn import RMMLinear
from rmmbench.nn.sharing import sharing_groups

pytestmark = pytest.mark.usefixtures("fresh")


NAMES = ("q", "k", "v")


def batch():
    """Return an input of 40 rows."""
    return torch.randn(5, 8, 24)


@pytest.mark.parametrize("container", [nn.ModuleList, nn.ModuleDict])
def test_layers_in_a_list_or_a_dict(container, projections):
    """Containers that call nothing are passed over: the module that calls the layers shares."""

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            layers = {str(i): nn.Linear(24, 4) for i in range(3)}
            self.heads = container(layers if container is nn.ModuleDict else layers.values())

        def forward(self, x):
            values = self.heads.values() if container is nn.ModuleDict else self.heads
            return sum(head(x) for head in values)

    rmmbench.convert(nn.Sequential(Experts()), rho=0.3)(batch()).sum().backward()
    assert len(projections) == 1 + 3


def test_a_chain_shares_nothing(projections):
    """Layers that read different tensors keep a sketch each."""
    chain = nn.Sequential(nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 24))
    rmmbench.convert(chain, rho=0.3)(batch())
    assert len(projections) == 2


def test_alone_below_its_module(projections):
    """A layer alone below its module shares in nothing, and its module gets no hooks."""
    model = rmmbench.convert(nn.Sequential(nn.Sequential(nn.Linear(24, 8)), nn.GELU()), rho=0.3)
    assert model[0][0].shared is None
    assert not model[0]._forward_pre_hooks
    assert RMMLinear(24, 8, rho=0.3).shared is None


class Adapted(nn.Module):
    """A frozen layer and two small ones beside it, as PEFT puts them in a layer's place."""

    def __init__(self, base):
        """Wrap the layer."""
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, 4, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(4, base.out_features, bias=False)})

    def forward(self, x):
        """Add what the small ones make of the same tensor."""
        return self.base_layer(x) + self.lora_B["default"](self.lora_A["default"](x))


class Reading(nn.Module):
    """Three layers that read the tensor that the module is given."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(24, 16) for _ in NAMES)

    def forward(self, x):
        """Return the sum."""
        return self.q(x) + self.k(x) + self.v(x)


class Block(nn.Module):
    """An attention of adapted layers, and beside it a layer that reads the same tensor."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.attention = Reading()
        for name in NAMES:
            setattr(self.attention, name, Adapted(self.attention.get_submodule(name)))
        self.beside = nn.Linear(24, 16)

    def forward(self, x):
        """Let both read one tensor."""
        h = x * 2
        return self.attention(h) + self.beside(h)


def test_adapters_of_layers_that_read_one_tensor(projections):
    """What wrappers put below Q, K and V shares as Q, K and V would, whatever is read between."""
    model = rmmbench.convert(nn.ModuleList([Block()]), rho=0.3)[0].attention
    model(batch()).sum().backward()
    # One for the three lora_A, one for each lora_B; none for what is frozen.
    assert sum(shape == (12, 24) for shape in projections[:4]) == 1
    assert sum(shape == (12, 4) for shape in projections[:4]) == 3
    assert len(projections) == 4 + 6


def test_adapters_keep_no_more_than_exact():
    """At ρ = 0.5 adapters of Q, K and V keep less than the one input that exact keeps."""
    model, x = Block().attention, batch() + 1
    own = {parameter.data_ptr() for parameter in model.parameters()}

    def kept():
        found = {}

        def note(tensor):
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with saved_tensors_hooks(note, lambda tensor: tensor):
            model(x)
        return sum(size for pointer, size in found.items() if pointer not in own)

    exact = kept()
    rmmbench.convert(model, rho=0.5, include="*lora_A*")
    assert kept() == exact - 40 * 24 * 4 // 2 + 8


def test_modules_of_a_block_share(projections):
    """An attention and what stands beside it in a block share what both read."""
    model = rmmbench.convert(nn.Sequential(Block()), rho=0.3, exclude="*lora*")
    model[0].attention.q.base_layer.requires_grad_(True)
    model(batch())
    assert projections == [(12, 24)]


def test_a_part_that_is_computed_again_shares(projections):
    """An attention that a checkpoint within the block computes again draws as it did."""

    class Partly(Block):
        def forward(self, x):
            h = x * 2
            return checkpoint(self.attention, h, use_reentrant=False) + self.beside(h)

    model = rmmbench.convert(nn.Sequential(Partly()), rho=0.3)
    model(batch()).sum().backward()
    # Forward: the three lora_A and `beside` one, each lora_B its own. Again: the attention's.
    assert projections.count((12, 24)) == 1 + 1
    assert projections.count((12, 4)) == 3 + 3 + 3


def test_blocks_do_not_share(projections):
    """Blocks that read one tensor keep a sketch each: a block may be computed again by itself."""

    class Stack(nn.ModuleList):
        def forward(self, x):
            return sum(block(x) for block in self)

    rmmbench.convert(Stack([Reading(), Reading()]), rho=0.3)(batch())
    assert len(projections) == 2


def test_groups_are_blocks():
    """A block is the nearest item of a list with several layers, else the model."""
    model = nn.ModuleDict({"blocks": nn.ModuleList([Block(), Block()]), "head": nn.Linear(24, 2)})
    layers = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    groups = sharing_groups(model, layers)
    assert {block: len(names) for block, names in groups.items()} == {
        "blocks.0": 10,
        "blocks.1": 10,
    }
