"""Cases on several nodes: none is lost, none is counted twice, and a cell stays on one node."""

import itertools

import pytest

from rmmbench.results.stage import Stage
from rmmbench.running.events import Finished, Started, Working
from rmmbench.running.launchers import _spreading
from rmmbench.running.launchers._spreading import Node, NoNodeError, Spread

A, B = Node("a", "first", 4, 2), Node("b", "second", 4, 2)
ON_GPU = {"memory_device": "cuda", "time_device": "cuda"}


@pytest.fixture
def spread(environment):
    """Return what spreads cases."""

    def made(*cases, homes=None, cpus=1):
        return Spread(cases, {} if homes is None else homes, cpus, environment)

    return made


@pytest.fixture
def case(make_record):
    """Return what makes a case."""
    return lambda **settings: make_record(**settings).case


def records_of(spread, task, make_record):
    """Run a task to its end as a node would, and return the records that are new."""
    told = []
    for each in list(task.cases):
        record = make_record(**each.model_dump(exclude={"steps"}), steps=each.steps)
        told += spread.heard(task, Started(each))
        told += spread.heard(task, Finished(record))
    told += spread.ended(task, "it has ended")
    return [event.record for event in told if isinstance(event, Finished)]


def test_every_case_has_one_record_whatever_is_lost(spread, case, make_record):
    """Whichever task is lost, before it began, in the middle or with its record on the way."""
    cases = [case(batch_size=number) for number in range(1, 40)]
    spread = spread(*cases)
    found, ends = [], itertools.cycle(["lost", "whole", "late", "whole", "half"])
    while not spread.is_done:
        for task, end in zip(list(spread.next_tasks([A, B])), ends, strict=False):
            if end == "whole":
                found += records_of(spread, task, make_record)
                continue
            first = task.cases[0]
            if end != "lost":
                list(spread.heard(task, Started(first)))
            if end == "late":
                record = make_record(**first.model_dump(exclude={"steps"}))
                twice = [*spread.heard(task, Finished(record))] * 1
                twice += spread.heard(task, Finished(record))
                found += [event.record for event in twice]
            assert list(spread.ended(task, "its worker died")) == []
    assert sorted(record.key for record in found) == sorted(case.key for case in cases)
    anew = [record for record in found if any("measured anew" in w for w in record.warnings)]
    assert anew


def test_a_case_that_kills_its_workers_is_an_error(spread, case):
    """It is not tried for ever, and its record says what happened."""
    spread = spread(case())
    for _ in range(_spreading._TRIES):
        (task,) = spread.next_tasks([A])
        list(spread.heard(task, Started(task.cases[0])))
        list(spread.heard(task, Working([(task.cases[0], Stage("timing steps"))])))
        assert spread.working().running[0][1] == "timing steps"
        told = list(spread.ended(task, "its worker was killed"))
    (event,) = told
    assert event.record.outcome == "error"
    assert event.record.reason.endswith("was lost 5 times; the last time: its worker was killed")
    assert spread.is_done


def test_what_is_timed_shares_no_gpu_and_a_cell_stays_on_its_node(spread, case):
    """As many cases as a node has GPUs run there; a cell's wait for its own node."""
    ways = [{}, {"method": "rmm", "rho": 0.5}, {"method": "rmm", "rho": 0.1}]
    first = [case(**ON_GPU, step_seconds=(1.0,), **how) for how in ways]
    other = case(**ON_GPU, batch_size=99)
    spread = spread(*first, other)
    started = list(spread.next_tasks([A, B]))
    homes = [(task.node.name, task.cases[0].batch_size, task.gpus) for task in started]
    assert len({name for name, size, _ in homes if size != 99}) == 1
    assert sum(size != 99 for _, size, _ in homes) == 2
    assert {name for name, size, _ in homes if size == 99} != {homes[0][0]}
    assert all(gpus == 1 for *_, gpus in homes)


def test_a_cell_whose_node_is_lost_goes_on_elsewhere_and_says_so(spread, case, make_record):
    """The rest runs on another node, with a warning, also where an earlier run had that node."""
    spread = spread(case(**ON_GPU), homes={case(**ON_GPU).cell: "gone"})
    (task,) = spread.next_tasks([B])
    (record,) = records_of(spread, task, lambda **about: make_record(**about | {"peak": None}))
    assert record.warnings == ("other cases of its cell may have run on a node that was lost",)


def test_a_node_that_comes_back_is_the_same_node(spread, case):
    """Its cells go on there, whatever id the cluster gives it."""
    homes = {case(**ON_GPU).cell: "second"}
    spread = spread(case(**ON_GPU), case(**ON_GPU, method="rmm", rho=0.5), homes=homes)
    back = Node("d", "second", 4, 1)
    (task,) = spread.next_tasks([A, back])
    assert (task.node, spread.moved) == (back, set())


def test_a_timed_case_on_the_cpu_has_its_node_alone(spread, case):
    """It takes all CPUs of the node; predictions take one each, or as many as were asked for."""
    timed = [case(peak=None, step_seconds=(1.0,), batch_size=size) for size in (1, 2, 3)]
    tasks = list(spread(*timed).next_tasks([A, B]))
    assert [task.cpus for task in tasks] == [4, 4]
    predicted = [case(batch_size=number) for number in range(1, 9)]
    (task, *_) = spread(*predicted, cpus=2).next_tasks([A])
    assert (task.cpus, task.lanes) == (4, 2)


def test_cases_that_no_node_can_run_are_told(spread, case, monkeypatch):
    """Not at once, as a node may come back; a node that can start nothing is left out at once."""
    waits = spread(case(**ON_GPU))
    assert list(waits.next_tasks([Node("c", "small", 4, 0)])) == []
    monkeypatch.setattr(_spreading, "_WAIT_SECONDS", -1.0)
    with pytest.raises(NoNodeError, match="has 1 GPU and 1 CPU for a case; add one that has"):
        list(waits.next_tasks([Node("c", "small", 4, 0)]))
    refuses = spread(case())
    for _ in range(3):
        (task,) = refuses.next_tasks([A])
        list(refuses.ended(task, "No module named 'rmmbench'"))
    with pytest.raises(NoNodeError, match="no node can start a case: No module named 'rmmbench'"):
        list(refuses.next_tasks([A]))
