"""What training runs over several seeds amount to: means, spread, and what is more than chance.

Runs with one seed read the same data in the same order from the same parameters, so a setting is
compared with exact seed by seed, by the paired t-test. Many settings are compared at once: of the
comparisons of one place the p-values are adjusted so that of those called more than chance at most
one in twenty is expected not to be (Benjamini and Hochberg 1995).
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
