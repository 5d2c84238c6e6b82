"""A noise file: how noisy the weight gradients of a model's layers are, for planning with it."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from rmmbench.errors import NoiseFileError
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.layer_sums import LayerSums
from rmmbench.results.record import Record
from rmmbench.results.whole_file import write_whole
from rmmbench.spec.printable import printable
from rmmbench.spec.ranges import Count, Line, Square, Whole
from rmmbench.spec.strict import Strict, complaint

VERSION: Final = 1

_OF_CASE = ("model", "task", "batch_size", "seq_len", "dtype")

# Names of layers in a message.
_SHOWN = 3


class WatchedLayer(LayerSums):
    """The sums of one layer, averaged over the steps that were watched.

    Sums are averaged, not ratios of them: D² ÷ g is then the noise of all those steps together ÷
    the signal of all, in which a step with a small gradient does not weigh more than another.

    Attributes:
        steps: How many steps the sums are the mean of: those with as many rows as the last one.
    """

    steps: Count
    sampled: Square
    in_features: Count
    out_features: Count


class NoiseFile(Strict):
    """What is known of the gradient noise of a model; `read` and `write` it as JSON.

    Attributes:
        rmmbench: The version that wrote it.
        model: Its name.
        task: What it was trained on.
        batch_size, seq_len: Of a batch, where they are known.
        dtype: As in a case.
        steps: The optimizer steps that were watched.
        layers: By qualified name.
        never_ran: The watched layers whose weight had no gradient in any of these steps.
    """

    noise_version: Literal[1] = VERSION
    rmmbench: Line
    model: Line
    task: Line | None = None
    batch_size: Count | None = None
    seq_len: Count | None = None
    dtype: Line
    steps: Annotated[tuple[Whole, ...], Field(min_length=1)]
    layers: Annotated[dict[Line, WatchedLayer], Field(min_length=1)]
    never_ran: tuple[Line, ...] = ()

    @classmethod
    def of(
        cls, noise: Sequence[LayerNoise], watched: Iterable[str], **about: object
    ) -> "NoiseFile":
        """Return what the noise of layers at some steps amounts to.

        Args:
            noise: In order of steps.
            watched: The names of layers that were watched, if only those without noise.
            about: The other fields: rmmbench, model, dtype …

        Raises:
            NoiseFileError: If there is no noise, or it is from a version that gathered less.
        """
        layers = averaged(noise)
        if not layers:
            need = "a watched layer must have had a gradient in a watched step, and none had"
            raise NoiseFileError(f"{need}; watch other layers, or more steps")
        return cls.model_validate(
            {
                "steps": tuple(sorted({each.step for each in noise})),
                "layers": layers,
                "never_ran": tuple(name for name in watched if name not in layers),
                **about,
            }
        )

    @classmethod
    def of_record(cls, record: Record) -> "NoiseFile":
        """Return what the noise of a record's training amounts to.

        Raises:
            NoiseFileError: See `of`.
        """
        case, training = record.case, record.training
        noise, silent = (training.noise, training.never_ran) if training else ((), ())
        about = {name: getattr(case, name) for name in _OF_CASE}
        return cls.of(noise, silent, rmmbench=record.environment.rmmbench, **about)

    @classmethod
    def read(cls, path: Path) -> "NoiseFile":
        """Read a file.

        Raises:
            NoiseFileError: If it cannot be read, or is no noise file of this version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise NoiseFileError(f"{path} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
        hint = "write it again with `rmmbench variance --save`"
        if fault["type"] == "json_invalid":
            raise NoiseFileError(f"{path} is not JSON; {hint}")
        place = printable(".".join(map(str, fault["loc"])) or "it", 200)
        raise NoiseFileError(f"{path} is not a noise file: {place}{complaint(fault)}; {hint}")

    def write(self, path: Path) -> None:
        """Write a file, whole or not at all.

        Raises:
            NoiseFileError: If it cannot be written.
        """
        try:
            write_whole(path, self.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise NoiseFileError(f"{path} cannot be written: {error.strerror}") from None

    def for_batch(self, batch_size: int | None, seq_len: int | None) -> "NoiseFile":
        """Return the file as it would be with another batch size.

        Args:
            batch_size: Samples of a batch; None where it is not known, which changes nothing.
            seq_len: Tokens of a sample; None likewise.

        Raises:
            NoiseFileError: If samples are of another length, or one sample was watched at a time.
        """
        if None not in (seq_len, self.seq_len) and seq_len != self.seq_len:
            need = f"a noise file must be of samples of {seq_len} tokens, got {self.seq_len}"
            why = "how noise goes with length does not follow from its sums"
            raise NoiseFileError(f"{need}; {why}; write one with --seq-len {seq_len}")
        if batch_size is None or self.batch_size in (None, batch_size):
            return self
        times = batch_size / self.batch_size
        try:
            layers = {
                name: layer.for_samples(max(1, round(layer.samples * times)))
                for name, layer in self.layers.items()
            }
        except ValueError as error:
            need = f"a noise file must be of batch {batch_size}, or of two samples or more"
            raise NoiseFileError(f"{need}: {error}; write one with a larger batch") from None
        return self.model_copy(update={"layers": layers, "batch_size": batch_size})

    def check_layers(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        """Check that the file is of a model.

        Args:
            shapes: (out_features, in_features) of the linear layers that need noise, by name.

        Raises:
            NoiseFileError: If a layer has another shape in the file or is not there.
        """
        is_of = f"the noise file is of {self.model}"
        known = {name: (each.out_features, each.in_features) for name, each in self.layers.items()}
        other = [name for name, shape in shapes.items() if known.get(name, shape) != shape]
        if other:
            name = other[0]
            differ = f"{_named(other)} must have the same shape in both"
            got = f"{known[name]} in the file and {shapes[name]} in the model"
            raise NoiseFileError(f"{is_of}, not of this model: {differ}, got {got} for '{name}'")
        absent = [name for name in shapes if name not in known]
        silent = [name for name in absent if name in self.never_ran]
        if silent:
            fact = f"{_named(silent)} had no gradient while noise was watched"
            raise NoiseFileError(f"{is_of}, but {fact}; leave them out, or watch a step with them")
        if absent:
            has = f"has no noise of {_named(absent)}"
            raise NoiseFileError(f"{is_of}, and {has}; watch every layer with --layer '*'")


def averaged(noise: Iterable[LayerNoise]) -> dict[str, WatchedLayer]:
    """Return the sums of each layer by name, averaged over steps.

    Raises:
        NoiseFileError: If the noise is from a version that gathered less.
    """
    by_layer: dict[str, list[LayerNoise]] = {}
    for each in noise:
        by_layer.setdefault(each.layer, []).append(each)
    return {name: _averaged(name, some) for name, some in by_layer.items()}


def _averaged(name: str, noise: Sequence[LayerNoise]) -> WatchedLayer:
    last = noise[-1]
    if last.sampled is None or last.in_features is None:
        need = f"the noise of '{name}' must have all sums, but an older version gathered it"
        raise NoiseFileError(f"{need}; train and watch again")
    alike = [each for each in noise if (each.rows, each.samples) == (last.rows, last.samples)]
    sums = ("a", "g", "d", "g_samples", "sampled")
    told = {field: statistics.fmean(getattr(each, field) for each in alike) for field in sums}
    rounding = {
        bits: tuple(
            map(statistics.fmean, zip(*(each.rounding[bits] for each in alike), strict=True))
        )
        for bits in last.rounding
    }
    same = ("rows", "samples", "in_features", "out_features")
    kept = {field: getattr(last, field) for field in same}
    return WatchedLayer.model_validate({**kept, **told, "rounding": rounding, "steps": len(alike)})


def _named(names: Sequence[str]) -> str:
    """Return the first few names: "'a', 'b' and 3 more layers"."""
    first = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{first} and {more} more layers" if more > 0 else first
