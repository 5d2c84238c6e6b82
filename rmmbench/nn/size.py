"""The settings of a sketch: which one, how many columns S has, and in how many bits it is kept."""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import NamedTuple

import torch

from rmmbench import sketches
from rmmbench.errors import did_you_mean
from rmmbench.kernels.levels import BITS, row_bytes
from rmmbench.sketches.sketch import Sketch
from rmmbench.spec.printable import printable


class Keeping(NamedTuple):
    """What is kept of an input of some shape.

    Attributes:
        proj_dim: Rows that are kept.
        sketch: As `sketches.get` takes it; empty if they are the input's own.
        bits: Of a number; None for all.
        principal: Features of which an exact part is kept; None for none.
    """

    proj_dim: int
    sketch: str
    bits: int | None
    principal: int | None = None

    def size_bytes(self, rows: int, width: int, itemsize: int) -> int:
        """Return the bytes of so many rows and features: of what is kept, and of the key of S."""
        numbers = width * itemsize if self.bits is None else row_bytes(width, self.bits)
        empty = torch.empty(0, device="meta")
        key = sketches.get(self.sketch).new_key(empty, self.proj_dim).nbytes if self.sketch else 8
        exact = 2 * (self.principal or 0) * (rows + width)
        return int(self.proj_dim * numbers + key + exact)


class SketchSettings(NamedTuple):
    """Which sketch, and how large.

    Attributes:
        sketch: A registered name.
        rho: Compression rate proj_dim / rows, in (0, 1].
        proj_dim: The projection dimension itself, instead of rho.
        min_proj_dim: The least projection dimension, unless there are fewer rows.
        max_proj_dim: The greatest projection dimension.
        own: The sketch's own settings, by name.
        bits: In how many bits a number of SᵀX is kept; None for all that it has. With ρ = 1 it is X
            itself that is rounded.
        principal: Principal features, whose part of the gradient is exact; None for none.
    """

    sketch: str = "gaussian"
    rho: float | None = None
    proj_dim: int | None = None
    min_proj_dim: int = 1
    max_proj_dim: int | None = None
    own: tuple[tuple[str, object], ...] = ()
    # Models that were pickled before there were bits have a tuple that ends here.
    bits: int | None = None
    principal: int | None = None

    @classmethod
    def of(cls, settings: Mapping[str, object], beside: Iterable[str] = ()) -> "SketchSettings":
        """Return checked settings from a mapping.

        Args:
            settings: By name: this class's attributes and the sketch's own settings.
            beside: Other arguments of the caller, which an unknown name may have meant.

        Raises:
            TypeError: If a setting does not exist or has the wrong type.
            ValueError: See `checked`.
        """
        sizes = {name: value for name, value in settings.items() if name in _SIZES}
        if sizes.get("bits") is not None and sizes.get("rho") is sizes.get("proj_dim") is None:
            sizes["rho"] = 1
        own = {name: value for name, value in settings.items() if name not in _SIZES}
        if own:
            _check_names(sizes.get("sketch", "gaussian"), tuple(own), tuple(beside))
        own_given = tuple((name, value) for name, value in own.items() if value is not None)
        return cls(**sizes, own=own_given).checked()  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """The sketch and its own settings as text, for `sketches.get`."""
        return sketches.written(self.sketch, dict(self.own)) if self.own else self.sketch

    def given(self) -> dict[str, object]:
        """Return all settings by name, for `of`."""
        return {**{name: getattr(self, name) for name in _SIZES}, **dict(self.own)}

    def in_words(self) -> str:
        """Return the sketch and all that differs from the defaults: "sketch=oporp, rho=0.5"."""
        given, usual = self.given(), self._field_defaults
        return ", ".join(f"{k}={v}" for k, v in given.items() if k == "sketch" or v != usual.get(k))

    def changed(self, settings: Mapping[str, object], beside: Iterable[str]) -> "SketchSettings":
        """Return these settings with some replaced; rho replaces proj_dim, and the other way round.

        Raises:
            TypeError: See `of`.
            ValueError: See `checked`.
        """
        before = self.given()
        if {"rho", "proj_dim"} & set(settings):
            before |= {"rho": None, "proj_dim": None}
        return self.of({**before, **settings}, beside)

    def checked(self) -> "SketchSettings":
        """Return these settings if they make sense.

        Raises:
            TypeError: If a setting has the wrong type.
            ValueError: If the sketch is unknown or has no such setting, not exactly one of rho and
                proj_dim is given, or a number is out of its range.
        """
        self._check_types()
        _load(self.sketch, self.text)
        if (self.rho is None) == (self.proj_dim is None):
            given = f"rho={self.rho} and proj_dim={self.proj_dim}"
            raise ValueError(f"exactly one of rho and proj_dim must be given, got {given}")
        if self.rho is not None and not 0 < self.rho <= 1:
            raise ValueError(f"rho must be in (0, 1], got {self.rho}")
        if self.proj_dim is not None and self.proj_dim < 1:
            raise ValueError(f"proj_dim must be at least 1, got {self.proj_dim}")
        if self.min_proj_dim < 1:
            raise ValueError(f"min_proj_dim must be at least 1, got {self.min_proj_dim}")
        if self.max_proj_dim is not None and self.max_proj_dim < self.min_proj_dim:
            limit = f"at least min_proj_dim ({self.min_proj_dim})"
            raise ValueError(f"max_proj_dim must be {limit}, got {self.max_proj_dim}")
        if self.bits is not None and self.bits not in BITS:
            raise ValueError(f"bits must be 8, 4, 2 or None, got {self.bits}")
        if self.principal is not None and self.principal < 1:
            raise ValueError(f"principal must be at least 1 or None, got {self.principal}")
        return self

    def _check_types(self) -> None:
        if not isinstance(self.sketch, str):
            raise TypeError(f"sketch must be a name, got {_shown(self.sketch)}")
        if self.rho is not None and not _is_a(self.rho, Real):
            raise TypeError(f"rho must be a number in (0, 1], got {_shown(self.rho)}")
        whole = {"proj_dim": self.proj_dim, "max_proj_dim": self.max_proj_dim, "bits": self.bits}
        whole |= {"principal": self.principal}
        given = {name: value for name, value in whole.items() if value is not None}
        for name, value in {**given, "min_proj_dim": self.min_proj_dim}.items():
            if not _is_a(value, Integral):
                raise TypeError(f"{name} must be a whole number, got {_shown(value)}")

    def at(self, shape: torch.Size) -> tuple[int, str]:
        """Return proj_dim, at most the rows, and the sketch's text for an input of `shape`.

        Raises:
            ValueError: If the sketch cannot take an input of this shape.
        """
        rows = math.prod(shape[:-1])
        proj_dim = self.proj_dim_for(rows)
        if not 0 < proj_dim < rows:
            return proj_dim, self.text
        sketch = self._sketch().at(shape)
        return sketch.size_from(rows, proj_dim), sketch.text

    def keeping(self, shape: torch.Size) -> Keeping | None:
        """Return what is kept of an input of `shape`; None for the input itself.

        Bits are left out where a row of so few features would take no less than in 16 bits.

        Raises:
            ValueError: If the sketch cannot take an input of this shape.
        """
        proj_dim, sketch = self.at(shape)
        bits = self.bits
        if bits is not None and row_bytes(shape[-1], bits) >= 2 * shape[-1]:
            bits = None
        principal = None if self.principal is None else min(self.principal, shape[-1])
        if proj_dim < math.prod(shape[:-1]):
            return Keeping(proj_dim, sketch, bits, principal)
        return None if bits is None or proj_dim == 0 else Keeping(proj_dim, "", bits, principal)

    def _sketch(self) -> Sketch:
        if not torch.compiler.is_compiling():
            return sketches.get(self.text)
        # A compiler cannot trace the checks of settings and the cache of sketches.
        _load(self.sketch, self.text)
        return sketches.SKETCHES.get(self.sketch)(**dict(self.own))

    def proj_dim_for(self, rows: int) -> int:
        """Return min(rows, clamp(ceil(rho · rows), min_proj_dim, max_proj_dim)); 0 for no rows."""
        wanted = self.proj_dim
        if self.rho is not None:
            # A dict's key is a constant to torch.compile. With dynamic=True rho would be a symbol,
            # which the autograd function cannot take.
            (rho,) = {self.rho: None}
            wanted = math.ceil(rho * rows)
        assert wanted is not None
        wanted = max(wanted, self.min_proj_dim)
        if self.max_proj_dim is not None:
            wanted = min(wanted, self.max_proj_dim)
        return min(rows, wanted)


_SIZES = tuple(name for name in SketchSettings._fields if name != "own")


def _is_a(value: object, kind: type) -> bool:
    # True is a number to Python.
    return isinstance(value, (kind, torch.SymInt)) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return printable(repr(value), 80)


# A compiler runs these once and takes their results as constants: it cannot trace pydantic.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _load(name: str, text: str) -> bool:
    """Check a sketch's name and settings, and import its file."""
    sketches.SKETCHES.check(name)
    sketches.get(text)
    return True


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _check_names(sketch: object, names: tuple[str, ...], beside: tuple[str, ...]) -> bool:
    """Raise TypeError if there is no setting of one of the names."""
    own = sketches.settings_of(sketch).model_fields if sketch in sketches.names() else ()
    every = {name for each in sketches.names() for name in sketches.settings_of(each).model_fields}
    for name in names:
        if name not in every:
            known = [*_SIZES, *own, *beside]
            choice = f"{did_you_mean(name, known)}; choose from: {', '.join(known)}"
            raise TypeError(f"no setting named '{printable(name)}'{choice}")
    return True
