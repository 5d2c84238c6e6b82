"""Checks briefly whether the Hugging Face hub answers; its own clients try for minutes."""

from collections.abc import Iterator
from contextlib import contextmanager

import datasets
import huggingface_hub
from huggingface_hub import constants

_SECONDS = 5.0


def answers() -> bool:
    """Return whether the hub answers within seconds; False in its offline mode."""
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception:  # the HTTP library differs between versions, and so does its error
        return False
    return True


@contextmanager
def without() -> Iterator[None]:
    """Let `datasets` use only its cache; else it keeps asking a hub that does not answer."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
