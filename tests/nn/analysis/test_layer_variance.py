"""The noise of sketch and rounding together, in closed form and beside draws of both."""

import math
import statistics

import pytest
import torch

from rmmbench import sketches
from rmmbench.kernels.rounding import restored, round_to_bits, rounding_variance
from rmmbench.measures.gradient.rounding_terms import rounding_noise, rounding_ratios
from rmmbench.nn.analysis.layer_variance import layer_variance
from rmmbench.results.layer_sums import BITS, LayerSums
from rmmbench.sketches.sketch import Moments

ROWS, FEATURES, OUTPUTS, DRAWS = 96, 130, 20, 150


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


@pytest.fixture(scope="module")
def layer():
    """Return X and Y whose rows have something in common and differ in size, as in a model."""
    random = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(ROWS, width, generator=random) + torch.randn(width, generator=random)
        for width in (FEATURES, OUTPUTS)
    )
    scale = torch.linspace(0.5, 2.0, ROWS).unsqueeze(1)
    x[:, 3] *= 8  # a feature that stands out, as models have
    return x * scale, y * scale.flip(0)


@pytest.fixture(scope="module")
def sums(layer):
    """Return the sums of the layer."""
    return sums_of(*layer)


def sums_of(x, y):
    """Return all sums of X and Y."""
    moments = Moments.of(x, y)
    five = dict(zip(Moments._fields[:5], moments, strict=False))
    rounding = rounding_noise(rounding_ratios(x, y), len(x), moments)
    return LayerSums(rows=len(x), samples=len(x), rounding=rounding, **five)


@pytest.mark.parametrize("bits", [None, *BITS])
@pytest.mark.parametrize("proj_dim", [ROWS, 77, 32, 9])
def test_agrees_with_draws(layer, sums, proj_dim, bits):
    """The mean squared error over draws of S and of the rounding is the closed form's."""
    if proj_dim == ROWS and bits is None:
        assert layer_variance(sums, "oporp", proj_dim, None) == 0
        return
    x, y = layer
    exact, errors = y.T @ x, []
    for seed in range(DRAWS):
        both = torch.cat([x, y], dim=1)
        if proj_dim < ROWS:
            both = sketches.get("oporp").project(both, proj_dim, seed)
        x_proj, y_proj = both.tensor_split([FEATURES], dim=1)
        if bits:
            kept = round_to_bits(x_proj, bits, torch.tensor(seed))
            x_proj = restored(*kept, FEATURES, bits, x.dtype)
        errors.append((y_proj.T @ x_proj - exact).square().sum().item())
    expected = layer_variance(sums, "oporp", proj_dim, bits)
    standard_error = statistics.stdev(errors) / math.sqrt(DRAWS)
    # What rounding adds is itself estimated, to a few percent.
    slack = 0.1 * (expected - layer_variance(sums, "oporp", proj_dim, None))
    assert abs(statistics.fmean(errors) - expected) < 4 * standard_error + slack


@pytest.mark.parametrize("name", sorted({*sketches.names()} - {"kronecker"}))
def test_rounding_of_every_sketch(layer, sums, name):
    """What rounding adds, given S, is the closed form's in the mean over S: to a tenth, at ρ ⅓."""
    sketch, both = sketches.get(name), torch.cat(layer, dim=1)
    for bits in BITS:
        terms = []
        for seed in range(40):
            key = sketch.draw(layer[0], 32, torch.tensor(seed))
            z, w = sketch.project(both, 32, key).tensor_split([FEATURES], dim=1)
            terms.append(rounding_variance(z, w, bits))
        found = layer_variance(sums, name, 32, bits) - layer_variance(sums, name, 32, None)
        standard_error = statistics.stdev(terms) / math.sqrt(len(terms))
        assert abs(found - statistics.fmean(terms)) < 4 * standard_error + 0.1 * found


def test_more_bits_and_more_rows_add_less(sums):
    """Noise falls in both, as a planner relies on."""
    for proj_dim in (9, 32, 77, ROWS):
        eight, four, two = (layer_variance(sums, "oporp", proj_dim, bits) for bits in BITS)
        assert eight < four < two
    for bits in (None, *BITS):
        noise = [layer_variance(sums, "oporp", k, bits) for k in (9, 32, 77, ROWS)]
        assert noise == sorted(noise, reverse=True)


@pytest.mark.parametrize("name", ["kronecker", "gaussian:block_rows=8"])
def test_a_sketch_without_a_closed_form_is_refused(sums, name):
    """What does not follow from the sums is not guessed."""
    with pytest.raises(ValueError, match="follows from a layer's sums"):
        layer_variance(sums, name, 32, None)


def test_a_few_rows():
    """Three rows have sums of one, two and three rows; a sketch of them needs no more."""
    x, y = torch.randn(3, 70), torch.randn(3, 5)
    sums = sums_of(x, y)
    assert len(sums.rounding["4"]) == 3
    assert layer_variance(sums, "gaussian", 1, 4) > layer_variance(sums, "gaussian", 1, None)
