"""What the nodes of a cluster must have in common."""

import pytest

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.running.launchers._nodes import best_known, homes_of


@pytest.fixture
def node(environment):
    """Return what makes the environment of a node."""
    here = {"rmmbench": rmmbench.__version__}
    return lambda name, **other: environment.model_copy(update=here | {"node": name} | other)


def test_a_run_begins_with_a_node_that_has_a_gpu(node):
    """Where there are several, with the first by name; nodes may have different processors."""
    nodes = [node("c", gpu="H200"), node("b", gpu="H200"), node("a", processor="Another")]
    assert best_known(nodes).node == "b"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"rmmbench": "0.0.1"}, "rmmbench must be the same on all nodes: b has 0.0.1, here it is"),
        (
            {"torch": "2.11.0"},
            "torch must be the same on all nodes: b has 2.11.0, a has 2.13.0",
        ),
    ],
)
def test_versions_that_must_agree_are_told(node, other, message):
    """The message names the node, both versions and what to do."""
    with pytest.raises(UsageError) as refused:
        best_known([node("a"), node("b", **other)])
    assert str(refused.value).startswith(message)
    with pytest.raises(UsageError, match="has no node with a CPU or a GPU"):
        best_known([])


def test_the_cells_of_a_run_have_homes(make_record, environment):
    """What was measured on a node goes on there; predictions, and records from here, have none."""
    there = environment.model_copy(update={"node": "a"})
    measured = make_record(peak=None, step_seconds=(1.0,), environment=there)
    others = make_record(environment=there), make_record(peak=None, step_seconds=(2.0,), seed=1)
    assert homes_of([measured, *others]) == {measured.case.cell: "a"}
