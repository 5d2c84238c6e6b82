"""Ways of saving memory, one file each. To add one: add its file, and its line here."""

from rmmbench.methods.method import Method
from rmmbench.registry import Entry, Registry

METHODS: Registry[type[Method]] = Registry(
    "method",
    __name__,
    {
        "exact": Entry("exact:Exact", "the unchanged model; the reference"),
        "rmm": Entry("rmm:RMM", "linear layers keep a sketch of their input"),
        "exact-rp": Entry("exact_rp:ExactRP", "linear layers keep random features, in few bits"),
    },
)


def names() -> list[str]:
    """Return the names of all methods."""
    return METHODS.names()


def get(name: str) -> Method:
    """Return the method called `name`.

    Raises:
        UnknownNameError: A ValueError, if there is none.
    """
    return METHODS.get(name)()
