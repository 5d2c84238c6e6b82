"""Launchers: what runs cases, on this machine or on many."""

from typing import Any

from rmmbench.registry import Entry, Registry

LAUNCHERS: Registry[Any] = Registry(
    "launcher",
    __name__,
    {
        "local": Entry("local:ThisMachine", "this machine"),
        "ray": Entry("ray:RayCluster", "a Ray cluster"),
        "slurm": Entry("slurm:SlurmCluster", "jobs of Slurm"),
    },
)
