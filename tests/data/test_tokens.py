"""Without a tokenizer of its own a text is its bytes, set between the tokens that RoBERTa reads."""

from rmmbench.data import _tokens


def ids_of(*texts):
    """Return the byte tokens of a text, or of two."""
    return _tokens.of_bytes()(*texts)["input_ids"]


def test_bytes_stand_where_roberta_puts_texts():
    """Byte tokens of a pair are <s> a </s></s> b </s>; no text can spell a special token."""
    start, stop = 0, 2
    first, second = ids_of("ab")[1:-1], ids_of("é")[1:-1]
    assert (len(first), len(second)) == (2, 2)
    assert ids_of("ab", "é") == [start, *first, stop, stop, *second, stop]
    assert len(ids_of("<pad>")) == 7
    every = {token for byte in range(256) for token in ids_of(chr(byte))[1:-1]}
    assert min(every) == 5
    assert max(every) <= 260
