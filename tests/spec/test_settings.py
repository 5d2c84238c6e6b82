"""What a method or a sketch says of its own settings."""

from typing import Annotated

import pytest
from pydantic import ValidationError

from rmmbench.spec.ranges import Count
from rmmbench.spec.settings import Setting, Settings


class Blocks(Settings):
    """Settings for these tests."""

    size: Annotated[Count, Setting("blocks of {}", varies=True)] = 8
    other: Count | None = None


def test_what_is_said_of_a_setting_stands_beside_its_type() -> None:
    """Every setting is declared, in order; one of which nothing is said is fixed and silent."""
    assert Blocks.declared() == {"size": Setting("blocks of {}", varies=True), "other": Setting()}


def test_a_setting_is_held_to_its_range() -> None:
    """A value out of range and an unknown name are refused."""
    for given in ({"size": 0}, {"sise": 1}):
        with pytest.raises(ValidationError):
            Blocks.model_validate(given)
