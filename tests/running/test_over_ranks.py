"""Cases whose step is over several ranks, each a real process; and ranks that fail."""

import os
import re

import pytest

from rmmbench.running.events import Finished
from rmmbench.running.joining import shared_cores
from rmmbench.running.launchers.local import LocalLauncher
from rmmbench.spec.case import Case

FACTORIES = """
import os, signal, time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, on_the_second):
        super().__init__()
        self.linear, self.on_the_second = nn.Linear(4, 4), on_the_second

    def forward(self, x):
        if os.environ["RANK"] == "1":
            self.on_the_second()
        return self.linear(x).square().sum()

def made(on_the_second, batch_size):
    return Net(on_the_second), lambda: {"x": torch.randn(batch_size, 4)}

def raises(batch_size, seq_len):
    return made(lambda: {}["the dog"], batch_size)

def is_killed(batch_size, seq_len):
    print("Error: the dog barked", flush=True)
    return made(lambda: os.kill(os.getpid(), signal.SIGKILL), batch_size)

def takes_too_much(batch_size, seq_len):
    return made(lambda: torch.empty(2**50), batch_size)

def hangs(batch_size, seq_len):
    return made(lambda: time.sleep(600), batch_size)
"""

QUICK = {"warmup_steps": 1, "min_steps": 2, "max_steps": 2}


@pytest.fixture
def ended(environment, tmp_path, monkeypatch, living):
    """Return the record of a case that has ended; nothing of its processes is left."""
    (tmp_path / "of_ranks.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)

    def run(limit=120.0, **settings):
        data = {"model": "roberta-tiny", "batch_size": 4, "seq_len": 16, "timing": QUICK}
        case = Case.model_validate(data | {"memory_device": "cpu"} | settings)
        before = set(living())
        events = list(LocalLauncher(environment, limit, 1, tmp_path).run([case]))
        assert not set(living()) - before - {os.getpid()}
        (record,) = [event.record for event in events if isinstance(event, Finished)]
        return record

    return run


@pytest.mark.parametrize(
    ("parallel", "ranks", "settings"),
    [
        ("ddp", 2, {"method": "checkpoint"}),
        ("fsdp2", 4, {"dtype": "bfloat16", "reshard": False, "clip_norm": 1.0}),
        ("fsdp2", 2, {"method": "rmm", "sketch": "oporp", "rho": 0.5, "bits": 8}),
        ("tensor", 2, {"method": "rmm+quantize", "rho": 0.5}),
    ],
)
def test_a_step_is_measured_over_its_ranks(ended, parallel, ranks, settings):
    """The record has every rank's peak, all samples of a step, and exact's turns beside them."""
    record = ended(parallel=parallel, ranks=ranks, time_device="cpu", **settings)
    assert (record.outcome, record.reason) == ("ok", None)
    peaks = record.memory.rank_peak_bytes
    assert len(peaks) == ranks
    assert record.memory.peak_allocated_bytes == max(peaks)
    # On a CPU a thread of gloo may hold a gathered block, of 0.8 MB, for longer on one rank.
    held = 2**20 if parallel == "fsdp2" else 0
    assert max(peaks) < 1.02 * min(peaks) + held
    batches = 1 if parallel == "tensor" else ranks
    rate = 4 * batches / sorted(record.timing.step_seconds)[0]
    assert rate / 3 < record.timing.samples_per_second <= rate
    assert record.timing.relative_throughput > 0
    assert record.environment.torch_threads >= 1


def test_sharded_parameters_take_their_share(ended):
    """On each of two ranks FSDP2 rests on half of parameters and optimizer, and keeps no more."""
    alone, spread = (ended(**how) for how in ({}, {"ranks": 2, "parallel": "fsdp2"}))
    ratio = spread.memory.resting_bytes / alone.memory.resting_bytes
    assert ratio == pytest.approx(0.5, abs=0.02)
    assert spread.memory.saved_bytes == pytest.approx(alone.memory.saved_bytes, rel=0.02)


@pytest.mark.parametrize(
    ("factory", "outcome", "reason"),
    [
        ("raises", "error", r"rank 1: KeyError: 'the dog'"),
        (
            "is_killed",
            "error",
            r"the process of rank 1 was killed by signal 9 .* the dog",
        ),
        ("takes_too_much", "out_of_memory", r"rank 1: RuntimeError: .*DefaultCPUAllocator"),
        ("hangs", "error", r"rank 1 hung at of_ranks\.py:\d+: the others waited 6 s for it"),
    ],
)
def test_a_rank_that_fails_ends_its_case(ended, factory, outcome, reason):
    """The record says which rank it was and what it said last, and no process is left."""
    model = f"import:of_ranks:{factory}"
    limit = 24.0 if factory == "hangs" else 60.0
    record = ended(limit, model=model, seq_len=None, ranks=2, parallel="ddp")
    assert record.outcome == outcome
    assert re.match(reason, record.reason), record.reason
    assert record.stage == "measuring memory"
    assert record.memory is None


def test_what_no_rank_can_do_is_told_once(ended):
    """A model that cannot be sharded is one reason, not one for each rank; nor are GPUs amiss."""
    record = ended(model="mlp:8-16-4", seq_len=None, ranks=2, parallel="fsdp2")
    assert record.outcome == "error"
    assert record.reason.startswith("ValueError: fsdp2 needs blocks: two or more modules")
    assert shared_cores(1) == []
    assert "4096 ranks share" in shared_cores(4096)[0]
    record = ended(ranks=3, parallel="ddp", memory_device="cuda", batch_size=2)
    assert record.outcome == "skipped"
    assert record.reason == "ranks must be at most the GPUs here, 0, got 3; take fewer ranks"
