"""The host's memory: how much is available, and a limit so that asking for more fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmmbench.measures.environment import control_groups, numbers


@contextmanager
def no_more_than_there_is(root: Path = Path("/")) -> Iterator[None]:
    """Let this process take only the memory that the host has available, within this context.

    Linux grants more memory than it has, and kills the process that uses it; with a limit, asking
    for more raises an error instead. If the available memory is unknown, nothing is limited. `root`
    has /proc and /sys.
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
    """Return the bytes available without swapping or being killed; None if they are unknown."""
    found = numbers(root / "proc/meminfo").get("MemAvailable:")
    if found is None:
        return None
    return min([found * 1024, *_left_by_groups(root)])


def _left_by_groups(root: Path) -> Iterator[int]:
    """Yield what each control group's limit leaves; caches do not count, as they can be dropped."""
    for group in control_groups(root):
        limit = numbers(group / "memory.max", "limit ").get("limit")
        used = numbers(group / "memory.stat").get("anon")
        if limit is not None and used is not None:
            yield max(0, limit - used)


def _taken_bytes(root: Path) -> int | None:
    """Return the bytes of private memory that the process has taken, used or not."""
    taken = numbers(root / "proc/self/status").get("VmData:")
    return None if taken is None else taken * 1024
