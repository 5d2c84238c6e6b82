"""Scores of training runs over several seeds: means, spreads, and differences beyond chance.

Runs with the same seed start from the same parameters and read the same data in the same order, so
a setting is compared with exact seed by seed, by the paired t-test. Because many settings are
compared at once, the p-values of a place are adjusted so that at most one in twenty of the
differences called more than chance is expected to be chance (Benjamini and Hochberg 1995).
"""

from rmmbench.report.scores.line import Line
from rmmbench.report.scores.names import WHERE, place_names, threads_note
from rmmbench.report.scores.read import by_place, read_lines
from rmmbench.report.scores.statistics import Difference, Spread

__all__ = [
    "WHERE",
    "Difference",
    "Line",
    "Spread",
    "by_place",
    "place_names",
    "read_lines",
    "threads_note",
]
