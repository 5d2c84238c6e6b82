"""Verdicts and estimates: what agrees, and what is to be said of it."""

import math

import pytest
import torch

from rmmbench.claims._estimate import Estimate, are_equal, written
from rmmbench.claims.claim import Finding, Verdict


def finding(**fields):
    """Return a finding that says nothing but `fields`."""
    return Finding(case="", paper="", here="", numbers={}, **fields)


@pytest.mark.parametrize(
    ("holds", "corrected_holds", "verdict", "is_fault"),
    [
        (True, None, "holds", False),
        (True, True, "holds", False),
        (True, False, "holds", True),
        (False, None, "does not hold", True),
        (False, True, "holds as corrected", False),
        (False, False, "does not hold", True),
    ],
)
def test_the_verdict_is_of_the_statement_and_the_fault_of_what_is_relied_on(
    holds, corrected_holds, verdict, is_fault
):
    """The statement as it stands comes first; a fault is of the corrected one, if there is one."""
    own = finding(holds=holds, corrected_holds=corrected_holds, is_own=True)
    assert own.verdict == Verdict(verdict)
    assert own.is_fault == is_fault
    assert not finding(holds=holds, corrected_holds=corrected_holds).is_fault


def test_an_estimate_agrees_within_four_standard_errors():
    """Mean and standard error are those of the draws, and 4 of them are the limit, plus slack."""
    estimate = Estimate.of(torch.tensor([1.0, 3.0] * 50, dtype=torch.float64))
    assert estimate.mean == 2
    assert estimate.draws == 100
    # The variance of 1 and 3 is 1, by 100/99 more for the mean that is taken from them.
    assert math.isclose(estimate.standard_error, math.sqrt(100 / 99) / 10)
    assert estimate.agrees(2 + 3.9 * estimate.standard_error)
    assert not estimate.agrees(2 + 4.1 * estimate.standard_error)
    assert not estimate.agrees(2 - 4.1 * estimate.standard_error)
    assert estimate.agrees(2 - 4.1 * estimate.standard_error, slack=0.02)


def test_draws_that_are_all_alike_agree_with_themselves_alone():
    """Without any spread only rounding is forgiven."""
    estimate = Estimate.of(torch.full((3,), 7.0, dtype=torch.float64))
    assert estimate.agrees(7.0)
    assert not estimate.agrees(7.00001)
    assert str(estimate) == "7.0 ± 0.0"


def test_equal_but_for_rounding():
    """What float64 cannot tell apart is equal, and what it can is not."""
    assert are_equal(0.1 + 0.2, 0.3)
    assert are_equal(1e-17, 0.0)
    assert not are_equal(1.0, 1.000001)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (4, "4"), (2.25, "2.25"), (16425.7, "16,426"), (102.01, "102.01"), (1e-3, "0.001")],
)
def test_numbers_have_five_digits(value, text):
    """People read five digits, with commas and without zeros that say nothing."""
    assert written(value) == text


def test_an_estimate_has_the_digits_of_its_error():
    """The error has two digits, the mean as many decimals."""
    assert str(Estimate(16503.2, 92.3, 10)) == "16,503 ± 92"
    assert str(Estimate(1.00412, 0.0281, 10)) == "1.004 ± 0.028"
