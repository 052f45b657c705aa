"""Building blocks of all pages: template files, JSON for script elements, description lists."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from betaplane.text import json_safe, printable


def part(name: str) -> str:
    """The text of a template, style or script file of this package."""
    return files("betaplane.figures").joinpath(name).read_text(encoding="utf-8")


def script_json(content: Any) -> str:
    """JSON that is safe in a script element; NaN becomes null and infinity "inf".

    Example:
        >>> script_json({"a": [1.0, float("nan"), "</script>"]})
        '{"a":[1.0,null,"\\\\u003c/script>"]}'
    """
    return json.dumps(plain(content), allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )


def plain(content: Any) -> Any:
    """Data with numbers of Python, rounded to six digits."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if isinstance(content, (float, np.floating)):
        number = float(content)
        return "inf" if math.isinf(number) else json_safe(number, digits=6)
    return int(content) if isinstance(content, np.integer) else content


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Rows of a description list."""
    return "".join(
        f"<div><dt>{escape(printable(name))}</dt><dd>{escape(printable(text))}</dd></div>"
        for name, text in rows
    )
