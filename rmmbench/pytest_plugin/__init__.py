"""The pytest plugin: `rmmbench.check(step, peak="2.1GiB")` in a test; see `rmmbench docs pytest`.

pytest imports this file whenever it starts, in projects that never use it too. So it imports
nothing but pytest; the rest comes with the first check.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rmmbench.pytest_plugin.checker import Checker

_TOLD = pytest.StashKey[list[str]]()
"""The checks of a test that no report has yet, as JSON: they may come from another process."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("rmmbench", "memory of training steps")
    group.addoption(
        "--rmmbench-update",
        action="store_true",
        help="store what checks without a limit measure: the baseline that they are held to",
    )
    group.addoption(
        "--rmmbench-save",
        metavar="DIR",
        help="write the records of all checks to a run directory, for `rmmbench table` and others",
    )
    group.addoption(
        "--rmmbench-device",
        default="auto",
        choices=("auto", "cuda", "cpu", "predict"),
        help="where memory is measured if a check does not say; auto: the GPU, else the CPU",
    )
    where = "folder of the stored baseline, from the root directory on"
    parser.addini("rmmbench_baseline", where, default="rmmbench-baseline")


def pytest_configure(config: pytest.Config) -> None:
    """Tell the marker, and collect checks where reports come together."""
    about = "arguments of each rmmbench.check in the test, such as device='predict'"
    config.addinivalue_line("markers", f"rmmbench(**arguments): {about}")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collected(config), "rmmbench-collected")


@pytest.fixture
def rmmbench(request: pytest.FixtureRequest) -> "Checker":
    """Check the memory of training steps: `rmmbench.check(step, peak="2.1GiB")`."""
    from rmmbench.pytest_plugin.checker import Checker

    return Checker(request, request.node.stash.setdefault(_TOLD, []))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Give a test's checks to its report, which xdist takes to the process that collects them."""
    outcome: Any = yield
    told = item.stash.get(_TOLD, [])
    outcome.get_result().rmmbench = told[:]
    told.clear()


class _Collected:
    """The checks of all reports, in the process that has the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._told: list[str] = []
        self._written: list[str] = []

    def pytest_configure(self) -> None:
        """Refuse a folder that holds something else before anything runs."""
        folder = self._config.getoption("rmmbench_save")
        if folder is not None:
            from rmmbench.pytest_plugin.checked_runs import check_folder

            check_folder(folder)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the checks of a report."""
        self._told += getattr(report, "rmmbench", [])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write what was asked for."""
        if self._told:
            from rmmbench.pytest_plugin.checked_runs import write_asked

            self._written = write_asked(self._config, self._told)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show a table of all checks."""
        if self._told:
            from rmmbench.pytest_plugin.ending import show

            show(terminalreporter, self._told, self._written)
