"""Twenty workers, nodes and heads of Ray clusters are killed, and two nodes are held to one.

`pytest -m endurance -s` takes a quarter of an hour of a quiet machine, and prints what it finds.
"""

import os
import signal
import time

import pytest

from rmmbench.running.events import Finished, Started, Working
from rmmbench.running.isolation.process import EndedError

pytest.importorskip("ray")
pytestmark = pytest.mark.endurance

KILLS, CASES_A_KILL = 20, 8


def lost_doubled(run, count):
    """Return how many of so many cases have no record that is ok, and how many more than one."""
    ok = [str(each.case) for each in run.each_record() if each.outcome == "ok"]
    return count - len(set(ok)), len(list(run.each_record())) - len(set(ok))


@pytest.mark.parametrize("what", ["worker", "node"])
def test_killed_workers_and_nodes_lose_nothing(what, clusters, carried_out, waiting):
    """One is killed again and again while cases run; a killed node is replaced."""
    cluster, done, killed = clusters(2), [], []

    def seen(event):
        done.extend([event] * isinstance(event, Finished))
        both_work = isinstance(event, Working) and len(event.running) == 2
        if not both_work or len(killed) == min(KILLS, len(done) // CASES_A_KILL + 1):
            return
        killed.append(what)
        if what == "worker":
            os.kill(cluster.processes(b"ray::node_events")[0], signal.SIGKILL)
        else:
            cluster.tell("other")
            cluster.tell("add")

    count = KILLS * CASES_A_KILL
    run = carried_out(what, f"ray:{cluster.address}", waiting(count), seen)
    cluster.end()
    anew = sum(any("measured anew" in each for each in it.warnings) for it in run.each_record())
    lost, doubled = lost_doubled(run, count)
    print(
        f"{len(killed)} x {what} killed: {count} cases, {anew} anew, {lost} lost, {doubled} doubled"
    )
    assert (len(killed), lost, doubled) == (KILLS, 0, 0)
    assert anew >= 0.8 * KILLS  # a case may have ended before it is killed


def test_killed_heads_lose_nothing(clusters, carried_out, waiting):
    """Each time the command ends with one line, and goes on with another cluster."""
    found = []
    for number in range(KILLS):
        cluster, done = clusters(2), []

        def seen(event, cluster=cluster, done=done):
            done.extend([event] * isinstance(event, Finished))
            if len(done) == 2 and isinstance(event, Finished):
                cluster.tell("head")

        with pytest.raises(EndedError, match=r"the same command goes on$"):
            carried_out(f"head-{number}", f"ray:{cluster.address}", waiting(6), seen)
        cluster.end()
        run = carried_out(f"head-{number}", "local", waiting(6))
        found.append(lost_doubled(run, 6))
    lost, doubled = map(sum, zip(*found, strict=True))
    print(f"{KILLS} x head killed: {6 * KILLS} cases, {lost} lost, {doubled} doubled")
    assert (lost, doubled) == (0, 0)


def test_two_nodes_do_twice_the_cases_of_one(clusters, carried_out, waiting):
    """Cases of three seconds, from the first that starts to the last that is done."""
    rates = {}
    for nodes in (1, 2):
        cluster, times = clusters(nodes), []

        def seen(event, times=times):
            times.extend([time.perf_counter()] * isinstance(event, Started | Finished))

        run = carried_out(f"by-{nodes}", f"ray:{cluster.address}", waiting(20 * nodes, 3), seen)
        cluster.end()
        assert lost_doubled(run, 20 * nodes) == (0, 0)
        rates[nodes] = 60 * 20 * nodes / (times[-1] - times[0])
    ratio = rates[2] / rates[1]
    print(f"cases a minute: {rates[1]:.2f} on one node, {rates[2]:.2f} on two, {ratio:.3f} times")
    assert 0.85 <= ratio / 2 <= 1.15
