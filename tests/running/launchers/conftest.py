"""A real Ray cluster of several nodes on this machine, and what runs profiles there."""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from rmmbench.running.execution import execute, open_run
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.sweep_plan import make_plan
from rmmbench.spec import profile as profiles

# Told "other" or "head" on stdin, it kills all processes of that node; told "add", it has another
# "other". At the end it kills those of all.
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
nodes = {"head": cluster.head_node}
print(cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "add":
        nodes["other"] = cluster.add_node(**one)
    else:
        kill(nodes[line.strip()])
    print("done", flush=True)
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
    time.sleep(SECONDS)
    return Net(4, 1), lambda: {"x": torch.randn(batch_size, 4)}
"""


class Nodes:
    """A cluster of nodes of one CPU each, in a process of its own; it begins with the head alone.

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

    def tell(self, what):
        """Have another node by "add", or kill all processes of "head" or of the "other" node."""
        print(what, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

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
def clusters():
    """Return what makes clusters; they are ended with the module's tests."""
    made = []

    def begun(nodes):
        made.append(Nodes())
        for _ in range(nodes - 1):
            made[-1].tell("add")
        return made[-1]

    yield begun
    for each in made:
        each.end()
        assert each.processes() == []


@pytest.fixture
def carried_out(tmp_path, monkeypatch):
    """Return what runs the cases of a profile, and gives the run; events are seen as they come."""
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


@pytest.fixture
def waiting(carried_out):
    """Return what makes a profile of so many cases, each of which waits."""

    def made(count, seconds=0.7):
        Path("waits.py").write_text(WAITS.replace("SECONDS", str(seconds)))
        grid = {"model": ["import:waits:factory"], "method": ["exact"]}
        return {"title": "Waits", "grid": [grid | {"batch_size": list(range(1, count + 1))}]}

    return made
