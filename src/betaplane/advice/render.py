"""Advice as text for a terminal of 80 columns, and as a table for a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

from betaplane.advice.advice import Advice
from betaplane.advice.recommendation import Recommendation

WIDTH = 80
INDENT = " " * 4
NAME, VALUE, RANGE = 22, 12, 24  # widths in columns; the confidence takes the rest
CELL_STYLE = "padding:2px 14px 2px 0;text-align:left;vertical-align:top"
HEADINGS = ("", "value", "range", "why", "formula", "source", "confidence")


def text(advice: Advice, width: int = WIDTH) -> str:
    """The advice as lines of at most `width` characters, except the two lines to paste.

    Args:
        advice: the result of `advise`.
        width: columns, >= 72.

    Returns:
        Text without colors and without a newline at its end.
    """
    blocks = [_wrap(f"Advice for a {advice.about}", width)]
    blocks += [_row(advice, row, width) for row in advice.rows]
    if advice.warnings:
        blocks.append(
            "Worth knowing\n"
            + "\n".join(_wrap(note, width, "  ! ", INDENT) for note in advice.warnings)
        )
    blocks.append("To paste\n" + "\n".join(_call(line) for line in advice.lines))
    return "\n\n".join(blocks)


def html(advice: Advice) -> str:
    """The advice as one HTML table, without scripts."""
    head = "".join(f'<th style="{CELL_STYLE}">{escape(heading)}</th>' for heading in HEADINGS)
    rows = "".join(f"<tr>{''.join(_cells(advice, row))}</tr>" for row in advice.rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in advice.warnings)
    lines = escape("\n".join(advice.lines))
    return (
        f"<div><p>Advice for a {escape(advice.about)}</p><table><tr>{head}</tr>{rows}</table>"
        f"<ul>{notes}</ul><pre>{lines}</pre></div>"
    )


def _row(advice: Advice, row: Recommendation, width: int) -> str:
    head = f"{row.name:<{NAME}}{row.text:<{VALUE}}{row.range:<{RANGE}}{row.confidence}"
    details = [row.reason, f"{row.formula}  ({_sources(advice, row)})"]
    return "\n".join([head.rstrip(), *(_wrap(line, width, INDENT, INDENT) for line in details)])


def _sources(advice: Advice, row: Recommendation) -> str:
    return "; ".join(str(advice.sources[name]) for name in row.sources)


def _call(line: str) -> str:
    """The call broken over several lines; it can still be pasted."""
    name, _, arguments = line.removesuffix(")").partition("(")
    lines = arguments.replace(", betas", ",\nbetas", 1).replace(", eps", ",\neps", 1).split("\n")
    body = "\n".join(f"{INDENT * 2}{part.removesuffix(',')}," for part in lines)
    return f"{INDENT}{name}(\n{body}\n{INDENT})"


def _cells(advice: Advice, row: Recommendation) -> Sequence[str]:
    cells = (
        row.name,
        row.text,
        row.range,
        row.reason,
        row.formula,
        _sources(advice, row),
        row.confidence,
    )
    return [f'<td style="{CELL_STYLE}">{escape(cell)}</td>' for cell in cells]


def _wrap(line: str, width: int, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        line, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
