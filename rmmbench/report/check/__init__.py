"""Compares two sets of records and writes the findings. Needs neither torch nor a GPU."""

from collections.abc import Callable

from rmmbench.registry import Entry, Registry
from rmmbench.report.check.report import Report

WRITERS: Registry[Callable[[Report], str]] = Registry(
    "report format",
    "rmmbench.report.check",
    {
        "markdown": Entry(
            "markdown:write", "a table of what changed, for a pull request or a step summary"
        ),
        "junit": Entry("junit:write", "JUnit XML, one test case per measured case"),
        "github": Entry("github:write", "workflow commands that GitHub shows as annotations"),
        "json": Entry("json:write", "every finding in SI units, for other programs"),
    },
)
