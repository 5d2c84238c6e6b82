"""Sketches under DDP, FSDP2 and split layers: four real processes, joined by gloo."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from transformers import LlamaConfig, LlamaForCausalLM

import rmmbench
from rmmbench.nn import blocks
from rmmbench.nn.seeds import draw_alike, next_seed
from rmmbench.nn.splitting import ByInputs, ByOutputs, Gathered
from rmmbench.nn.spreading import spread, unwrapped
from rmmbench.spec.case import Case

RANKS = 4
DRAWS = 24
WAYS = [
    {"rho": 0.4},
    {"sketch": "oporp", "rho": 0.4, "bits": 8, "share": False},
    {"rho": 0.4, "bits": 4, "principal": 2},
]


class Attention(nn.Module):
    """Three layers that read one tensor."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(24, 24) for _ in range(3))

    def forward(self, x):
        """Return a sum that is another function of each."""
        return torch.tanh(self.q(x)) + torch.sin(self.k(x)) + self.v(x)


def how(parallel, ranks, **settings):
    """Return the case of a step that is spread so."""
    return Case(model="mlp", batch_size=1, ranks=ranks, parallel=parallel, **settings)


def whole(tensor):
    """Return a gradient gathered from all ranks."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def gradients(model, x, target):
    """Return the gradients of the weights."""
    model.zero_grad()
    (model(x) - target).square().mean().backward()
    return [whole(p.grad) for name, p in model.named_parameters() if name.endswith("weight")]


def check_mean(draw, exact, told):
    """Assert that a mean gradient is the exact one, as far as two directions tell.

    Along the exact one its length is 1; along a random one across it, 0.
    """
    unit = [e / e.norm() for e in exact]
    across = [torch.randn(e.shape, generator=torch.Generator().manual_seed(2)) for e in exact]
    across = [c - (c * u).sum() * u for c, u in zip(across, unit, strict=True)]
    drawn = []
    for _ in range(DRAWS):
        found = [g / e.norm() for g, e in zip(draw(), exact, strict=True)]
        drawn.append(
            [float((g * u).sum()) - 1 for g, u in zip(found, unit, strict=True)]
            + [float((g * c).sum() / c.norm()) for g, c in zip(found, across, strict=True)]
        )
    errors = torch.tensor(drawn)
    standard_error = errors.std(0) / DRAWS**0.5
    assert bool((standard_error < 0.1).all()), (told, standard_error)
    far = errors.mean(0).abs() / standard_error
    assert bool((far <= 5).all()), (told, far)


def check_mean_gradient(mesh, parallel, **settings):
    """Assert that the mean gradient over the ranks is the exact one."""
    torch.manual_seed(0)
    # Rows near one direction, half of them opposite, have little noise.
    signs = torch.tensor([1.0, -1.0]).repeat(32)[torch.randperm(64)].view(64, 1)
    x, target = signs * torch.randn(24) + 0.3 * torch.randn(64, 24), 3 * signs * torch.randn(24)
    model = nn.Sequential(Attention(), Attention())
    exact = gradients(model, x, target)
    ranks, rank = mesh.size(), mesh.get_local_rank()
    model = spread(rmmbench.convert(model, **settings), how(parallel, ranks), mesh)
    if parallel != "tensor":
        x, target = x.chunk(ranks)[rank], target.chunk(ranks)[rank]
    check_mean(lambda: gradients(model, x, target), exact, (parallel, ranks, settings))


def check_mean_of_pairs(mesh, **settings):
    """Assert that layers split in pairs, by outputs and by inputs, have the mean gradient."""
    tokens = torch.randint(64, (3, 16), generator=torch.Generator().manual_seed(1))
    exact = of_a_step(llama(), tokens)
    names = [name for name in exact if name.endswith("proj.weight")]
    model = rmmbench.convert(llama(), exclude="lm_head", **settings)
    model = spread(model, how("tensor", mesh.size()), mesh)

    def draw():
        found = of_a_step(model, tokens, seed=None)
        return [found[name] for name in names]

    check_mean(draw, [exact[name] for name in names], ("pairs", mesh.size(), settings))


def llama(**sizes):
    """Return a decoder of two blocks, made from seed 0."""
    torch.manual_seed(0)
    usual = {"num_attention_heads": 4, "num_key_value_heads": 4, "hidden_size": 32}
    config = LlamaConfig(
        vocab_size=64, intermediate_size=64, num_hidden_layers=2, **(usual | sizes)
    )
    return LlamaForCausalLM(config).train()


def of_a_step(model, tokens, seed=3):
    """Return the gradients of one step of a decoder by name, whatever is around it."""
    if seed is not None:
        rmmbench.manual_seed(seed)
    model.zero_grad()
    model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
    inner = unwrapped(model)
    return {name: whole(p.grad).clone() for name, p in inner.named_parameters()}


def check_split_layers(mesh, **settings):
    """Assert that a split decoder has the gradients of a whole one, sketches and all."""
    tokens = torch.randint(64, (3, 16), generator=torch.Generator().manual_seed(1))
    model = llama()
    if settings:
        rmmbench.convert(model, exclude="lm_head", **settings)
    draw_alike(True)
    expected = of_a_step(model, tokens)
    split = spread(model, how("tensor", mesh.size()), mesh)
    kinds = {
        name: type(layer.split) for name, layer in split.named_modules() if hasattr(layer, "split")
    }
    assert kinds["model.layers.1.self_attn.k_proj"] is ByOutputs
    assert kinds["model.layers.1.mlp.down_proj"] is ByInputs
    assert kinds["lm_head"] is Gathered
    found = of_a_step(split, tokens)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def check_again(mesh, parallel, dtype="float32"):
    """Assert that what a plan computes again leaves gradients as they are, under sketches too."""
    mine = torch.Generator().manual_seed(0 if parallel == "tensor" else 7 + mesh.get_local_rank())
    tokens = torch.randint(64, (3, 16), generator=mine)
    case = how(parallel, mesh.size(), dtype=dtype)

    def model():
        return rmmbench.convert(llama(), rho=0.5, bits=8, include="*.layers.1.*")

    expected = of_a_step(spread(model(), case, mesh), tokens)
    plan = model()
    blocks.checkpoint_chosen(plan, ["model.layers.0"])
    blocks.checkpoint_operators(plan, ["model.layers.1"], ["model.layers.1.mlp.up_proj"])
    found = of_a_step(spread(plan, case, mesh), tokens)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def check_norms_at_the_end(mesh):
    """Assert that a block whose last operator has weights of its own may compute it again.

    FSDP lets go of them before the next block's backward pass asks for what the block gave.
    """
    torch.manual_seed(mesh.get_local_rank())
    x, found = torch.randn(3, 5, 24), []
    for names in ([], ["0", "1"]):
        torch.manual_seed(0)
        layers = [nn.TransformerEncoderLayer(24, 2, 48, 0.0, "gelu") for _ in range(2)]
        model = nn.Sequential(*layers)
        blocks.checkpoint_operators(model, names)
        found.append(gradients(spread(model, how("fsdp2", mesh.size()), mesh), x, 1.0))
    for expected, gradient in zip(*found, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def check_refusals(mesh):
    """Assert that what cannot be spread is told in one line that says what to do."""
    ranks = mesh.size()
    with pytest.raises(ValueError, match=r"fsdp2 needs blocks: .* got none in Linear; take"):
        spread(nn.Linear(8, 8), how("fsdp2", ranks), mesh)
    tied = nn.Sequential(Attention(), Attention())
    tied[1].q.weight = tied[0].k.weight
    with pytest.raises(ValueError, match=r"got 0\.k\.weight, which is 1\.q\.weight too; untie"):
        spread(tied, how("fsdp2", ranks), mesh)
    with pytest.raises(ValueError, match=r"got 4 ranks and 2 heads in 'model.layers.0"):
        spread(llama(num_key_value_heads=2), how("tensor", ranks), mesh)
    with pytest.raises(ValueError, match=r"layers whose outputs 4 ranks divide, .* take few"):
        spread(nn.Linear(8, 6), how("tensor", ranks), mesh)


def run_rank(rank, port):
    """Check each way to spread a step, over all ranks and over pairs of them."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    all_ranks = init_device_mesh("cpu", (RANKS,))
    pair = init_device_mesh("cpu", (RANKS // 2, 2), mesh_dim_names=("far", "near"))["near"]
    for parallel in ("ddp", "fsdp2", "tensor"):
        # A split layer has a whole one's gradient, as is checked below.
        for settings in WAYS if parallel != "tensor" else WAYS[-1:]:
            check_mean_gradient(all_ranks, parallel, **settings)
            check_mean_gradient(pair, parallel, **settings)
        check_again(pair, parallel)
    check_again(pair, "fsdp2", dtype="bfloat16")
    check_norms_at_the_end(pair)
    check_mean_of_pairs(pair, **WAYS[-1])
    check_mean_of_pairs(all_ranks, sketch="oporp", rho=0.5, bits=8)
    for settings in ({}, {"rho": 0.5}, {"sketch": "oporp", "rho": 0.5, "share": False}):
        check_split_layers(all_ranks, **settings)
    check_refusals(all_ranks)
    for parallel, count in (("ddp", RANKS), ("fsdp2", RANKS), ("tensor", 1)):
        spread(nn.Sequential(Attention(), Attention()), how(parallel, RANKS), all_ranks)
        rmmbench.manual_seed(0)
        seeds = [None] * RANKS
        dist.all_gather_object(seeds, next_seed().item())
        assert len(set(seeds)) == count, "ranks that draw one sketch add up its noise"
    dist.destroy_process_group()
    # All is checked. torch 2.13's threads sometimes abort a process that Python ends.
    os._exit(0)


def test_gradients_over_ranks():
    """Gradients are unbiased whichever way a step is spread, and plans leave them as they are.

    Each rank draws its own sketch, but where layers are split, and all draw the same.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run_rank, args=(port,), nprocs=RANKS)
