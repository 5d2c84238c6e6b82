"""What others wrote is printed on one line, harmless, and bounded."""

import pytest

from rmmbench.spec.printable import printable


@pytest.mark.parametrize("text", ["", "rho must be in (0, 1]", "ρ=0.5 · 128×98", "模型", "a  b"])
def test_printable_text_stays(text):
    """Letters of any language, and blanks inside a line, come back as they were."""
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("out\nof\r\n  memory\n", "out of memory"),
        ("a\u2028b\x85c\x0bd", "a b c d"),
        ("\n\n::error::gone", "::error::gone"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\tb\x00c\x7f", r"a\tb\x00c\x7f"),
        ("right\u202eleft", r"right\u202eleft"),
        ("lone \ud800", r"lone \ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_no_letter_is_written_as_its_escape(text, shown):
    """Neither a line, nor a terminal's command, nor a lone surrogate gets through."""
    assert printable(text) == shown
    assert printable(text).encode().isascii()


@pytest.mark.parametrize("text", ["x" * 50_000, "\x00" * 200, "x\n" * 10**6, "\ud800" + "é" * 999])
def test_long_text_is_cut(text):
    """At most the asked number of characters are left, and the last tells that more were there."""
    assert len(printable(text)) == 500
    assert printable(text, most=20)[-1] == "…"
    assert len(printable(text, most=20)) == 20


def test_making_printable_twice_changes_nothing():
    """What went through on its way to a record may go through again on its way out."""
    once = printable("\x1b\n" * 1000, most=500)
    assert printable(once, most=500) == once


def test_blank_lines_do_not_hide_that_text_was_cut():
    """Where mostly blanks were looked at, the mark still tells that there is more."""
    assert printable("a" + "\n" * 10_000 + "b", most=50) == "a…"
