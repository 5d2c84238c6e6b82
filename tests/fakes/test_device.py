"""A training step on the fake GPU is the one that CUDA would do."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import nn

import rmmbench
from rmmbench.errors import UnknownNameError
from rmmbench.fakes import cuda_autocast, device
from rmmbench.fakes.cuda_attention import Attention, Call
from rmmbench.fakes.device import fake_gpu, why_no_fake_gpu
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.spec.gpus import FAKE_DEVICE, GPUS, find_gpu

HALF = torch.bfloat16


def header_lists():
    """Return CUDA's operators by list, from the header that torch ships."""
    header = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
    found = {}
    for name in ("LOWER_PRECISION_FP", "FP32", "FP32_SET_OPT_DTYPE", "PROMOTE"):
        text = header.read_text().split(f"#define AT_FORALL_{name}(_)")[1]
        body = re.match(r"(?:.*\\\n)*.*", text)[0]
        pairs = re.findall(r"_\((\w+)(?:,\s*(\w+))?\)", body)
        found[name] = {".".join(filter(None, pair)) for pair in pairs}
    return found


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("LOWER_PRECISION_FP", cuda_autocast.LOWER_PRECISION),
        ("FP32", cuda_autocast.FLOAT32),
        ("FP32_SET_OPT_DTYPE", cuda_autocast.FLOAT32_OUTPUT),
        ("PROMOTE", cuda_autocast.WIDEST),
    ],
)
def test_the_lists_are_those_of_torchs_header(name, own):
    """What autocast casts on the fake GPU is what torch's own header says for CUDA."""
    left_out = cuda_autocast.NOT_IN_2_11 if torch.__version__ < (2, 12) else frozenset()
    # Named dimensions, which torch 2.11 still lists, are in no training step.
    listed = {each for each in header_lists()[name] if "imname" not in each}
    assert set(own) - left_out == listed


def dtypes_under_autocast():
    """Return the dtypes of some operators' results under autocast, and how often one is cast."""
    with fake_gpu(GPUS["a100"]) as fake, torch.device(fake.device_type):
        weight = torch.randn(8, 8, requires_grad=True)
        x = torch.randn(4, 8)
        with LiveBytes(gpu=fake) as count, torch.autocast(fake.device_type, dtype=HALF):
            y = F.linear(x, weight)
            once = count.births
            z = F.linear(x, weight)
            twice = count.births
            found = [y, y.softmax(-1), F.layer_norm(y, (8,)), y.sum(), y + x, F.relu(y), y.exp()]
            alive = count.live
        after = count.live
        del z
        return [each.dtype for each in found], once, twice - once, alive - after


def test_autocast_is_cudas(apart):
    """Products are in bfloat16, softmax, norms, sums in float32; a parameter is cast once."""
    dtypes, first, second, freed = apart(dtypes_under_autocast)
    full = torch.float32
    assert dtypes == [HALF, full, full, full, full, HALF, full]
    # x, weight and the product; then x and the product, as the weight's copy is kept.
    assert (first, second) == (3, 2)
    # When autocast ends it goes.
    assert freed == 8 * 8 * 2


def steps_of_everything():
    """Train on the fake GPU with what asks the device for much; return whether gradients came."""
    with fake_gpu(GPUS["h100"]) as fake:
        with torch.device(fake.device_type):
            model = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.1), nn.GELU(), nn.LayerNorm(16))
            attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
            x = torch.randn(4, 8, 16)
            number = torch.tensor(3.0)
        optimizer = torch.optim.AdamW([*model.parameters(), *attention.parameters()], foreach=True)
        y = torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False)
        z, _ = attention(y, y, y, need_weights=False)
        (z.sum() * number).backward()
        optimizer.step()
        model.to(torch.bfloat16)
        grads = [each.grad for each in attention.parameters()]
        return all(grad is not None for grad in grads), model[0].weight.dtype


def test_a_step_of_everything_runs(apart):
    """Dropout, attention, checkpoints, foreach optimizers and `Module.to` work on the device."""
    assert apart(steps_of_everything) == (True, torch.bfloat16)


def on_cuda():
    """Return the types of device of what a model asks for on "cuda"."""
    with fake_gpu(GPUS["a100"]):
        model = nn.Linear(4, 4).cuda().to("cuda:0")
        made = torch.ones(2, device="cuda"), torch.tensor([1.0], device=torch.device("cuda", 0))
        tensors = [model.weight, *made, torch.ones(2).to(device="cuda")]
        return {each.device.type for each in tensors}


def test_cuda_is_the_device(apart):
    """A model that names "cuda" is predicted where there is none."""
    assert apart(on_cuda) == {FAKE_DEVICE}


def dropout_bytes():
    """Return what autograd keeps of a dropout, beside its output."""
    with fake_gpu(GPUS["a100"]) as fake, torch.device(fake.device_type):
        x = torch.randn(1000, requires_grad=True)
        with LiveBytes(gpu=fake) as count:
            y = F.dropout(x, 0.1)
            return count.live - y.untyped_storage().nbytes()


def test_a_dropout_mask_takes_a_byte_an_element(apart):
    """CUDA's dropout keeps booleans, where the CPU's keeps numbers."""
    assert apart(dropout_bytes) == 1000


def call(dtype=HALF, width=64, length=128, mask=None, heads=4, key_heads=4, **given):
    """Return a call of attention on tensors without memory."""
    query = torch.empty(2, heads, length, width, dtype=dtype, device="meta")
    key = torch.empty(2, key_heads, length, width, dtype=dtype, device="meta")
    return Call(query, key, key, mask, **given)


MASK = torch.ones(2, 1, 1, 128, dtype=torch.bool, device="meta")


@pytest.mark.parametrize(
    ("gpu", "asked", "kernel"),
    [
        ("a100", {}, "flash"),
        ("a100", {"mask": MASK}, "efficient"),
        ("a100", {"dtype": torch.float32}, "efficient"),
        ("a100", {"dtype": torch.float64}, "math"),
        ("a100", {"width": 288}, "efficient"),
        ("a100", {"width": 68, "mask": MASK}, "math"),
        ("a100", {"key_heads": 2, "enable_gqa": True}, "flash"),
        ("a100", {"key_heads": 2, "enable_gqa": True, "mask": MASK}, "math"),
        ("v100", {}, "math"),
        ("v100", {"dtype": torch.float16}, "efficient"),
        ("v100", {"dtype": torch.float32}, "efficient"),
        ("h100", {}, "cudnn"),
        ("h100", {"dropout_p": 0.1}, "flash"),
        ("h100", {"dropout_p": 0.125}, "cudnn"),
        ("h100", {"mask": MASK}, "cudnn"),
        ("h100", {"dtype": torch.float32}, "efficient"),
        ("rtx4090", {}, "flash"),
    ],
)
def test_attention_takes_cudas_kernel(gpu, asked, kernel):
    """The rules of sdp_utils.cpp: by architecture, dtype, mask, heads and dropout."""
    assert Attention(GPUS[gpu]).choose(call(**asked)) == kernel


def test_a_kernel_that_cannot_is_an_error():
    """A kernel that is alone turned on and cannot take the inputs: one line says why."""
    only = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION)
    with only, pytest.raises(ValueError, match="takes float32, heads of 64 and no mask on a100"):
        Attention(GPUS["a100"]).choose(call(dtype=torch.float32))


def test_users_process_stays_as_it_was():
    """A prediction from Python registers nothing here, where it would stay and pin no memory."""
    assert rmmbench.predict("mlp:8-8-2", batch_size=4, gpu="h100").reserved_bytes > 0
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"


def test_a_torch_without_the_private_names(monkeypatch):
    """The first name that is not there is told."""
    monkeypatch.setattr(device, "_PRIVATE", ("_C._acc", "_C._no_such_thing"))
    why_no_fake_gpu.cache_clear()
    try:
        assert why_no_fake_gpu() == f"torch {torch.__version__} has no torch._C._no_such_thing"
    finally:
        monkeypatch.undo()
        why_no_fake_gpu.cache_clear()
    assert why_no_fake_gpu() is None


def test_an_unknown_gpu_has_a_nearest_name():
    """One line, with the nearest right name."""
    with pytest.raises(UnknownNameError, match="did you mean 'h100'"):
        find_gpu("h10")


def reserved_by_two_streams():
    """Return what is reserved for one tensor after another, on two streams and then on one."""
    with fake_gpu(GPUS["a100"]) as fake, LiveBytes(gpu=fake):
        gpu = getattr(torch, fake.device_type)
        found = []
        for stream in (gpu.Stream(), gpu.current_stream(), gpu.current_stream()):
            with gpu.stream(stream):
                tensor = torch.empty(30 * 2**20, dtype=torch.uint8, device=fake.device_type)
                del tensor
            found.append(fake.allocator.reserved // 2**20)
    return found


def test_memory_belongs_to_its_stream(apart):
    """What was given back on a stream is for that stream alone, as CUDA's allocator has it."""
    assert apart(reserved_by_two_streams) == [30, 60, 60]
