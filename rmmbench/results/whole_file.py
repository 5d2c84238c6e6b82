"""Writes a file whole or not at all."""

from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file and make the folders around it; an old file stays until the new one is whole.

    Raises:
        OSError: If it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        if partial.is_file():
            partial.unlink()
