"""What is asked of a Ray cluster is refused before it is asked, where that can be told."""

import pytest

from rmmbench.errors import UsageError
from rmmbench.running.launchers._spreading import Node

driver = pytest.importorskip("rmmbench.running.launchers._ray_driver")


@pytest.mark.parametrize("address", ["local", "nonsense", "127.0.0.1:0", "a:65536", "a/b:80", ":1"])
def test_an_address_is_a_host_and_a_port(address, monkeypatch):
    """Nothing else is given to Ray, which would start a cluster for some words."""
    monkeypatch.setattr(driver.ray, "init", lambda *_, **__: pytest.fail("Ray was asked"))
    must = "must be HOST:PORT of a cluster that this machine is part of"
    said = f"{must}, got '{address}'; or run the command with `ray job submit`"
    monkeypatch.setenv("RAY_ADDRESS", "other")
    with pytest.raises(UsageError, match=f"^--launcher ray:ADDRESS {said}$"):
        driver.Cluster(address, 1)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match=f"^RAY_ADDRESS {said}$"):
        driver.Cluster("", 1)


def test_more_cpus_than_any_node_has_are_refused(monkeypatch):
    """At once, and not after a wait for a node that might come."""
    nodes = [Node("a", "first", 2, 0), Node("b", "second", 4, 1)]
    monkeypatch.setattr(driver, "_join", lambda address: None)
    monkeypatch.setattr(driver.Cluster, "nodes", lambda self: nodes)
    said = "--cpus-per-case must be at most 4, as no node of the cluster has more; got 5"
    with pytest.raises(UsageError, match=f"^{said}$"):
        next(driver.Cluster("", 5).answer(driver.Surroundings((), None)))
