"""In which direction a number gets worse."""

from typing import Final

from rmmbench.results.counts import COUNTS

SMALLER_IS_BETTER: Final = (
    *("peak_allocated_bytes", "reserved_bytes", "saved_bytes"),
    *COUNTS,
    *("gradient_error", "noise_inflation", "eval_loss"),
)
BIGGER_IS_BETTER: Final = (
    *("converted", "relative_throughput", "product_ratio", "samples_per_second"),
    *("train_samples_per_second",),
)


def is_worse(
    what: str, before: float | str, now: float | str, *, higher_is_better: bool | None = None
) -> bool:
    """Return whether a number, or a case's outcome, got worse.

    Args:
        what: A name of the two lists, "outcome", or "score".
        before: Its value in the baseline, or before a change.
        now: Its value now.
        higher_is_better: The direction of a score, which its metric decides.
    """
    if isinstance(before, str) or isinstance(now, str):
        # A case that now fails in another way is a change that somebody has to look at.
        return before != now and now != "ok"
    if higher_is_better is None:
        higher_is_better = what in BIGGER_IS_BETTER
    return now < before if higher_is_better else now > before
