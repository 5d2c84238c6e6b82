"""A real Ray cluster of two nodes on this machine: what is lost is run again, and recorded once."""

import os
import signal
from pathlib import Path

import pytest

from rmmbench.errors import UsageError
from rmmbench.running.events import Finished, Working
from rmmbench.running.isolation.process import EndedError

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster(clusters):
    """Have two nodes of one CPU each."""
    return clusters(2)


TRAINED = {
    "title": "Digits, quickly",
    "training": {"max_steps": 600, "eval_every": 40, "log_every": 20},
    "grid": [
        {"model": ["mlp:64-32-10"], "task": ["digits"], "method": ["exact"]}
        | {"measure": ["training"]}
    ],
}


def told(run):
    """Return what records have in common, wherever and however often they were measured."""
    own = {"environment": {"node"}, "warnings": True, "started_at": True, "wall_seconds": True}
    return sorted(str(each.model_dump(exclude=own)) for each in run.each_record())


def test_a_training_whose_worker_is_killed_ends_as_one_that_was_not(cluster, carried_out):
    """It goes on from its checkpoint, with the same losses, and its record says so."""
    killed = []

    def seen(event):
        if not killed and list(Path("there").glob("checkpoints/*/checkpoint-*/trainer_state.json")):
            killed.append(cluster.processes(b"ray::node_events")[0])
            os.kill(killed[0], signal.SIGKILL)

    (there,) = carried_out("there", f"ray:{cluster.address}", TRAINED, seen, "cpu").records()
    (here,) = carried_out("here", "local", TRAINED, device="cpu").records()
    assert killed
    assert there.training.losses == here.training.losses
    assert there.training.resumed_at
    assert any("measured anew" in each for each in there.warnings)


def test_a_killed_node_loses_nothing(cluster, carried_out, waiting):
    """Its cases are run again elsewhere; records are this machine's, but for that."""
    killed = []

    def seen(event):
        if isinstance(event, Working) and len(event.running) == 2 and not killed:
            killed.append("other")
            cluster.tell("other")

    there = carried_out("there", f"ray:{cluster.address}", waiting(4), seen)
    here = carried_out("here", "local", waiting(4))
    assert killed
    assert told(there) == told(here)
    assert {record.outcome for record in there.records()} == {"ok"}
    warnings = [each for record in there.records() for each in record.warnings]
    assert "measured anew: the worker or node that it ran on before was lost" in warnings


def test_a_killed_head_ends_the_command_and_what_is_recorded_stays(cluster, carried_out, waiting):
    """One line says how to go on; the same command, here on this machine, does so."""

    def seen(event):
        if isinstance(event, Finished):
            cluster.tell("head")

    with pytest.raises(EndedError) as ended:
        carried_out("headless", f"ray:{cluster.address}", waiting(3), seen)
    assert str(ended.value).startswith("the Ray cluster stopped working: ")
    assert str(ended.value).endswith("recorded in headless; the same command goes on")
    assert "\n" not in str(ended.value)
    run = carried_out("headless", "local", waiting(3))
    assert len(list(run.each_record())) == len(run.records()) == 3


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "the Ray cluster at 127.0.0.1:1 cannot be reached"),
        ("ray://127.0.0.1:10001", "--launcher ray:ADDRESS must be HOST:PORT"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_told(address, message, carried_out, waiting):
    """One line says what to do."""
    with pytest.raises(UsageError) as refused:
        carried_out("none", f"ray:{address}", waiting(1))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
