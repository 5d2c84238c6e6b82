"""What every launcher offers, and what a person asks of one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rmmbench.errors import UsageError
from rmmbench.results.record import Environment
from rmmbench.results.store import Run
from rmmbench.running.events import Event
from rmmbench.running.launchers import LAUNCHERS
from rmmbench.spec.case import Case


class Launcher(Protocol):
    """Something that measures cases: this machine, or many."""

    def run(self, cases: Sequence[Case]) -> Iterator[Event]:
        """Yield events until every case is finished."""


class Machines(Protocol):
    """Where cases are measured; what a name of `LAUNCHERS` stands for. Made from a `Launch`."""

    def environment(self) -> Environment:
        """Return what cases run on: of several machines, the one that is best known for it.

        Raises:
            RmmbenchError: If there is no such machine, or it lacks what was asked for.
        """

    def launcher(self, run: Run) -> Launcher:
        """Return what measures the cases of a run."""

    def close(self) -> None:
        """Leave the machines; nothing of the run stays on them."""


@dataclass(frozen=True)
class Launch:
    """What a person asks of a launcher.

    Attributes:
        name: A name of `LAUNCHERS`.
        argument: What follows it after a colon: an address, or settings.
        devices: The numbers of this machine's GPUs that measure; () for the first.
        cpus_per_case: CPUs of a case that others may run beside; None for the launcher's own
            choice.
    """

    name: str = "local"
    argument: str = ""
    devices: tuple[int, ...] = ()
    cpus_per_case: int | None = None

    @classmethod
    def of(
        cls,
        launcher: str = "local",
        devices: str | Sequence[int] | None = None,
        cpus_per_case: int | None = None,
    ) -> "Launch":
        """Read what a command line or a call says.

        Args:
            launcher: "local", "ray", "ray:ADDRESS" …
            devices: Numbers, in a text separated by commas.
            cpus_per_case: At least 1.

        Raises:
            UsageError: If there is no such launcher, or it does not take what is given.
        """
        name, _, argument = launcher.partition(":")
        if devices is not None and not isinstance(devices, str):
            devices = ",".join(map(str, devices)) or None
        LAUNCHERS.check(name)
        if name == "local" and argument:
            raise UsageError(f"--launcher local takes nothing after a colon, got '{launcher}'")
        if name == "local" and cpus_per_case is not None:
            raise UsageError("--cpus-per-case is for a cluster; give --launcher ray or slurm too")
        if name != "local" and devices is not None:
            raise UsageError(f"--devices is for --launcher local; {name} finds GPUs itself")
        if cpus_per_case is not None and cpus_per_case < 1:
            raise UsageError(f"--cpus-per-case must be at least 1, got {cpus_per_case}")
        return cls(name, argument, () if devices is None else _numbers(devices), cpus_per_case)

    @contextmanager
    def machines(self) -> Iterator[Machines]:
        """Give the machines, and leave them at the end.

        Raises:
            UsageError: If the launcher's library is not installed.
        """
        machines: Machines = LAUNCHERS.get(self.name)(self)
        try:
            yield machines
        finally:
            machines.close()


def _numbers(devices: str) -> tuple[int, ...]:
    words = [word.strip() for word in devices.split(",")]
    if not all(word.isdecimal() for word in words):
        raise UsageError(f"--devices must be numbers of GPUs such as 0,1, got '{devices}'")
    numbers = tuple(map(int, words))
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise UsageError(f"--devices must name each GPU once, got {twice} twice in '{devices}'")
    return numbers
