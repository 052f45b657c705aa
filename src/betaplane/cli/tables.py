"""The one style of the tables that the commands print: columns without lines between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table


def borderless(*left: str, right: Sequence[str] = (), **options: Any) -> Table:
    """An empty table without lines.

    Args:
        left: headings of the columns of text, aligned to the left; long text is wrapped.
        right: headings of the columns of numbers after them, aligned to the right.
        options: further arguments of rich.table.Table.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True, **options)
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
