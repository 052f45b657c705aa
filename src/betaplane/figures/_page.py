"""What all pages are made of: their parts, data that may stand in a script element, pairs of words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from betaplane.text import printable


def part(name: str) -> str:
    """The text of a file of this folder."""
    return files("betaplane.figures").joinpath(name).read_text(encoding="utf-8")


def script_json(data: Any) -> str:
    """JSON that may stand in a script element; what is not a finite number is null, or "inf".

    Example:
        >>> script_json({"a": [1.0, float("nan"), "</script>"]})
        '{"a":[1.0,null,"\\\\u003c/script>"]}'
    """
    return json.dumps(plain(data), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def plain(data: Any) -> Any:
    """Numbers as Python has them, to six digits."""
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    if isinstance(data, (float, np.floating)):
        number = float(data)
        return (
            None if math.isnan(number) else "inf" if math.isinf(number) else float(f"{number:.6g}")
        )
    return int(data) if isinstance(data, np.integer) else data


def pairs(found: Iterable[tuple[str, str]]) -> str:
    """Rows of a description list."""
    return "".join(
        f"<div><dt>{escape(printable(name))}</dt><dd>{escape(printable(text))}</dd></div>"
        for name, text in found
    )
