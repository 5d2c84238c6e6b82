"""Names for the entries of an open set."""

import sys

import pytest

from rmmbench.errors import RmmbenchError, UnknownNameError
from rmmbench.registry import Entry, Registry

SHAPES: Registry[object] = Registry(
    "shape",
    "collections",
    {"abc": Entry("abc:Mapping", "a mapping"), "void": Entry("no_such_module:Void", "not there")},
)


def test_names_and_summaries_are_in_the_order_of_their_lines():
    """A list of names reads as the registry does."""
    assert SHAPES.names() == ["abc", "void"]
    assert SHAPES.summaries() == {"abc": "a mapping", "void": "not there"}


def test_an_entry_is_imported_when_it_is_asked_for():
    """A target is looked up in the registry's package."""
    from collections.abc import Mapping

    assert SHAPES.get("abc") is Mapping


def test_names_are_checked_without_an_import():
    """A name can be checked where what it names cannot be imported."""
    assert SHAPES.check("void") == "void"
    assert "collections.no_such_module" not in sys.modules


@pytest.mark.parametrize("ask", [SHAPES.get, SHAPES.check])
def test_an_unknown_name_is_told_with_the_nearest_and_all(ask):
    """The error is wrong usage, and a ValueError to who calls the library."""
    with pytest.raises(UnknownNameError) as caught:
        ask("viod")
    assert (
        str(caught.value) == "no shape named 'viod'; did you mean 'void'?; choose from: abc, void"
    )
    assert isinstance(caught.value, RmmbenchError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2


def test_a_name_like_none_gets_no_suggestion():
    """Where nothing is near, the names there are must do."""
    with pytest.raises(UnknownNameError, match=r"^no shape named 'zzz'; choose from: abc, void$"):
        SHAPES.check("zzz")
