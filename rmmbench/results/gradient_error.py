"""The error of a method's gradients."""

import math
import statistics
from typing import Literal

from pydantic import Field

from rmmbench.spec.ranges import NotNegative, Square
from rmmbench.spec.strict import Strict


class GradientError(Strict):
    """How far a method's weight gradients are from exact's, on the same batch and weights.

    Attributes:
        device: Where both were computed.
        errors: ‖Ĝ − G‖_F ÷ ‖G‖_F of each draw; G is the gradients of all parameters with two or
            more dimensions. Draws have the same dropout, and different randomness of the method.
        mean_error: The error of the draws' mean. For n draws of an unbiased method it is about
            n^−½ of a single draw's.
        variance: ‖Ĝ − G‖² of the weights of linear layers alone, mean over draws, in the square of
            the loss's unit; None if their D²_SGD is unknown, and in older records.
        sgd: D²_SGD of these weights by whole samples: the noise that their exact gradients have.
    """

    device: Literal["cuda", "cpu"]
    errors: tuple[NotNegative, ...] = Field(min_length=1)
    mean_error: NotNegative
    variance: Square | None = None
    sgd: Square | None = None

    @property
    def inflation(self) -> float | None:
        """1 + variance ÷ sgd: how many times as noisy gradients are; None if unknown."""
        return 1 + self.variance / self.sgd if self.variance is not None and self.sgd else None

    @property
    def error(self) -> float:
        """The mean over draws."""
        return statistics.fmean(self.errors)

    @property
    def spread(self) -> float | None:
        """The standard deviation over draws; None for a single one."""
        count, mean = len(self.errors), self.error
        if count < 2:
            return None
        return math.sqrt(math.fsum((error - mean) ** 2 for error in self.errors) / (count - 1))
