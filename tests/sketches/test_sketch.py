"""What all sketches have in common, but for the law: names, blocks and moments."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rmmbench import sketches

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sketches.names())
def test_blocks_that_are_none(name):
    """A sketch either takes blocks, of a number that divides the rows, or refuses them."""
    if "block_rows" not in sketches.settings_of(name).model_fields:
        with pytest.raises(
            ValueError, match=f"sketch '{name}' takes no block_rows, got 8; leave it"
        ):
            sketches.get(name, block_rows=8)
        return
    with pytest.raises(ValueError, match="block_rows must be at least 1, got 0"):
        sketches.get(name, block_rows=0)
    message = (
        "block_rows must divide the rows, got 8 and 20 rows; choose one that divides batch × seq"
    )
    with pytest.raises(ValueError, match=message):
        sketches.get(name, block_rows=8).project(torch.zeros(20, 3), 4, 0)


@pytest.mark.parametrize("name", sketches.names())
def test_text_of_a_sketch(name):
    """A sketch's text is that which makes it, with its settings and without."""
    assert sketches.get(name).text == name
    if "block_rows" in sketches.settings_of(name).model_fields:
        made = sketches.get(name, block_rows=np.int64(8))
        assert made.text == f"{name}:block_rows=8"
        assert sketches.get(made.text).settings == {"block_rows": 8}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gaussian:block_row=8", "has no setting named 'block_row'; did you mean 'block_rows'"),
        ("gaussian:block_rows=8.0", "^block_rows must be a whole number, got 8.0"),
        ("gaussian:block_rows=True", "^block_rows must be a whole number, got True"),
        ("gaussian:block_rows=print(1)", "settings of sketch 'gaussian' must be plain, got"),
        ("gaussian:8", "settings of sketch 'gaussian' must be plain, got 8"),
    ],
)
def test_texts_that_are_none(text, message):
    """What is no setting, or not of its type, is refused, and nothing is run."""
    with pytest.raises(TypeError, match=message):
        sketches.get(text)


def test_settings_need_no_torch():
    """What sketches can be set to is known where torch is not there."""
    program = "import sys; from rmmbench import sketches\n"
    program += "assert all(map(sketches.settings_of, sketches.names()))\n"
    program += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_unknown_name():
    """An unknown sketch is named with the nearest and all others."""
    with pytest.raises(ValueError, match="no sketch named 'guassian'; did you mean 'gaussian'"):
        sketches.get("guassian")
