"""Noise from a file: the closed form of its layers, as a share of the whole gradient."""

import pytest

import rmmbench
from rmmbench.errors import NoiseFileError
from rmmbench.nn.analysis.layer_variance import layer_variance
from rmmbench.results.noise_file import NoiseFile
from rmmbench.running.planning.noise_terms import FromFile

LAYER = {
    "rows": 4096,
    "samples": 4096,
    "a": 3e4,
    "g": 2.0,
    "d": 9.0,
    "g_samples": 9.0,
    "sampled": 10.0,
    "steps": 1,
    "rounding": {bits: (noise,) * 6 for bits, noise in (("8", 1e-3), ("4", 0.1), ("2", 1.0))},
}
SHAPES = {f"layers.{i}": (512, 256 if i == 0 else 512) for i in range(3)} | {"layers.3": (10, 512)}


def file(shapes):
    """Return the noise file of a model with layers of these shapes."""
    layers = {
        name: LAYER | {"out_features": out, "in_features": inner}
        for name, (out, inner) in shapes.items()
    }
    about = {"rmmbench": "0", "model": "mlp", "dtype": "float32", "steps": [1]}
    return NoiseFile.model_validate(about | {"layers": layers})


def test_a_layers_share_is_of_all_layers_gradient():
    """D² of the layer ÷ ‖G‖² of all; SGD's own in the same measure."""
    noise = FromFile(file(SHAPES), "noise.json", "oporp")
    layer = noise._file.layers["layers.1"]
    for rho, bits, kept in ((0.5, None, 2048), (0.25, 8, 1024), (1.0, 4, 4096)):
        expected = layer_variance(layer, "oporp", kept, bits) / (4 * 2.0)
        assert noise.of("layers.1", rho, bits) == pytest.approx(expected)
    assert noise.sgd == pytest.approx(layer.sgd_by_samples / 2.0)
    assert "noise.json" in noise.by


def test_a_plan_takes_a_noise_file(tmp_path):
    """Noise inflation is known and limited; a file of another model is refused by its names."""
    path = tmp_path / "noise.json"
    about = {"batch_size": 4096, "quiet": True, "noise": path, "save": "12%"}
    file(SHAPES).write(path)
    plans = rmmbench.plan("mlp:256-512-512-512-10", max_inflation=3.0, **about)
    assert all(found.predicted.inflation <= 3.0 for found in plans.found)
    assert str(path) in plans.noise_by
    file({"head": (2, 8)}).write(path)
    with pytest.raises(NoiseFileError, match="'layers"):
        rmmbench.plan("mlp:256-512-512-512-10", **about)
