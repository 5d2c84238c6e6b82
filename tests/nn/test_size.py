"""How many columns S gets, and what is refused."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from rmmbench import RMMLinear, convert, rmm_linear
from rmmbench.nn.size import SketchSettings

RADEMACHER, KRONECKER = {"sketch": "rademacher", "rho": 0.3}, {"sketch": "kronecker", "rho": 0.3}


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        (100, SketchSettings(rho=0.5), 50),
        (7, SketchSettings(rho=0.5), 4),
        (3, SketchSettings(rho=0.01), 1),
        (100, SketchSettings(rho=0.01, min_proj_dim=16), 16),
        (8, SketchSettings(rho=0.01, min_proj_dim=16), 8),
        (100, SketchSettings(rho=0.9, max_proj_dim=32), 32),
        (100, SketchSettings(proj_dim=64), 64),
        (50, SketchSettings(proj_dim=64), 50),
        (100, SketchSettings(proj_dim=64, max_proj_dim=32), 32),
        (0, SketchSettings(rho=0.5), 0),
    ],
)
def test_projection_dimension(rows: int, settings: SketchSettings, expected: int) -> None:
    """proj_dim = min(rows, clamp(ceil(rho · rows), min, max)), never 0 for a row."""
    assert settings.proj_dim_for(rows) == expected


@pytest.mark.parametrize(
    ("shape", "settings", "text", "proj_dim"),
    [
        ((5, 8, 24), {"rho": 0.3}, "gaussian", 12),
        ((5, 8, 24), {"rho": 0.3, "block_rows": 8}, "gaussian:block_rows=8", 15),
        ((40, 24), RADEMACHER | {"block_rows": 4}, "rademacher:block_rows=4", 20),
        ((5, 8, 24), KRONECKER, "kronecker:block_rows=8", 12),
        ((1, 40, 24), KRONECKER, "kronecker:block_rows=40", 12),
        ((2, 4, 5, 24), KRONECKER | {"rho": 0.2}, "kronecker:block_rows=5", 8),
        ((40, 24), KRONECKER | {"block_rows": 10}, "kronecker:block_rows=10", 12),
        ((40, 24), KRONECKER | {"rho": 1.0}, "kronecker", 40),
        ((5, 0, 24), KRONECKER, "kronecker", 0),
    ],
)
def test_size_at_a_shape(shape, settings, text, proj_dim):
    """The size is one that S can have, and kronecker's block is the sequence."""
    assert SketchSettings.of(settings).at(torch.Size(shape)) == (proj_dim, text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sketch": "kronecker"}, r"needs block_rows, .* how 20 rows are batch × sequence; give"),
        ({"sketch": "kronecker", "block_rows": 6}, "must divide the rows, got 6 and 20 rows"),
        ({"block_rows": 8}, "must divide the rows, got 8 and 20 rows; choose one that divides"),
    ],
)
def test_inputs_that_are_no_blocks(settings, message):
    """An input that cannot be divided as asked is refused in training, and in training alone."""
    layer, x = RMMLinear(24, 16, rho=0.5, **settings), torch.randn(20, 24)
    with pytest.raises(ValueError, match=message):
        layer(x)
    assert layer.eval()(x).shape == (20, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": 0.0}, r"rho must be in \(0, 1\], got 0.0"),
        ({"rho": 1.5}, r"rho must be in \(0, 1\], got 1.5"),
        ({"rho": math.nan}, r"rho must be in \(0, 1\], got nan"),
        ({}, "exactly one of rho and proj_dim must be given, got rho=None and proj_dim=None"),
        ({"rho": 0.5, "proj_dim": 3}, "exactly one of rho and proj_dim"),
        ({"proj_dim": 0}, "proj_dim must be at least 1, got 0"),
        ({"rho": 0.5, "min_proj_dim": 0}, "min_proj_dim must be at least 1, got 0"),
        ({"rho": 0.5, "min_proj_dim": 9, "max_proj_dim": 3}, r"at least min_proj_dim \(9\), got 3"),
        ({"rho": 0.5, "sketch": "fft"}, "no sketch named 'fft'"),
        (
            {"rho": 0.5, "sketch": "gaussian:block_rows=4"},
            "no sketch named 'gaussian:block",
        ),
        ({"rho": 0.5, "sketch": "dct", "block_rows": 4}, "'dct' takes no block_rows, got 4"),
        ({"rho": 0.5, "block_rows": 0}, "block_rows must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    """Wrong settings are refused, with what was given, by function and layer alike."""
    with pytest.raises(ValueError, match=message):
        rmm_linear(torch.randn(20, 6), torch.randn(3, 6), **settings)
    with pytest.raises(ValueError, match=message):
        RMMLinear(6, 3, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": "0.5"}, r"rho must be a number in (0, 1], got '0.5'"),
        ({"rho": True}, "rho must be a number in (0, 1], got True"),
        (
            {"rho": torch.ones(2, 2)},
            "rho must be a number in (0, 1], got tensor([[1., 1.], [1., 1.]])",
        ),
        ({"proj_dim": 2.5}, "proj_dim must be a whole number, got 2.5"),
        ({"proj_dim": True}, "proj_dim must be a whole number, got True"),
        ({"rho": 0.5, "min_proj_dim": None}, "min_proj_dim must be a whole number, got None"),
        ({"rho": 0.5, "max_proj_dim": "8"}, "max_proj_dim must be a whole number, got '8'"),
        ({"rho": 0.5, "block_rows": 4.0}, "block_rows must be a whole number, got 4.0"),
        ({"rho": 0.5, "sketch": ["dct"]}, "sketch must be a name, got ['dct']"),
    ],
)
def test_settings_of_the_wrong_type(settings, message):
    """What is no number, or no whole one, is refused in a line by function, layer and convert."""
    model = nn.Sequential(nn.Linear(6, 3))
    for use in (
        lambda: rmm_linear(torch.randn(20, 6), torch.randn(3, 6), **settings),
        lambda: RMMLinear(6, 3, **settings),
        lambda: RMMLinear.from_linear(model[0], **settings),
        lambda: convert(model, **settings),
    ):
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            use()
    assert type(model[0]) is nn.Linear


def test_settings_of_no_such_name():
    """An unknown setting is told with the nearest there is, before anything is made or changed."""
    model, known = nn.Sequential(nn.Linear(6, 3)), ", ".join(SketchSettings().given())
    with pytest.raises(
        TypeError, match=f"^no setting named 'rank'; choose from: {known}, block_rows, include,"
    ):
        convert(model, rank=3)
    with pytest.raises(TypeError, match="named 'shared'; did you mean 'share'"):
        convert(model, rho=0.5, shared=False)
    with pytest.raises(TypeError, match="named 'proj_dims'; did you mean 'proj_dim'"):
        RMMLinear(6, 3, proj_dims=2)
    with pytest.raises(TypeError, match=r"^model must be a torch\.nn\.Module, got str$"):
        convert("gpt2", rho=0.5)
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("pattern", [3, False, ["0", 1], [nn.Linear]])
def test_patterns_must_be_text(pattern):
    """A pattern that is no text is refused, and nothing is changed."""
    model = nn.Sequential(nn.Linear(6, 3))
    for which in ("include", "exclude"):
        with pytest.raises(TypeError, match=r"patterns of layers must be text, such as .*, got "):
            convert(model, rho=0.5, **{which: pattern})
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("settings", [{"rho": np.float32(0.5)}, {"proj_dim": np.int64(10)}])
def test_settings_may_be_of_numpy(settings):
    """Numbers of NumPy's types are numbers."""
    layer = RMMLinear(6, 3, **settings)
    layer(torch.randn(20, 6)).sum().backward()
    assert layer.weight.grad.shape == (3, 6)
