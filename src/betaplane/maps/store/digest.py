"""Digests of rows, by which a store notices damage."""

from __future__ import annotations

import hashlib


def with_digest(values: tuple) -> tuple:
    """Values of a row followed by their digest: 32 hex digits that depend on every value and its
    type.

    SQLite returns nan as None, and 0.0 for -0.0, so each of these pairs has one digest.

    Example:
        >>> with_digest(("a", -0.0))[-1] == with_digest(("a", 0.0))[-1] != with_digest(("b", 0.0))[-1]
        True
    """
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        digest.update(_type_and_text(value))
        digest.update(value if isinstance(value, bytes) else b"")
    return (*values, digest.hexdigest())


def _type_and_text(value: object) -> bytes:
    """A value's type and text, or the length of bytes."""
    if isinstance(value, bytes):
        return b"bytes %d:" % len(value)
    if isinstance(value, float):
        value = None if value != value else value + 0.0
    return f"{value!r};".encode("utf-8", "backslashreplace")


def is_intact(row: tuple) -> bool:
    """Whether a row, whose last value is its digest, is as it was written."""
    return with_digest(row[:-1])[-1] == row[-1]
