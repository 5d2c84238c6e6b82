"""What is found of the paper's claims, and that a broken package would be found out."""

import math

import pytest
import torch

from rmmbench import sketches
from rmmbench.claims._table1 import N_IN, N_OUT, PROJ_DIM, ROWS
from rmmbench.claims.claim import Verdict
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.sketches.gaussian import Gaussian
from rmmbench.sketches.oporp import OPORP
from rmmbench.sketches.rows import Rows


def verdicts(found):
    """Return the verdicts by case."""
    return {case: str(finding.verdict) for case, finding in found.items()}


def test_eq_9_is_of_samples_and_not_of_the_rows_of_one(findings_of):
    """Eq. 9 is right where rows are independent, and too low by far for rows of one sequence."""
    assert list(verdicts(findings_of("sgd-variance")).values()) == [
        "holds",
        "holds",
        "holds as corrected",
    ]


def test_eq_11_holds_for_orthogonal_matrices_alone(findings_of):
    """Where XᵀY = 0 eq. 11 is right, and elsewhere (a + g)/k is."""
    first, *others = findings_of("rmm-variance").values()
    assert first.verdict is Verdict.HOLDS
    assert {finding.verdict for finding in others} == {Verdict.HOLDS_AS_CORRECTED}
    for finding in others:
        n = finding.numbers
        assert n["eq_11"] < n["measured"] - 4 * n["standard_error"]


def test_transforms_are_less_noisy_than_a_gaussian_sketch(findings_of):
    """At half the rows a transform, as it is made here, has about half the variance."""
    found = findings_of("sketch-variance")
    assert set(sketches.names()) <= set(found)
    for name in ("dct", "dft", "hadamard"):
        assert found[f"{name} ÷ gaussian"].verdict is Verdict.DOES_NOT_HOLD


def test_the_bound_has_a_counterexample(findings_of):
    """Two rows of one gradient have no noise of SGD, and a sketch has: 5 · 5/4 − 4 = 9/4."""
    found = findings_of("bound")
    numbers = found["X=(1, 2)ᵀ, Y=(1, ½)ᵀ"].numbers
    assert numbers == {"d2_sgd": 0, "k_d2_rmm": 2.25, "bound": 2.5625}
    assert verdicts(found) == {
        "32 rows, random": "holds",
        "like rows, (a + g)/k": "does not hold",
        "2 rows, 1 column": "does not hold",
        "X=(1, 2)ᵀ, Y=(1, ½)ᵀ": "does not hold",
        "eq. 45": "holds as corrected",
        "those with B d ≥ a": "holds",
    }


def test_the_example_is_as_printed(findings_of):
    """The numbers of eq. 15 and 16 are those of eq. 9 and 11, and of drawing S."""
    for finding in findings_of("example").values():
        assert finding.verdict is Verdict.HOLDS
        assert math.isclose(finding.numbers["b_minus_1_d2_sgd"], 4)
        assert math.isclose(finding.numbers["k_d2_rmm"], finding.numbers["eq_16"])


def test_memory_is_table_1s(findings_of):
    """Every sketch keeps B_proj rows of X and a seed, but for the one that depends on X."""
    found = findings_of("memory")
    assert found.pop("without RMM").numbers["measured_bytes"] == 4 * ROWS * N_IN
    beside = {c: f.numbers["measured_bytes"] - 4 * PROJ_DIM * N_IN for c, f in found.items()}
    assert beside.pop("norm-rows") == 16 * PROJ_DIM
    assert beside == dict.fromkeys(set(sketches.names()) - {"norm-rows"}, 8)


def test_work_is_table_1s_and_a_product(findings_of):
    """Each pass has a product of B · N_in · N_out that the table leaves out."""
    found = findings_of("work")
    product = ROWS * N_IN * N_OUT
    assert [f.numbers["measured"] for f in found.values()] == [
        product,
        product + ROWS * PROJ_DIM * N_IN,
        2 * product,
        product + ROWS * PROJ_DIM * N_OUT + PROJ_DIM * N_IN * N_OUT,
        2 * ROWS * PROJ_DIM,
    ]
    assert set(verdicts(found).values()) == {"holds as corrected"}


def test_a_biased_sketch_is_a_fault(monkeypatch, findings_of):
    """A sketch with a wrong scale is found out, and no other."""
    project = Rows._project
    monkeypatch.setattr(Rows, "_project", lambda self, *args: project(self, *args) * 1.1)
    found = findings_of("unbiased")
    assert [case for case, finding in found.items() if finding.is_fault] == ["rows"]


def test_gradients_of_unlike_sketches_are_a_fault(monkeypatch, findings_of):
    """If the backward pass drew another S than the forward pass, the gradient would be noise."""

    def forgetful(self, y, proj_dim, seed):
        return self.project(y, proj_dim, seed + 1), y.sum(0)

    monkeypatch.setattr(OPORP, "project_and_sum", forgetful)
    found = findings_of("unbiased")
    assert [case for case, finding in found.items() if finding.is_fault] == ["oporp", "householder"]


@pytest.mark.parametrize(("claim", "cases"), [("rmm-variance", 3), ("sketch-variance", 1)])
def test_the_papers_variance_would_be_a_fault(monkeypatch, findings_of, claim, cases):
    """If this package took eq. 11 for its closed form, both claims of variances would say so."""
    wrong = lambda self, moments, rows, proj_dim: (moments.a - moments.g) / (4 * proj_dim)  # noqa: E731
    monkeypatch.setattr(Gaussian, "variance", wrong)
    faults = [case for case, finding in findings_of(claim).items() if finding.is_fault]
    assert len(faults) >= cases


def test_a_wrong_eq_9_is_a_fault(monkeypatch, findings_of):
    """If this package divided by B in eq. 9, the identity would not hold."""
    by_rows = LayerNoise.sgd_by_rows.fget
    monkeypatch.setattr(
        LayerNoise, "sgd_by_rows", property(lambda s: by_rows(s) * (s.rows - 1) / s.rows)
    )
    assert findings_of("sgd-variance")["identity, B = 16"].is_fault


def test_torchs_stream_is_left_alone(findings_of):
    """Trying claims draws nothing from torch's own generator."""
    before = torch.get_rng_state()
    for name in ("rmm-variance", "memory", "work"):
        findings_of(name)
    assert torch.equal(torch.get_rng_state(), before)
