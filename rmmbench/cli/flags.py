"""What the flags of several commands have in common."""

from rmmbench.errors import UsageError


def words(given: list[str] | None) -> tuple[str, ...]:
    """Return the values of a flag that is repeated or separated by commas."""
    return tuple(word.strip() for text in given or () for word in text.split(",") if word.strip())


def numbers(flag: str, given: list[str] | None, kind: type[int] | type[float]) -> tuple[float, ...]:
    """Return the numbers among the values of a flag.

    Raises:
        UsageError: If one is no number of that kind.
    """
    try:
        return tuple(kind(word) for word in words(given))
    except ValueError:
        noun = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{flag} must be {noun}, got '{','.join(given or ())}'") from None
