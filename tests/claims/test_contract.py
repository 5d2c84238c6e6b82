"""What every claim must give; adding one to the registry buys all of this."""

import json

import pytest

from rmmbench import claims
from rmmbench.claims import sketch_variance, unbiased
from rmmbench.claims.claim import Claim, Verdict
from rmmbench.errors import UnknownNameError


@pytest.fixture(scope="module", params=claims.names())
def tried(request):
    """Return a claim and what comes of trying it, with fewer draws."""
    claim = claims.get(request.param)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unbiased, "_DRAWS", 40)
        patched.setattr(sketch_variance, "_DRAWS", 100)
        return claim, list(claim.findings(0))


def test_findings_can_be_read_by_people_and_machines(tried):
    """A claim says how it is tried; its findings have numbers that JSON can hold, and reasons."""
    claim, found = tried
    assert isinstance(claim, Claim)
    assert claim.title
    assert claim.statement
    assert claim.method
    assert found
    assert len({finding.case for finding in found}) == len(found)
    for finding in found:
        assert finding.here
        assert json.loads(finding.model_dump_json())["numbers"]
        assert finding.why or finding.verdict is Verdict.HOLDS


def test_what_the_package_relies_on_holds(tried):
    """Nothing that this package relies on is found wrong."""
    assert [finding.case for finding in tried[1] if finding.is_fault] == []


@pytest.mark.parametrize("name", ["sgd-variance", "bound", "example", "work"])
def test_a_seed_repeats_all_numbers(name):
    """The same seed gives the same findings, to the last digit, and another seed others."""
    first, second = (list(claims.get(name).findings(3)) for _ in range(2))
    assert first == second
    assert (first == list(claims.get(name).findings(4))) == (name == "work")


def test_an_unknown_claim_is_named_with_the_nearest():
    """A slip gives the right word and all there are."""
    with pytest.raises(UnknownNameError, match="no claim named 'bund'; did you mean 'bound'"):
        claims.get("bund")
