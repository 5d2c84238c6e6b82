"""The paper's claims, one file each. To add one: add its file, and its line here.

Bershatsky, Mikhalev, Katrutsa, Gusak, Merkulov, Oseledets (2022): Memory-Efficient Backpropagation
through Large Linear Layers. arXiv 2201.13195.
"""

from rmmbench.claims.claim import Claim
from rmmbench.registry import Entry, Registry

CLAIMS: Registry[type[Claim]] = Registry(
    "claim",
    __name__,
    {
        "unbiased": Entry("unbiased:Unbiased", "eq. 4: the weight gradient is right on average"),
        "sgd-variance": Entry("sgd_variance:SGDVariance", "eq. 9: the noise of SGD itself"),
        "rmm-variance": Entry("rmm_variance:RMMVariance", "eq. 11: the noise of a Gaussian sketch"),
        "sketch-variance": Entry("sketch_variance:SketchVariance", "the noise of every sketch"),
        "bound": Entry("bound:Bound", "eq. 12: a bound on the one noise by the other"),
        "example": Entry("example:Example", "eq. 14 to 16: where the bound is of no use"),
        "memory": Entry("memory:Memory", "Table 1: what is kept for the backward pass"),
        "work": Entry("work:Work", "Table 1: operations of the forward and the backward pass"),
    },
)


def names() -> list[str]:
    """Return the names of all claims."""
    return CLAIMS.names()


def get(name: str) -> Claim:
    """Return the claim called `name`.

    Raises:
        UnknownNameError: A ValueError, if there is none.
    """
    return CLAIMS.get(name)()
