"""Whole steps of RoBERTa-base take what they were once found to take, by dtype and attention."""

import pytest

import rmmbench
from rmmbench.units import GIB


@pytest.mark.parametrize(
    ("dtype", "attention", "live_gib", "kernel"),
    [
        ("float32", "eager", 10.212, None),
        ("float32", "sdpa", 8.737, "efficient"),
        ("bfloat16", "eager", 7.491, None),
        ("bfloat16", "sdpa", 6.289, "flash"),
    ],
)
def test_a_step_of_roberta_takes_what_a_gpu_holds(dtype, attention, live_gib, kernel):
    """128×98 tokens and Adam, on an A100: masks of one byte, fused attention, CUDA's autocast."""
    record = rmmbench.measure(
        "roberta-base",
        device="predict",
        gpu="a100",
        batch_size=128,
        seq_len=98,
        dtype=dtype,
        attention=attention,
    )
    assert record.outcome == "ok", record.reason
    assert record.memory.peak_live_bytes / GIB == pytest.approx(live_gib, rel=0, abs=0.0005)
    assert record.memory.attention_kernels == ({kernel: 12} if kernel else {})
    live, allocated = record.memory.peak_live_bytes, record.memory.peak_allocated_bytes
    assert live < allocated < record.memory.reserved_bytes < 1.06 * live
