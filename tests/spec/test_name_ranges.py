"""Names with ranges of numbers stand for many, and back."""

import pytest

from rmmbench.spec.name_ranges import expanded, joined


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.b", ["a.b"]),
        ("h.0-2.c", ["h.0.c", "h.1.c", "h.2.c"]),
        ("h.0-1,5.c", ["h.0.c", "h.1.c", "h.5.c"]),
        ("h.7", ["h.7"]),
        ("conv1-2.x", ["conv1-2.x"]),
        ("*.layer.3.*", ["*.layer.3.*"]),
    ],
)
def test_a_text_stands_for_names(text, names):
    """Only a part that is all numbers and ranges is one; the order is that of the text."""
    assert expanded(text) == names


@pytest.mark.parametrize("text", ["h.3-1", "h.0-99999999", "h.0-999.0-999"])
def test_a_range_that_cannot_be_is_refused(text):
    """A range backwards, and more names than any model has, are named."""
    with pytest.raises(ValueError, match="must"):
        expanded(text)


@pytest.mark.parametrize(
    "names",
    [
        ["encoder.0.q", "encoder.1.q", "encoder.3.q", "encoder.1.k", "head"],
        ["a.0.b.0", "a.0.b.1", "a.1.b.0"],
        ["10.x", "9.x", "11.x"],
        ["layers.1"],
        [],
    ],
)
def test_joined_names_come_back(names):
    """What is joined stands for exactly the names that went in."""
    back = [name for text in joined(names) for name in expanded(text)]
    assert sorted(back) == sorted(names)


def test_equal_layers_are_one_line():
    """Twelve blocks take one text."""
    assert joined(f"layer.{i}.query" for i in range(12)) == ["layer.0-11.query"]
