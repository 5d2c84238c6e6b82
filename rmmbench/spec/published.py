"""The paper's printed numbers, as a profile holds them."""

from rmmbench.spec.ranges import Count, Finite, Name, NotNegative, Positive, Rho
from rmmbench.spec.strict import Strict


class Published(Strict):
    """A row of the paper in its own units, shown beside the measured one."""

    model: Name
    task: Name
    batch_size: Count | None = None
    method: Name | None = None
    sketch: Name | None = None
    rho: Rho | None = None
    peak_gib: Positive | None = None
    saved_percent: Finite | None = None
    score: Finite | None = None
    score_spread: NotNegative | None = None
    minutes: Positive | None = None
    source: Name
