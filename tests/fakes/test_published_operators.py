"""Single operators take on the fake GPU, to the byte, what others measured on a real one.

linkedin/Liger-Kernel, benchmark/data/all_benchmark_data.csv @ead96b6, rows "memory", "full", of the
providers huggingface and torch; an A100, or an H100 for kl_div. Gradients pile up and nothing is
dropped; the second step counts, as `max_memory_allocated`.
"""

import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from rmmbench.fakes.device import fake_gpu
from rmmbench.measures.memory.counting import CountedWork
from rmmbench.spec.gpus import GPUS
from rmmbench.units import MIB

BF16 = torch.bfloat16
ROUNDED = 0.001
"""MiB; the figures are printed with nine digits or fewer."""


@pytest.fixture(scope="module")
def elsewhere():
    """Call a function in a process of its own: the fake device stays registered there."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


def cross_entropy(vocabulary):
    """CrossEntropyLoss of 16384 tokens."""
    logits = torch.randn(16384, vocabulary, requires_grad=True)
    targets = torch.randint(vocabulary, (16384,))
    return lambda: nn.CrossEntropyLoss()(logits, targets).backward()


def swiglu(tokens):
    """Llama's MLP, in bfloat16, with a random gradient for its output."""
    config = LlamaConfig(hidden_size=4096, intermediate_size=11008, hidden_act="silu")
    mlp = LlamaMLP(config).to(BF16)
    hidden = torch.randn(4, tokens, 4096, dtype=BF16, requires_grad=True)

    def step():
        output = mlp(hidden)
        output.backward(torch.randn_like(output), retain_graph=True)

    return step


def layer_norm(width):
    """LayerNorm of 4096 rows; another one, for a comparison, is there too."""
    norms = [nn.LayerNorm(width), nn.LayerNorm(width)]
    rows = torch.randn(4096, width, requires_grad=True)
    gradient = torch.randn(4096, width)
    return lambda: norms[0](rows).backward(gradient, retain_graph=True)


def kl_divergence(vocabulary):
    """KLDivLoss of log-probabilities, which are computed once."""
    predicted = torch.randn(16384, vocabulary, requires_grad=True).log_softmax(dim=-1)
    target = torch.randn(16384, vocabulary).softmax(dim=-1)
    loss = nn.KLDivLoss(reduction="batchmean")
    return lambda: loss(predicted, target).backward(retain_graph=True)


def linear_cross_entropy(vocabulary):
    """A language model's head and its loss, in bfloat16; another head is there too."""
    heads = [nn.Linear(4096, vocabulary, bias=False, dtype=BF16) for _ in range(2)]
    hidden = torch.randn(4096, 4096, dtype=BF16, requires_grad=True)
    targets = torch.randint(vocabulary, (4096,))
    return lambda: nn.CrossEntropyLoss()(heads[0](hidden), targets).backward()


@pytest.mark.parametrize(
    ("make_step", "size", "gpu", "published_mib"),
    [
        (cross_entropy, 4096, "a100", 1280.125977),
        (cross_entropy, 32768, "a100", 10240.125977),
        (cross_entropy, 131072, "a100", 40960.125),
        (swiglu, 1024, "a100", 1294.25),
        (swiglu, 8192, "a100", 6372.25),
        (layer_norm, 1024, "a100", 80.0625),
        (layer_norm, 16384, "a100", 1280.53125),
        (kl_divergence, 4096, "h100", 1792.0),
        (linear_cross_entropy, 128256, "a100", 6092.282227),
    ],
)
def test_an_operator_takes_what_was_published(make_step, size, gpu, published_mib, elsewhere):
    """The second step's allocated peak is the published figure, to its last printed digit."""
    peak = elsewhere(second_peak, make_step, size, gpu)
    assert peak / MIB == pytest.approx(published_mib, rel=0, abs=ROUNDED)


def second_peak(make_step, size, gpu):
    """Return the allocated peak of the second of two steps on a fake GPU."""
    with fake_gpu(GPUS[gpu]) as fake, CountedWork(gpu=fake):
        with torch.device(fake.device_type):
            step = make_step(size)
        for _ in range(2):
            gc.collect()
            fake.allocator.peak = fake.allocator.allocated
            step()
        return fake.allocator.peak
