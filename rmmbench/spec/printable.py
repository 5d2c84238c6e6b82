"""Makes any text safe for one line of a terminal, a file or a record."""

_MARK = "…"


def printable(text: str, most: int = 500) -> str:
    r"""Return `text` as one line that is safe to print and to encode, of at most `most` characters.

    Lines are joined by a space. Characters that are not printable (control and format characters,
    lone surrogates) become escapes such as \x1b, \u202e or \ud800. "…" at the end says that the
    text was cut. A short printable text is returned as it is.
    """
    text = text.strip()
    if len(text) <= most and text.isprintable():
        return text
    # Joining lines only shortens, so four times the limit is enough; this bounds the work.
    begun = text[: 4 * most + 1]
    shown = "".join(map(_visible, " ".join(filter(None, map(str.strip, begun.splitlines())))))
    if len(shown) <= most and len(begun) <= 4 * most:
        return shown
    return shown[: most - len(_MARK)] + _MARK


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()
