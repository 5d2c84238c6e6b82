"""A sketch: a random B × B_proj matrix S with E[S Sᵀ] = I that is never stored.

One test holds every sketch to one law: over the seeds, project(y)ᵀ project(x) has the mean yᵀx, and
its squared error ‖project(y)ᵀ project(x) − yᵀx‖²_F has the mean `variance`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from numbers import Integral
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from rmmbench.sketches._text import written

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

WORKSPACE_BYTES = 64 * 2**20
"""Most memory that `project` takes besides its input and its result, up to a million rows."""


class Moments(NamedTuple):
    """Sums of a layer's input X and output gradient Y, which determine the noise of its gradient.

    Attributes:
        a: ‖X‖²_F ‖Y‖²_F.
        g: ‖XᵀY‖²_F.
        d: Σ_i ‖x_i‖² ‖y_i‖² over the rows.
        g_samples: Σ_s ‖X_sᵀY_s‖²_F over the samples; the rows of a sample are consecutive.
        sampled: Σ‖x_i‖ · Σ‖x_i‖‖y_i‖², for rows that are drawn by their norm in X.
        a_blocks, g_blocks: The sums of each block's own a and g; a and g where there are no blocks.
        factors: The sums for a sketch along batch and sequence, which defines them.
    """

    a: float
    g: float
    d: float
    g_samples: float
    sampled: float
    a_blocks: float
    g_blocks: float
    factors: tuple[float, ...] = ()

    @classmethod
    def of(cls, x: "Tensor", y: "Tensor", block_rows: int | None = None) -> "Moments":
        """Return the moments of two tensors of shape (*, features); see `moment_sums`."""
        from rmmbench.sketches._sums import moment_sums

        return cls(*moment_sums(x, y, block_rows).tolist())

    def in_blocks(self) -> "Moments":
        """Return these moments with a and g replaced by those of the blocks."""
        return self._replace(a=self.a_blocks, g=self.g_blocks)

    def in_one(self) -> "Moments":
        """Return the moments for a sketch without blocks."""
        return self._replace(a_blocks=self.a, g_blocks=self.g)

    @property
    def signed(self) -> float:
        """P = a + g − 2d: the part of the error that remains if every row has a random sign."""
        # Below 0 only by rounding.
        return max(0.0, self.a + self.g - 2 * self.d)


class Sketch(ABC):
    """One kind of random matrix S.

    Attributes:
        settings: Its own settings by name.
        name: The registered name of this kind.
        text: What to give `sketches.get` for this sketch: "gaussian:block_rows=128".
        has_factors: Whether S is a product over batch × sequence; then `moments` takes B² work.
    """

    has_factors: ClassVar[bool] = False

    def __init__(self, **settings: object) -> None:
        """Take this kind's own settings, which `sketches.get` has checked."""
        self.settings = settings
        self.name = type(self).__module__.rpartition(".")[2].replace("_", "-")
        self.text = written(self.name, settings)

    @property
    def takes_any_rows(self) -> bool:
        """Whether there is an S for any number of rows."""
        return True

    def at(self, shape: "torch.Size") -> "Sketch":
        """Return this sketch for inputs of a shape (*, features); settings may follow from it.

        Raises:
            ValueError: If there is no S for this number of rows.
        """
        self.check_rows(math.prod(shape[:-1]))
        return self

    def draw(self, x: "Tensor", proj_dim: int, seed: "Tensor") -> "Tensor":
        """Return the key of S, with which `project` makes the same S again.

        The key is the seed, or a matrix if S depends on x.
        """
        return seed

    def new_key(self, x: "Tensor", proj_dim: int) -> "Tensor":
        """Return a tensor with the shape and type of a key."""
        import torch

        return x.new_empty((), dtype=torch.int64)

    def project(self, x: "Tensor", proj_dim: int, seed: "int | Tensor") -> "Tensor":
        """Return SᵀX for the S of shape (rows, proj_dim) that `seed` names.

        The same seed, rows and proj_dim give the same S for any x, and project(eye) is Sᵀ. (If a
        sketch depends on x, a key of `draw` names S, and a seed does not.) Not differentiable.

        Args:
            x: Shape (rows, features); float64, float32, bfloat16 or float16.
            proj_dim: Between 1 and rows.
            seed: A 64-bit integer, a tensor of one on x's device, or a key of `draw`.

        Returns:
            Shape (proj_dim, features), x's dtype, accumulated in float32 or better.

        Raises:
            TypeError: If x has another dtype, or proj_dim or the seed is not a whole number.
            ValueError: If x is not a matrix, or this sketch has no S of that size.
        """
        return self._with_key(self._project, x, proj_dim, seed)

    def project_and_sum(
        self, y: "Tensor", proj_dim: int, seed: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        """Return SᵀY and the sum of Y's rows (the bias gradient), in one pass where possible."""
        return self.project(y, proj_dim, seed), y.sum(0)

    def project_in_bits(
        self, x: "Tensor", proj_dim: int, key: "Tensor", bits: int, seed: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        """Return SᵀX in few bits, as `round_to_bits` does with a seed; in one pass if possible."""
        from rmmbench.kernels.rounding import round_to_bits

        return round_to_bits(self.project(x, proj_dim, key), bits, seed)

    def check_size(self, x: "Tensor", proj_dim: int) -> None:
        """Check that there is an S of proj_dim columns for x.

        Raises:
            TypeError: If x has no real floating-point numbers, or proj_dim is not whole.
            ValueError: If x is not a matrix, or proj_dim does not suit its rows.
        """
        if x.dim() != 2:
            raise ValueError(f"x must be a matrix (rows, features), got shape {tuple(x.shape)}")
        if not x.dtype.is_floating_point or x.dtype.itemsize == 1:
            given = str(x.dtype).removeprefix("torch.")
            raise TypeError(f"x must be of float64, float32, bfloat16, float16, got {given}")
        if not is_whole(proj_dim):
            raise TypeError(f"proj_dim must be a whole number, got {proj_dim!r}")
        rows = x.shape[0]
        if rows >= 2**31:
            raise ValueError(f"x must have fewer than 2**31 rows, got {rows}")
        if not 1 <= proj_dim <= rows:
            limit = f"between 1 and the {rows} rows of x"
            raise ValueError(f"proj_dim must be {limit}, got {proj_dim}")
        self.check_rows(rows)

    def check_rows(self, rows: int) -> None:  # noqa: B027 -- most take any number
        """Raise ValueError if there is no S for this number of rows."""

    def size_from(self, rows: int, wanted: int) -> int:
        """Return the smallest number of columns, from `wanted` on, that S can have."""
        return wanted

    def sums(self, x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the first seven `Moments` of X and Y, of shape (*, features), on their device."""
        from rmmbench.sketches._sums import moment_sums

        return moment_sums(x, y)

    def moments(self, x: "Tensor", y: "Tensor") -> Moments:
        """Return what `variance` needs of X and Y, of shape (*, features)."""
        return Moments(*self.sums(x, y).tolist())

    @abstractmethod
    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return E‖XᵀS SᵀY − XᵀY‖²_F in closed form from this sketch's `moments`."""

    def rounding(
        self, noise: "Callable[[int], float]", moments: Moments, rows: int, proj_dim: int
    ) -> float:
        """Return the noise that rounding x_proj to few bits adds to `variance`.

        Here each row of x_proj adds up all rows of X, as in a dense S or a transform.

        Args:
            noise: Returns it if each of B / m rows of x_proj is the signed sum of m rows.
            moments: As for `variance`.
            rows: B.
            proj_dim: Rows of x_proj.
        """
        return noise(rows) / proj_dim

    @abstractmethod
    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return the multiplications and additions of `project`, without those that make S."""

    @abstractmethod
    def _project(self, x: "Tensor", proj_dim: int, key: "Tensor") -> "Tensor":
        """Return SᵀX with all randomness from `key`, in WORKSPACE_BYTES besides the result."""

    def _with_key(
        self,
        apply: "Callable[[Tensor, int, Tensor], T]",
        x: "Tensor",
        proj_dim: int,
        seed: "int | Tensor",
    ) -> "T":
        """Return apply(x, proj_dim, key of S), outside of autograd and autocast."""
        import torch

        from rmmbench.kernels.launch import note_sketch

        self.check_size(x, proj_dim)
        kind = x.device.type
        # Entered only where it changes something: a context takes as long as a few rows.
        is_cast = torch._C._is_any_autocast_enabled() and torch.amp.is_autocast_available(kind)
        with torch.autocast(kind, enabled=False) if is_cast else nullcontext():
            x = x.detach() if x.requires_grad else x
            # A key that `draw` made is a matrix, and is used as it is.
            if isinstance(seed, torch.Tensor) and seed.ndim == 2:
                key = seed
            else:
                key = seed_tensor(seed, x.device)
            result = apply(x, proj_dim, self.draw(x, proj_dim, key))
        note_sketch(x)
        return result


def seed_tensor(seed: "int | Tensor", device: "torch.device") -> "Tensor":
    """Return a seed as an int64 tensor of shape (); a tensor stays on its device.

    Raises:
        TypeError: If it is neither an integer nor a tensor of one.
        ValueError: If it does not fit in 64 bits.
    """
    import torch

    if isinstance(seed, torch.Tensor):
        if seed.ndim == 0 and seed.dtype == torch.int64:
            return seed
        is_whole_number = not seed.is_floating_point() and not seed.is_complex()
        if seed.numel() != 1 or not is_whole_number or seed.dtype == torch.bool:
            given = f"{seed.dtype} of shape {tuple(seed.shape)}"
            raise TypeError(f"seed must be an integer or a tensor of one, got {given}")
        return seed.reshape(()).long()
    if not is_whole(seed):
        raise TypeError(f"seed must be an integer or a tensor of one, got {seed!r}")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed must be from -2**63 to 2**63 - 1, got {seed}")
    # `device` is given because the default may be another; a copy from the host would wait.
    return torch.full((), seed, dtype=torch.int64, device=device)


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number, Python's or NumPy's, but not a truth value."""
    # Most are Python's own, and asking an abstract class takes longer.
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
