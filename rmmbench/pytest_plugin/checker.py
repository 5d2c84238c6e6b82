"""The fixture `rmmbench`: measures a training step and holds its memory to a limit."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rmmbench.errors import RmmbenchError, UsageError
from rmmbench.pytest_plugin.checked import LIMITS, Checked, check_name, named
from rmmbench.pytest_plugin.judging import held_to_baseline, held_to_limits
from rmmbench.report.check.compare import Tolerances
from rmmbench.results.record import Record
from rmmbench.running.factories import name_of
from rmmbench.running.one_case import measure_ways
from rmmbench.running.sent_step import SentStep
from rmmbench.units import parse_bytes

_FOLLOWED = {"timeline": {"epoch_steps": 2, "max_points": 10}}
"""What of memory over time a check needs: what is held at the peak."""


class Checker:
    """Checks the memory of training steps in one test."""

    def __init__(self, request: pytest.FixtureRequest, told: list[str]) -> None:
        """Take the test, and the list that its checks are added to, as JSON."""
        self._node, self._config, self._told = request.node, request.config, told
        # It may be imported in a way that only pytest knows.
        self._modules = [each for each in [getattr(request, "module", None)] if each is not None]
        self._names: list[str] = []

    def check(
        self,
        step: str | Callable[..., Any],
        *,
        peak: str | int | None = None,
        reserved: str | int | None = None,
        saved: str | int | None = None,
        tolerance: float | None = None,
        device: str | None = None,
        name: str | None = None,
        **settings: Any,
    ) -> Record:
        """Fail the test if a training step takes more memory than it may.

        The step runs in a process of its own. Without a limit its memory is held to what was
        stored with `pytest --rmmbench-update`.

        Args:
            step: A function that makes a training step: it returns (model, make_batch), a step, or
                (step, model), and takes batch_size, seq_len or nothing. Or a training step itself,
                which cannot be predicted; or the name of a model.
            peak: Most allocated bytes: "2.1GiB", "300 MB" or a number.
            reserved: Most bytes that the caching allocator takes from the driver.
            saved: Most bytes kept between forward and backward pass.
            tolerance: How far memory may rise above the stored one, as a fraction; 0.01 by default.
            device: "cuda", "cpu", "predict", or "auto" for the GPU if there is one, else the CPU.
            name: Tells several checks of a test apart.
            settings: Of the case, as `rmmbench.measure` takes them: batch_size, seq_len, task,
                dtype, method, rho, gpu …; and time_limit_seconds.

        Returns:
            The record of the step.

        Raises:
            TypeError: If there is no argument of a name.
        """
        __tracebackhide__ = True
        own = {"peak": peak, "reserved": reserved, "saved": saved, "tolerance": tolerance}
        own |= {"device": device, "name": name, **settings}
        try:
            checked = self._checked(step, self._asked(own))
        except RmmbenchError as error:
            pytest.fail(str(error))
        self._told.append(checked.model_dump_json())
        if checked.fault:
            pytest.fail("\n".join(checked.fault))
        return checked.record

    def _asked(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a check: its own, else those of the nearest marker."""
        asked: dict[str, Any] = {"device": self._config.getoption("rmmbench_device")}
        for marker in reversed(list(self._node.iter_markers("rmmbench"))):
            asked |= marker.kwargs
        return asked | {name: value for name, value in own.items() if value is not None}

    def _checked(self, step: str | Callable[..., Any], asked: dict[str, Any]) -> Checked:
        limits = {name: _size(name, asked.pop(name)) for name in LIMITS if name in asked}
        tolerances = _tolerances(asked.pop("tolerance", 0.01))
        name = check_name(self._node.nodeid, asked.pop("name", None), self._names)
        self._names.append(name)
        name_of(step)
        model = step if isinstance(step, str) else SentStep(step, self._modules)

        def measured(*ways: Mapping[str, Any]) -> list[Record]:
            how = dict(asked)
            sizes = tuple(how.pop(each, None) for each in ("task", "batch_size", "seq_len"))
            at_most = how.pop("time_limit_seconds", 900.0)
            device = how.pop("device")
            records = measure_ways(
                model,
                [{**how, **way} for way in ways],
                device=device,
                sizes=sizes,
                time_limit_seconds=at_most,
                is_timed=False,
            )
            return [named(name, record) for record in records]

        (record,) = measured(_FOLLOWED)
        if limits:
            return held_to_limits(name, record, limits, measured)
        return held_to_baseline(name, record, tolerances, self._config)


def _tolerances(memory: float) -> Tolerances:
    """Return how far memory may rise above what is stored.

    Raises:
        UsageError: If it is not a fraction.
    """
    try:
        return Tolerances(memory=memory)
    except (ValueError, TypeError) as error:
        raise UsageError(f"tolerance: {error}") from None


def _size(name: str, limit: str | int) -> int:
    """Return a limit in bytes.

    Raises:
        UsageError: If it is not one.
    """
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        return limit
    try:
        return parse_bytes(limit) if isinstance(limit, str) else parse_bytes(repr(limit))
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
