"""What one of several ranks holds is what torch's own tracker, and real processes, say it does."""

import pytest
import torch
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.tensor import DTensor, Shard
from torch.utils._python_dispatch import _disable_current_modes

from rmmbench import measure
from rmmbench.fakes.mode import fake_tensors
from rmmbench.fakes.process_group import fake_group
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.nn.analysis.shards import around_sharding
from rmmbench.nn.spreading import mesh_over
from rmmbench.running.draft import Draft, prepare
from rmmbench.running.isolation import process
from rmmbench.running.predicting import predicted_memory
from rmmbench.spec.case import Case

CASE = {
    "model": "decoder:3x64",
    "batch_size": 2,
    "seq_len": 48,
    "optimizer": "adamw",
    "attention": "sdpa",
    "ranks": 4,
    "parallel": "fsdp2",
}


def case(**settings):
    """Return the case of a small decoder over several ranks, its memory predicted for a CPU."""
    return Case.model_validate(CASE | {"memory_device": "predict"} | settings)


def predicted(**settings):
    """Return the predicted memory of a rank, in a process of its own."""
    return process.call(predicted_memory, case(**settings))


def tracked(wanted):
    """Return what torch's own tracker has of the first step's peak, by its kinds of tensors.

    What DTensor tries out on whole parameters, for their shapes, is kept from it: torch 2.11's
    tracker counts that, and on fake tensors every torch's does.
    """
    draft = Draft(wanted, lambda stage: None)
    with fake_group(wanted.ranks, "cpu"):
        step = prepare(draft, "cpu", foreach=True)
        tracker = FSDPMemTracker(step.model, step.optimizer)
        tracker.track_inputs(tuple(step.batch.values()))
        around_sharding(_disable_current_modes)
        with tracker:
            step()
        (peak,) = tracker.get_tracker_snapshot("peak").values()
    return {getattr(kind, "value", kind): size for kind, size in peak.items()}


@pytest.mark.parametrize(
    "settings",
    [{}, {"dtype": "bfloat16"}, {"dtype": "bfloat16", "reshard": False, "method": "checkpoint"}],
)
def test_the_peak_is_what_torchs_tracker_tells(settings):
    """The first step's peak is to the byte that of `FSDPMemTracker`; they share no code."""
    told = process.call(tracked, case(**settings))
    assert predicted(**settings).cold_peak_allocated_bytes == told["Total"]


def allocated(wanted):
    """Return what the CPU's allocator gives out for a step of real tensors on the first rank."""
    draft = Draft(wanted, lambda stage: None)
    with fake_group(wanted.ranks, "cpu"):
        return measure_cpu_memory(lambda: prepare(draft, "cpu", foreach=True))


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "quantize"},
        {"dtype": "bfloat16", "ranks": 3},
        {"parallel": "ddp", "method": "rmm", "rho": 0.3, "bits": 8},
        {"parallel": "tensor", "model": "decoder:2x256", "method": "rmm+quantize", "rho": 0.3},
    ],
)
def test_the_allocator_gives_out_what_is_predicted(settings):
    """Bytes are those that the allocator gave out, beside eight numbers at most.

    They are those of the mesh's ranks, and single numbers that an optimizer computes with.
    """
    measured, warnings = process.call(allocated, case(**settings))
    foretold = predicted(**settings)
    assert warnings == []
    assert foretold.saved_bytes == measured.saved_bytes
    for name in ("resting_bytes", "peak_allocated_bytes", "cold_peak_allocated_bytes"):
        assert 0 <= getattr(measured, name) - getattr(foretold, name) <= 8 * 4


def taken_by_an_operator():
    """Return what a product of a sharded tensor adds to the peak, of 12,000 bytes on each rank."""
    with fake_tensors(), fake_group(4, "cpu"), LiveBytes() as count:
        mesh = mesh_over(4, "cpu")
        x = DTensor.from_local(torch.ones(3, 1000), mesh, [Shard(0)])
        count.peak = before = count.live
        x.mul(2.0)
        return count.peak - before


def test_what_is_tried_out_for_its_shape_is_not_counted():
    """DTensor runs an operator on fake tensors of whole sizes; a rank makes its part alone."""
    assert process.call(taken_by_an_operator) == 12_000


def test_parameters_and_state_are_shards():
    """A rank has its part of parameters and optimizer state; blocks are gathered one after another.

    With `reshard` off all blocks stay gathered until the backward pass has come by.
    """
    alone, given_back, stay = (
        predicted(**settings)
        for settings in ({"ranks": 1, "parallel": None}, {}, {"reshard": False})
    )
    batch = 2 * 2 * 48 * 8
    mine, whole = (each.resting_bytes - batch for each in (given_back, alone))
    assert 4 * mine == pytest.approx(whole, rel=0.01)
    shards = given_back.at_peak_bytes["parameters"]
    assert given_back.at_peak_bytes["optimizer"] == pytest.approx(2 * shards, rel=0.01)
    assert stay.at_peak_bytes["gathered"] > 1.5 * given_back.at_peak_bytes["gathered"]
    assert sum(stay.at_peak_bytes.values()) == stay.peak_live_bytes
    assert stay.saved_bytes == given_back.saved_bytes == alone.saved_bytes


def test_buckets_are_what_is_reduced():
    """DDP's buckets hold all gradients once more from the first step on; the others are whole.

    In the step in which they are made anew they are none of the activations.
    """
    spread = predicted(parallel="ddp", batch_size=1, seq_len=8)
    at_peak = spread.at_peak_bytes
    assert sum(at_peak.values()) == spread.peak_live_bytes
    assert at_peak["reducing"] == at_peak["gradients"]
    assert at_peak["optimizer"] == pytest.approx(2 * at_peak["reducing"], rel=0.001)


@pytest.mark.parametrize(
    ("parallel", "ranks", "way"),
    [
        ("fsdp2", 2, {"method": "rmm+quantize", "rho": 0.3}),
        ("fsdp2", 4, {"method": "selective-checkpoint"}),
        ("ddp", 2, {"method": "rmm+checkpoint", "rho": 0.3, "bits": 8}),
        ("tensor", 4, {"method": "rmm", "rho": 0.3, "bits": 4, "principal": 4}),
    ],
)
def test_real_processes_take_what_is_predicted(parallel, ranks, way):
    """Of two and four processes on the CPU the one that takes most takes what is predicted.

    Gloo's threads may let go of a tensor a moment later than the step does.
    """
    size = {"batch_size": 16, "ranks": ranks, "parallel": parallel, "model": "decoder:2x256"} | way
    record = measure(
        device="cpu",
        quiet=True,
        timing={"warmup_steps": 1, "min_steps": 1, "max_steps": 1},
        **CASE | size,
    )
    assert record.outcome == "ok", record.reason
    measured = max(record.memory.rank_peak_bytes)
    foretold = predicted(**size, update="single").peak_allocated_bytes
    assert foretold == pytest.approx(measured, rel=0.03)
