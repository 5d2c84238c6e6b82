"""What a sketch is: a random B × B_proj matrix S with E[S Sᵀ] = I that is never stored.

One law holds for all, and one test holds them to it: over the seeds, project(y)ᵀ project(x) has the
mean yᵀx, and its squared error ‖project(y)ᵀ project(x) − yᵀx‖²_F has the mean `variance`.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WORKSPACE_BYTES = 64 * 2**20
"""What `project` may hold beside its input and its result, up to a million rows."""


class Moments(NamedTuple):
    """The three sums of X and Y that tell every sketch's variance.

    Attributes:
        a: ‖X‖²_F ‖Y‖²_F.
        g: ‖XᵀY‖²_F.
        d: Σ_i ‖x_i‖² ‖y_i‖² over the rows.
    """

    a: float
    g: float
    d: float

    @classmethod
    def of(cls, x: "Tensor", y: "Tensor") -> "Moments":
        """Return the moments of two matrices of shape (rows, features), summed in float64."""
        x, y = x.double(), y.double()
        x_norms, y_norms = x.square().sum(1), y.square().sum(1)
        a = x_norms.sum() * y_norms.sum()
        return cls(a.item(), (x.T @ y).square().sum().item(), (x_norms @ y_norms).item())

    @property
    def signed(self) -> float:
        """P = a + g − 2d: what is left of the error once every row has a random sign."""
        return self.a + self.g - 2 * self.d


class Sketch(ABC):
    """One kind of random matrix S."""

    def project(self, x: "Tensor", proj_dim: int, seed: "int | Tensor") -> "Tensor":
        """Return SᵀX for the S of shape (rows, proj_dim) that `seed` names.

        The same seed, rows and proj_dim give the same S for any x on one device. project(eye) is
        Sᵀ. Not differentiable.

        Args:
            x: Shape (rows, features), of any floating-point dtype.
            proj_dim: Between 1 and rows.
            seed: An integer, or a tensor of one on the CPU (one on the GPU would stop the stream).

        Returns:
            Shape (proj_dim, features), x's dtype, accumulated in float32 or better.

        Raises:
            ValueError: If x is not a matrix or proj_dim is not between 1 and rows.
        """
        import torch

        if x.dim() != 2:
            raise ValueError(f"x must be a matrix (rows, features), got shape {tuple(x.shape)}")
        if not 1 <= proj_dim <= x.shape[0]:
            limit = f"between 1 and the {x.shape[0]} rows of x"
            raise ValueError(f"proj_dim must be {limit}, got {proj_dim}")
        generator = torch.Generator(x.device).manual_seed(int(seed))
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return self._project(x, proj_dim, generator)

    @abstractmethod
    def _project(self, x: "Tensor", proj_dim: int, generator: "torch.Generator") -> "Tensor":
        """Return SᵀX, all randomness from `generator`, in WORKSPACE_BYTES beside the result."""

    @abstractmethod
    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return E‖XᵀS SᵀY − XᵀY‖²_F in closed form."""
