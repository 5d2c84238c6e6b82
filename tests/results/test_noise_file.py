"""A noise file: what it averages, that it comes back whole, and how a wrong one is refused."""

import json

import pytest

from rmmbench.errors import Exit, NoiseFileError
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.noise_file import NoiseFile

SHAPES = {"first": (5, 6), "second": (5, 6)}
ABOUT = {"rmmbench": "1", "model": "mlp", "dtype": "float32"}


def noise_at(step, layer="first", scale=1.0, **changes):
    """Return the noise of a layer of eight rows at a step, with all its sums times a scale."""
    sums = {"a": 9.0, "g": 4.0, "d": 3.0, "g_samples": 3.5, "sampled": 8.0}
    sums = {name: value * scale for name, value in sums.items()}
    sums["rounding"] = {"8": (0.1 * scale, 0.2 * scale), "2": (1.0 * scale, 3.0 * scale)}
    of = {"step": step, "layer": layer, "rows": 8, "samples": 4, "proj_dim": 4, "variances": {}}
    return LayerNoise(**(of | sums | {"in_features": 6, "out_features": 5} | changes))


@pytest.fixture
def file():
    """Return the file of two layers, of which the first was watched twice."""
    noise = [noise_at(1), noise_at(1, "second"), noise_at(9, scale=3.0)]
    return NoiseFile.of(noise, ["first", "second", "third"], **ABOUT)


def refused(action):
    """Return the one line of a refusal, which exits as wrong usage."""
    with pytest.raises(NoiseFileError) as caught:
        action()
    assert caught.value.exit_code == Exit.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sums_are_averaged(file):
    """A step with three times the gradient's square weighs three times as much."""
    first = file.layers["first"]
    assert (first.steps, first.g, first.sampled) == (2, 8.0, 16.0)
    assert first.rounding["2"] == (2.0, 6.0)
    assert file.layers["second"].steps == 1
    assert (file.steps, file.never_ran) == ((1, 9), ("third",))


def test_only_batches_like_the_last_are_averaged():
    """The sums of a smaller batch are of another gradient, and stay out."""
    noise = [noise_at(1, scale=7.0, rows=4, samples=2), noise_at(2), noise_at(3)]
    layer = NoiseFile.of(noise, [], **ABOUT).layers["first"]
    assert (layer.steps, layer.rows, layer.g) == (2, 8, 4.0)


def test_comes_back_whole(file, tmp_path):
    """What is written is read again, every digit of it."""
    path = tmp_path / "new" / "noise.json"
    file.write(path)
    assert NoiseFile.read(path) == file


def test_no_noise_is_no_file():
    """Without a gradient there is nothing to write."""
    assert "none had" in refused(lambda: NoiseFile.of([], ["first"], **ABOUT))


def test_noise_of_an_older_version_is_refused():
    """Sums that were not gathered are not made up."""
    noise = [noise_at(1, sampled=None)]
    assert "an older version" in refused(lambda: NoiseFile.of(noise, [], **ABOUT))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda told: told | {"noise_version": 2}, "noise_version must be 1, got 2"),
        (lambda told: told | {"lairs": {}}, "lairs"),
        (lambda told: told | {"layers": {}}, "layers"),
        (lambda told: told | {"steps": []}, "steps must have at least one value"),
        (lambda told: {k: v for k, v in told.items() if k != "model"}, "model must be given"),
    ],
)
def test_another_file_is_refused(file, tmp_path, damage, told):
    """Each fault is named in one line, with what to do."""
    path = tmp_path / "noise.json"
    path.write_text(json.dumps(damage(json.loads(file.model_dump_json()))))
    message = refused(lambda: NoiseFile.read(path))
    assert told in message
    assert "variance --save" in message


def test_a_torn_file_is_refused(file, tmp_path):
    """Half a file is not JSON; no file and a folder cannot be read."""
    path = tmp_path / "noise.json"
    path.write_text(file.model_dump_json()[:-20])
    assert "is not JSON" in refused(lambda: NoiseFile.read(path))
    assert "cannot be read" in refused(lambda: NoiseFile.read(tmp_path / "none"))
    assert "cannot be read" in refused(lambda: NoiseFile.read(tmp_path))


def test_another_model_is_refused(file):
    """Which names and shapes differ is said, and why a layer may have no noise."""
    file.check_layers(SHAPES)
    other = refused(lambda: file.check_layers(SHAPES | {"first": (5, 7)}))
    assert "'first'" in other
    assert "(5, 6) in the file and (5, 7) in the model" in other
    assert "'third' had no gradient" in refused(lambda: file.check_layers({"third": (1, 2)}))
    many = {f"layer{number}": (1, 2) for number in range(5)}
    assert "'layer2' and 2 more layers" in refused(lambda: file.check_layers(SHAPES | many))


def test_another_batch_size_changes_what_it_must(file):
    """Noise of samples goes by 1/n, what the signal is stays; a length that differs is refused."""
    told = file.model_copy(update={"batch_size": 4, "seq_len": 2})
    assert told.for_batch(4, 2) is told.for_batch(None, None) is told
    before, after = (each.layers["first"] for each in (told, told.for_batch(16, 2)))
    assert (after.samples, after.rows) == (16, 32)
    assert after.sgd_by_samples == pytest.approx(before.sgd_by_samples / 4)
    assert after.d == pytest.approx(before.d / 4)
    assert after.rounding["2"][0] == pytest.approx(before.rounding["2"][0] / 4)
    assert after.a == before.a
    assert "2 tokens" in refused(lambda: file.model_copy(update={"seq_len": 3}).for_batch(4, 2))
    alone = NoiseFile.of([noise_at(1, samples=1)], [], **ABOUT, batch_size=1)
    assert "two samples or more" in refused(lambda: alone.for_batch(4, None))
