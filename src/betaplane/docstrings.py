"""Sections of docstrings in Google's style: their titles, texts and arguments."""

from __future__ import annotations

import re

__all__ = ["arguments", "sections"]

SECTION = re.compile(
    r"^(Args|Returns|Raises|Source|Example|Examples|Yields|Attributes):(.*)$", re.MULTILINE
)
ARGUMENT = re.compile(r"^(\w+):", re.MULTILINE)


def sections(docstring: str) -> dict[str, str]:
    """Split a docstring into its sections.

    Args:
        docstring: without indentation, as from `inspect.getdoc`.

    Returns:
        The text before the first section under "", then the text of each section by its title.

    Example:
        >>> sections("Add one.\\n\\nArgs:\\n    x: a number.\\n        Any.\\n\\nRaises:\\n    No.")
        {'': 'Add one.', 'Args': 'x: a number.\\n    Any.', 'Raises': 'No.'}
    """
    pieces = SECTION.split(docstring)
    parts = {"": pieces[0].strip()}
    for title, first, rest in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        parts[title] = f"{first.strip()}\n{_dedented(rest.strip(chr(10)))}".strip()
    return parts


def arguments(docstring: str) -> dict[str, str]:
    """The meaning of each argument in the section Args, on one line.

    Args:
        docstring: without indentation, as from `inspect.getdoc`.

    Example:
        >>> arguments("Add one.\\n\\nArgs:\\n    x: a number.\\n        Any.\\n    y: another.")
        {'x': 'a number. Any.', 'y': 'another.'}
    """
    pieces = ARGUMENT.split(sections(docstring).get("Args", ""))
    texts = [" ".join(text.split()) for text in pieces[2::2]]
    return dict(zip(pieces[1::2], texts, strict=True))


def _dedented(text: str) -> str:
    return re.sub(r"^    ", "", text, flags=re.MULTILINE)
