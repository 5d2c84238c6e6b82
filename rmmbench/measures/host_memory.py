"""The host's memory: what can still be had of it, and a limit so that asking for more fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmmbench.measures.environment import control_groups


@contextmanager
def no_more_than_there_is(root: Path = Path("/")) -> Iterator[None]:
    """Let this process take no more memory than the host can give, within; more fails.

    Linux grants more than it has, and kills who uses it; an error leaves the process alive. Where
    the system does not tell, nothing is limited. `root` has /proc and /sys.
    """
    taken, available = _taken_bytes(root), available_bytes(root)
    if sys.platform == "win32" or taken is None or available is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = {taken + available, soft, hard} - {resource.RLIM_INFINITY}
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return what can be had without swapping, or being killed; None where the system tells not."""
    found = numbers(root / "proc/meminfo").get("MemAvailable:")
    if found is None:
        return None
    return min([found * 1024, *_left_by_groups(root)])


def _left_by_groups(root: Path) -> Iterator[int]:
    """Yield what the limit of each control group leaves; caches go where memory is needed."""
    for group in control_groups(root):
        limit = numbers(group / "memory.max", "limit ").get("limit")
        used = numbers(group / "memory.stat").get("anon")
        if limit is not None and used is not None:
            yield max(0, limit - used)


def _taken_bytes(root: Path) -> int | None:
    """Return what the process has taken that is its own, used or not."""
    taken = numbers(root / "proc/self/status").get("VmData:")
    return None if taken is None else taken * 1024


def numbers(file: Path, before: str = "") -> dict[str, int]:
    """Return by name the numbers in a file of lines "NAME NUMBER"; none if it cannot be read."""
    try:
        lines = (before + file.read_text(encoding="utf-8")).splitlines()
    except (OSError, ValueError):
        return {}
    words = [line.split() for line in lines]
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdecimal()}
