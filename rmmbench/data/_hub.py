"""Whether the Hugging Face hub answers, asked once and briefly: its own clients try for minutes."""

from collections.abc import Iterator
from contextlib import contextmanager

import datasets
import huggingface_hub
from huggingface_hub import constants

_SECONDS = 5.0


def answers() -> bool:
    """Return whether the hub answers at all, within seconds; not where it is told to be offline."""
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception:  # the library that carries the request differs between versions
        return False
    return True


@contextmanager
def without() -> Iterator[None]:
    """Keep `datasets` to what it has stored; it would go on asking a hub that does not answer."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
