"""How far the gradients of a method are from exact's."""

import math
import statistics
from typing import Literal

from pydantic import Field

from rmmbench.spec.ranges import NotNegative
from rmmbench.spec.strict import Strict


class GradientError(Strict):
    """How far a method's weight gradients are from exact's, on the same batch and weights.

    Attributes:
        device: Where both were computed.
        errors: Of each draw, ‖Ĝ − G‖_F ÷ ‖G‖_F, G all parameters' gradients of two or more
            dimensions together. Dropout is drawn alike; what the method draws is not.
        mean_error: The same of the draws' mean: of an unbiased method's n draws about n^−½ of one.
    """

    device: Literal["cuda", "cpu"]
    errors: tuple[NotNegative, ...] = Field(min_length=1)
    mean_error: NotNegative

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
