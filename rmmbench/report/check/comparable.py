"""Whether two runs can be compared: the same cases, measured on the same machine."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rmmbench.errors import NotComparableError
from rmmbench.results.record import Environment, Record
from rmmbench.results.store import RunInfo

Pair = tuple[Record, Record]

_TOLD_APART = {"rmmbench", "torch", "torch_build", "transformers", "gpu", "processor"}
_TOLD_APART |= {"torch_threads", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}


@dataclass(frozen=True)
class Difference:
    """A property that differs between two runs and should not; `--allow NAME` accepts it."""

    name: str
    baseline: str
    run: str

    def __str__(self) -> str:
        return f"{self.name} differs: {self.baseline} in the baseline, {self.run} in the run"


def differences(baseline: RunInfo, run: RunInfo, pairs: Iterable[Pair]) -> list[Difference]:
    """Return what differs between two runs, or between the two records of a case, each once.

    The GPU matters only for cases that used one. Builds of one torch version count as the same.
    `pairs` are the records of the cases in both, the baseline's first.
    """
    found = dict.fromkeys(_differing("torch", baseline.environment, run.environment))
    for old, new in pairs:
        for name in ("gpu", "torch") if "cuda" in old.case.device else ("torch",):
            found |= dict.fromkeys(_differing(name, old.environment, new.environment))
    if not baseline.measures_as(run):
        found[Difference("profile", _profile(baseline), _profile(run))] = None
    return list(found)


def require(found: Sequence[Difference], allow: Collection[str]) -> tuple[str, ...]:
    """Return the allowed differences as warnings.

    Raises:
        NotComparableError: If there are others: their names are not in `allow`.
    """
    refused = refusal(found, allow)
    if refused:
        raise NotComparableError(refused)
    return tuple(f"{difference} (allowed)" for difference in found)


def refusal(found: Sequence[Difference], allow: Collection[str]) -> str | None:
    """Return the differences not in `allow`, and the flags that would allow them; None if none."""
    refused = [difference for difference in found if difference.name not in allow]
    if not refused:
        return None
    flags = " ".join(dict.fromkeys(f"--allow {difference.name}" for difference in refused))
    facts = "; ".join(str(difference) for difference in refused)
    return f"{facts}; compare them anyway with {flags}"


def timed_elsewhere(baseline: Record, run: Record) -> list[Difference]:
    """Return how the processors that timed a case differ; nothing for times on a GPU."""
    if run.timing is None or run.timing.device != "cpu":
        return []
    old, new = baseline.environment, run.environment
    sides = [
        ("processor", old.processor, new.processor),
        ("threads", str(old.torch_threads), str(new.torch_threads)),
    ]
    return [Difference(*side) for side in sides if side[1] != side[2]]


def environment_warnings(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Return a warning for each further difference that memory or times may depend on."""
    versions = dict.fromkeys(
        (old.environment.transformers or "none", new.environment.transformers or "none")
        for old, new in pairs
        if old.memory and new.memory
    )
    more_or_less = "its models may need more or less memory"
    said = [
        f"{Difference('transformers', old, new)}; {more_or_less}"
        for old, new in versions
        if old != new
    ]
    changes = dict.fromkeys(
        change
        for old, new in pairs
        if old.memory or old.timing
        for change in old.environment.changes(new.environment)
        if change[0] not in _TOLD_APART
    )
    said += [str(Difference(name, str(old), str(new))) for name, old, new in changes]
    return tuple(said)


def versions(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """Return a line for each version that differs between two codes that run in turn."""
    found = dict.fromkeys(
        difference
        for old, new in pairs
        for name in ("rmmbench", "torch")
        for difference in _differing(name, old.environment, new.environment)
    )
    return tuple(map(str, found))


def _differing(name: str, baseline: Environment, run: Environment) -> list[Difference]:
    before, now = (getattr(environment, name) or "none" for environment in (baseline, run))
    same = before.partition("+")[0] == now.partition("+")[0]
    return [] if same else [Difference(name, before, now)]


def _profile(info: RunInfo) -> str:
    return f"'{info.profile_name}' ({info.profile_hash})"
