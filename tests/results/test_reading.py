"""What files say is read strictly, and whatever is wrong with one is told in a line."""

import os

import pytest

from rmmbench.errors import RunError
from rmmbench.results.reading import content_of, lines_of


@pytest.mark.parametrize("read", [content_of, lambda file: list(lines_of(file))])
def test_only_files_are_read(tmp_path, read):
    """Nothing waits for a pipe, and a directory is told as something else than a file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(RunError, match=f"{name} must be a file, and is something else"):
            read(tmp_path / name)


def test_what_is_not_there_is_nothing(tmp_path):
    """Where no file is there is no content, and a link to nowhere is no file."""
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("none", "link", "loop"):
        assert content_of(tmp_path / name) is None
        assert list(lines_of(tmp_path / name)) == []


def test_a_line_ends_with_its_newline(tmp_path):
    """Only what was written to its end is a line."""
    (tmp_path / "file").write_bytes(b"a\n\nb\nc")
    assert list(lines_of(tmp_path / "file")) == [b"a", b"", b"b"]
