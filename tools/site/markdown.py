"""Markdown from docstrings and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

FENCE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def prose(text: str) -> str:
    """Text of a docstring as Markdown: outside of code, a star or an angle bracket means itself."""
    parts = FENCE.split(text)
    return "".join(part if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    return text.replace("*", "\\*").replace("<", "&lt;")


def example(text: str) -> str:
    """The text and the doctest of an Example section."""
    lines, blocks = text.split("\n"), []
    for line in lines:
        is_code = bool(line.startswith((">>>", "..."))) or bool(
            blocks and blocks[-1][0] and line.strip()
        )
        if not blocks or blocks[-1][0] != is_code:
            blocks.append((is_code, []))
        blocks[-1][1].append(line)
    return "\n\n".join(_block(is_code, "\n".join(lines).strip()) for is_code, lines in blocks)


def _block(is_code: bool, text: str) -> str:
    return f"```pycon\n{text}\n```" if is_code else prose(text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a bar inside of a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")
