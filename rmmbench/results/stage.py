"""What a case's process says that it does."""


class Stage(str):
    """What is being done, in words.

    Attributes:
        share: How much of it is done, from 0 to 1; None if that is not known.
    """

    share: float | None = None

    @classmethod
    def of(cls, words: str, share: float | None) -> "Stage":
        """Return a stage of which some is done."""
        stage = cls(words)
        stage.share = share
        return stage
