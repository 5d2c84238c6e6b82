"""A real Ray cluster of two nodes on this machine: what is lost is run again, and recorded once."""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from rmmbench.errors import UsageError
from rmmbench.running.events import Finished, Working
from rmmbench.running.execution import execute, open_run
from rmmbench.running.isolation.process import EndedError
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.sweep_plan import make_plan
from rmmbench.spec import profile as profiles

pytest.importorskip("ray")

# Told "other" or "head" on stdin, it kills all processes of that node; at the end, of both.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
import psutil  # Ray's own

def kill(node):
    for processes in node.all_processes.values():
        for each in processes:
            if each.process.poll() is None:
                whole = psutil.Process(each.process.pid)
                for process in [*whole.children(recursive=True), whole]:
                    process.kill()

one = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
quick |= {"health_check_failure_threshold": 4}
cluster = Cluster(True, head_node_args=one | {"_system_config": quick})
nodes = {"head": cluster.head_node, "other": cluster.add_node(**one)}
print(cluster.address, flush=True)
for line in sys.stdin:
    kill(nodes[line.strip()])
    print("killed", flush=True)
for node in nodes.values():
    kill(node)
"""

WAITS = """
import time
import torch

class Net(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x).sum()

def factory(batch_size, seq_len):
    time.sleep(0.7)
    return Net(4, 1), lambda: {"x": torch.randn(batch_size, 4)}
"""


class TwoNodes:
    """A cluster in a process of its own.

    Attributes:
        address: Of its head.
    """

    def __init__(self):
        """Start it."""
        self._mark = f"RMMBENCH_CLUSTER={uuid.uuid4()}"
        environment = os.environ | dict([self._mark.split("=")])
        environment |= {"RAY_DISABLE_IMPORT_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        environment |= {"RAY_worker_niceness": "0"}  # tests are no less urgent than others
        command = [sys.executable, "-c", CLUSTER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        quiet = {"stderr": subprocess.DEVNULL, "env": environment}
        self._process = subprocess.Popen(command, **pipes, **quiet)
        self.address = self._process.stdout.readline().strip()

    def kill(self, node):
        """Kill all processes of a node that started with it."""
        print(node, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "killed\n"

    def processes(self, title=b""):
        """Return the ids of its living processes whose command line begins so."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                is_mine = self._mark.encode() in (entry / "environ").read_bytes().split(b"\0")
                if is_mine and (entry / "cmdline").read_bytes().startswith(title):
                    found.append(int(entry.name))
        return found

    def end(self):
        """End all its processes, and those that they start meanwhile."""
        with self._process:
            self._process.stdin.close()
            self._process.wait(60)
            for _ in range(100):
                for number in self.processes():
                    with suppress(OSError):
                        os.kill(number, signal.SIGKILL)
                if not self.processes():
                    return
                time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster():
    """Have two nodes of one CPU each."""
    made = TwoNodes()
    yield made
    made.end()
    assert made.processes() == []


WAITING = {"model": ["import:waits:factory"], "method": ["exact"]}
TRAINED = {
    "title": "Digits, quickly",
    "training": {"max_steps": 600, "eval_every": 40, "log_every": 20},
    "grid": [
        {"model": ["mlp:64-32-10"], "task": ["digits"], "method": ["exact"]}
        | {"measure": ["training"]}
    ],
}


def waiting(count):
    """Return a profile of so many cases that wait."""
    return {"title": "Waits", "grid": [WAITING | {"batch_size": list(range(1, count + 1))}]}


@pytest.fixture
def carried_out(tmp_path, monkeypatch):
    """Return what runs the cases of a profile, and gives the run; events are seen as they come."""
    (tmp_path / "waits.py").write_text(WAITS)
    monkeypatch.chdir(tmp_path)

    def made(out, launcher, asked, seen=lambda event: None, device="predict"):
        profile = profiles.validated({"version": 1} | asked, "the profile")
        with Launch.of(launcher).machines() as machines:
            plan = make_plan(profile, device, machines=machines)
            about = {"name": "asked", "command": "rmmbench sweep asked"}
            run = open_run(Path(out), profile, plan.cases, plan.environment, **about)
            follow = lambda events: list(map(seen, events))  # noqa: E731
            execute(run, plan.cases, follow=follow, machines=machines)
        return run

    return made


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


def test_a_killed_node_loses_nothing(cluster, carried_out):
    """Its cases are run again elsewhere; records are this machine's, but for that."""
    killed = []

    def seen(event):
        if isinstance(event, Working) and len(event.running) == 2 and not killed:
            killed.append("other")
            cluster.kill("other")

    there = carried_out("there", f"ray:{cluster.address}", waiting(4), seen)
    here = carried_out("here", "local", waiting(4))
    assert killed
    assert told(there) == told(here)
    assert {record.outcome for record in there.records()} == {"ok"}
    warnings = [each for record in there.records() for each in record.warnings]
    assert "measured anew: the worker or node that it ran on before was lost" in warnings


def test_a_killed_head_ends_the_command_and_what_is_recorded_stays(cluster, carried_out):
    """One line says how to go on; the same command, here on this machine, does so."""

    def seen(event):
        if isinstance(event, Finished):
            cluster.kill("head")

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
def test_a_cluster_that_cannot_be_reached_is_told(address, message, carried_out):
    """One line says what to do."""
    with pytest.raises(UsageError) as refused:
        carried_out("none", f"ray:{address}", waiting(1))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
