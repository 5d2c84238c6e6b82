"""Sketches drawn at a real step of training: their squared error is their closed form's."""

from functools import cache

import pytest
import torch

from rmmbench import models, sketches
from rmmbench.measures.gradient.drawing import Point, draw_noise
from rmmbench.measures.gradient.watching import NoiseWatch
from rmmbench.spec.case import Case

LAYER = "roberta.encoder.layer.1.attention.output.dense"


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


@cache
def point():
    """Return X and Y of a step of roberta-tiny, as the watch hands them over."""
    torch.manual_seed(0)
    case = Case(model="roberta-tiny", task="cola", batch_size=4, seq_len=16)
    built = models.build(case)
    with NoiseWatch(built.model.train(), LAYER) as watch:
        watch.capture(LAYER, 1)
        built.model(**built.make_batch()).loss.backward()
    return watch.captured


@pytest.mark.parametrize("sketch", sketches.names())
def test_measured_is_the_closed_form(sketch):
    """Of every sketch the mean squared error is the predicted one, within 4 standard errors."""
    found = draw_noise(point(), names=[sketch], rates=[0.2, 0.5])
    assert [noise.rho for noise in found] == [0.2, 0.5]
    for noise in found:
        assert (noise.sketch, noise.layer, noise.step, noise.draws) == (sketch, LAYER, 1, 200)
        # Transforms whose entries differ in size meet their form to a relative 1 / rows.
        slack = noise.predicted / 64 if sketch in ("dct", "dft") else 0
        # Few columns now and then make a large error, or the mean of 200 would say more.
        assert 0 < noise.standard_error < 0.2 * noise.predicted
        assert abs(noise.measured - noise.predicted) <= 4 * noise.standard_error + slack
        gradient = point().x.flatten(0, 1).T @ point().y.flatten(0, 1)
        assert noise.exact == pytest.approx(gradient.square().sum().item(), rel=1e-4)


@pytest.mark.parametrize("sketch", ["oporp", "gaussian", "rows"])
@pytest.mark.parametrize("bits", [8, 2])
def test_measured_with_rounding_is_the_closed_form(sketch, bits):
    """With x_proj in few bits the mean squared error is that of sketch and rounding together."""
    (noise,) = draw_noise(point(), names=[sketch], rates=[0.5], bits=bits)
    (plain,) = draw_noise(point(), names=[sketch], rates=[0.5], draws=2)
    assert noise.bits == bits
    assert noise.predicted > plain.predicted
    # What rounding adds is an estimate, to a few percent.
    slack = 0.1 * (noise.predicted - plain.predicted)
    assert abs(noise.measured - noise.predicted) <= 4 * noise.standard_error + slack


def test_all_sketches_at_all_rates():
    """By default every registered sketch is drawn at every rate that leaves rows out."""
    found = draw_noise(point(), draws=2, rates=[0.1, 1.0])
    assert [noise.sketch for noise in found] == sketches.names()


def test_a_matrix_has_no_sequence():
    """A sketch along batch and sequence is left out where there is no sequence."""
    flat = Point(LAYER, 1, point().x.flatten(0, 1), point().y.flatten(0, 1))
    assert draw_noise(flat, names=["kronecker"], rates=[0.5], draws=2) == []


def test_seeds():
    """The same seed draws the same, another one something else."""
    first, again = (draw_noise(point(), names=["rows"], rates=[0.5], draws=5) for _ in range(2))
    other = draw_noise(point(), names=["rows"], rates=[0.5], draws=5, seed=5)
    assert first == again
    assert first[0].measured != other[0].measured
    with pytest.raises(ValueError, match="draws must be at least 2, got 1"):
        draw_noise(point(), draws=1)
