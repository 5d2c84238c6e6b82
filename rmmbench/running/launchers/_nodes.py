"""What the nodes of a cluster have in common, and which of them cases ran on before."""

from collections.abc import Iterable, Sequence

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.results.record import Environment, Record


def best_known(found: Sequence[Environment]) -> Environment:
    """Return the environment that a run begins with: of a node with a GPU if there is any.

    Raises:
        UsageError: If there is none, a node has another rmmbench than is here, or nodes have
            another torch than each other.
    """
    if not found:
        raise UsageError("the cluster has no node with a CPU or a GPU for cases; add one")
    for name, right in (("rmmbench", rmmbench.__version__), ("torch", found[0].torch)):
        other = next((each for each in found if getattr(each, name) != right), None)
        if other is not None:
            got = f"{other.node} has {getattr(other, name)}"
            where = "here it is" if name == "rmmbench" else f"{found[0].node} has"
            must = f"{name} must be the same on all nodes"
            raise UsageError(f"{must}: {got}, {where} {right}; install one version everywhere")
    return min(found, key=lambda each: (each.gpu is None, -each.cpu_count, each.node or ""))


def homes_of(records: Iterable[Record]) -> dict[str, str]:
    """Return by cell the node that its cases ran on, where they ran on any."""
    measured = (each for each in records if each.case.device != "predict")
    return {each.case.cell: each.environment.node for each in measured if each.environment.node}
