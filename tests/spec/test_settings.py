"""What a method or a sketch says of its own settings."""

import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import ValidationError

from rmmbench.registry import open_set
from rmmbench.spec.known_settings import absent, in_words, known
from rmmbench.spec.ranges import Count
from rmmbench.spec.settings import Setting, Settings
from rmmbench.spec.steps import settings_class


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


def test_no_settings_need_torch():
    """Every method's file, and every sketch's settings, are read where there is no torch."""
    program = (
        "import sys; from rmmbench import methods; from rmmbench.spec.known_settings import known;"
        "known(); [methods.METHODS.get(name) for name in methods.names()];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", known())
def test_settings_of_one_name_mean_the_same(name):
    """A column of a row and a key of a grid have one meaning, whoever has the setting."""
    owners = known()[name].owners
    folder = {
        each: "methods" if each in open_set("methods").names() else "sketches" for each in owners
    }
    said = {settings_class(folder[each], each).declared()[name] for each in owners}
    assert len(said) == 1


@pytest.mark.parametrize("name", known())
def test_a_row_without_a_setting_says_nothing(name):
    """What stands in the place of a setting that nothing has is told in no label."""
    assert in_words(absent(), [name]) == []
    assert known()[name].said.varies == (absent()[name] is None) or name.endswith(("_dim", "_rows"))
