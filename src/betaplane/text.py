"""Text that is safe to print: control characters from files and messages are escaped."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: object, keep: str = "") -> str:
    r"""The text with every character escaped that a terminal would obey or not show.

    Escaped are control characters (ANSI sequences, newlines), characters that change the direction of writing,
    lone surrogates, and whatever else Unicode does not count as printable.

    Args:
        text: anything; `str` is applied to what is not a string.
        keep: characters that stay as they are, as "\n" in text of several lines.

    Example:
        >>> print(printable("layer\x1b[2J\u202eweight\n"))
        layer\x1b[2J\u202eweight\n
        >>> printable("two\nlines", keep="\n")
        'two\nlines'
    """
    found = str(text)
    return (
        found
        if found.isprintable()
        else "".join(c if c.isprintable() or c in keep else _escape(c) for c in found)
    )


def _escape(character: str) -> str:
    return repr(character)[1:-1]
