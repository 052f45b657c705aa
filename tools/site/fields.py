"""Fields of a class with their comments in the source."""

from __future__ import annotations

import inspect
import io
import tokenize
from typing import NamedTuple


class Field(NamedTuple):
    """A field as it is written: its name, and its comment."""

    name: str
    comment: str


def fields_of(cls: type) -> list[Field]:
    """The annotated fields in the body of a class, in order.

    Example:
        >>> from betaplane.rules.lion import LionState
        >>> fields_of(LionState)
        [Field(name='m', comment='like x, gradient units')]
    """
    lines: dict[int, list[tokenize.TokenInfo]] = {}
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(cls)).readline):
        lines.setdefault(token.start[0], []).append(token)
    return [_field(line) for line in lines.values() if _is_field(line, cls)]


def _is_field(line: list[tokenize.TokenInfo], cls: type) -> bool:
    words = [token for token in line if token.type in (tokenize.NAME, tokenize.OP)]
    return len(words) > 2 and words[1].string == ":" and words[0].string in cls.__annotations__


def _field(line: list[tokenize.TokenInfo]) -> Field:
    name = next(token.string for token in line if token.type == tokenize.NAME)
    comment = next((token.string for token in line if token.type == tokenize.COMMENT), "")
    return Field(name, comment.removeprefix("#").strip())
