"""Numbers as people read and write them."""

import pytest

from rmmbench.units import (
    GIB,
    format_bytes,
    format_count,
    format_flops,
    format_percent,
    format_seconds,
    gib,
    parse_bytes,
)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("16GiB", 16 * 2**30),
        (" 16 gib ", 16 * 2**30),
        ("16 GB", 16 * 10**9),
        ("1.5 MiB", 1.5 * 2**20),
        ("512KiB", 2**19),
        ("7KB", 7000),
        ("2 MB", 2 * 10**6),
        ("1048576", 2**20),
        ("3B", 3),
    ],
)
def test_sizes_are_read_with_their_unit(text, n_bytes):
    """Binary and decimal units are told apart, whatever the case and spaces."""
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "lots", "16 TiB", "-1GiB", "1e9", "nan", "16 GiB more"])
def test_what_is_no_size_is_refused(text):
    """The error shows what was given and an example of what should be."""
    with pytest.raises(ValueError, match=rf"such as '16GiB', got '{text}'"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (2**10, "1.0 KiB"),
        (2**20, "1.0 MiB"),
        (64 * 2**20, "64.0 MiB"),
        (11.35 * 2**30, "11.35 GiB"),
        (-3 * 2**20, "-3.0 MiB"),
        (None, "–"),
    ],
)
def test_bytes_are_written_in_the_unit_that_reads_best(n_bytes, text):
    """A number has one to four digits before its unit, a missing one is a dash."""
    assert format_bytes(n_bytes) == text


@pytest.mark.parametrize("n_bytes", [0, 1, 2**10, 5 * 2**20, 16 * GIB])
def test_what_is_written_is_read_back(n_bytes):
    """A round size survives being written for a person and read again."""
    assert parse_bytes(format_bytes(n_bytes)) == n_bytes


def test_gib_are_binary():
    """One GiB is 2³⁰ bytes."""
    assert gib(3 * 2**30) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000123, "12 µs"),
        (0.0123, "12.3 ms"),
        (1.5, "1.50 s"),
        (45.2, "45 s"),
        (62, "1:02 min"),
        (119.6, "2:00 min"),
        (3723, "1:02:03"),
        (None, "–"),
    ],
)
def test_durations_are_written_in_the_unit_that_reads_best(seconds, text):
    """Microseconds to hours, each with its unit; a missing one is a dash."""
    assert format_seconds(seconds) == text


@pytest.mark.parametrize("seconds", [59.6, 59.999])
def test_a_minute_is_never_written_as_sixty_seconds(seconds):
    """What rounds to a minute is written as one."""
    assert format_seconds(seconds) == "1:00 min"


@pytest.mark.parametrize(
    ("fraction", "signed", "text"),
    [
        (0.063, False, "6.3 %"),
        (0.063, True, "+6.3 %"),
        (-0.5, True, "-50.0 %"),
        (None, True, "–"),
    ],
)
def test_fractions_are_written_as_percentages(fraction, signed, text):
    """One digit after the point, the sign where it is asked for."""
    assert format_percent(fraction, signed=signed) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases")])
def test_counts_are_written_with_their_noun(count, text):
    """Only one of a thing is singular."""
    assert format_count(count, "case") == text


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (0, "0 FLOP"),
        (999, "999 FLOP"),
        (1_000, "1.00 kFLOP"),
        (12_345 * 10**9, "12.35 TFLOP"),
        (4 * 10**18, "4.00 EFLOP"),
        (10**22, "10000.00 EFLOP"),
    ],
)
def test_operations_are_written_in_the_unit_that_reads_best(flops, text):
    """Decimal prefixes, an amount and no rate."""
    assert format_flops(flops) == text
