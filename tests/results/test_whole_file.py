"""A file is written whole or not at all."""

import pytest

from rmmbench.results.whole_file import write_whole


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    """The content is new, folders are made, and no partial file stays."""
    file = tmp_path / "new" / "file.txt"
    for content in (b"first", b"second"):
        write_whole(file, content)
        assert file.read_bytes() == content
    assert list(file.parent.iterdir()) == [file]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    """If the last step fails, the old content stays, and the partial file goes."""
    file = tmp_path / "file.txt"
    file.write_bytes(b"old")

    def fail(*_):
        raise OSError("full")

    monkeypatch.setattr(type(file), "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
