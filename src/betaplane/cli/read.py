"""Read what people type: ranges, sizes, pairs of betas, lengths of time, names of rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from betaplane.errors import BadInput, nearest

if TYPE_CHECKING:
    from betaplane.rules import Rule

MOST = 1000  # cells along an axis
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def budget(text: str | None) -> float | None:
    """Seconds in a length of time.

    Example:
        >>> budget("20m"), budget("1.5h"), budget(None)
        (1200.0, 5400.0, None)
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found or float(found[1]) <= 0:
        raise BadInput(
            "This is no length of time",
            value=text,
            allowed="a number with s, m or h",
            where="--budget",
            instead="--budget 20m",
        )
    return float(found[1]) * UNITS[found[2]]


def whole(text: str) -> tuple[int, int]:
    """Cells along x and y.

    Example:
        >>> whole("24"), whole("7x24")
        ((24, 24), (7, 24))
    """
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    nx, ny = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not (min(nx, ny) >= 2 and max(nx, ny) <= MOST):
        raise BadInput(
            "This is no number of cells",
            value=text,
            allowed=f"N or NxM, each in [2, {MOST}]",
            where="--points",
            instead="--points 24",
        )
    return nx, ny


def span(text: str, points: int) -> tuple[str, float | None, float | None, int]:
    """An axis as (name, low, high, points); low and high are None where they were left out.

    Example:
        >>> span("lr=1e-4:0.1", 8), span("batch-size", 24)
        (('lr', 0.0001, 0.1, 8), ('batch_size', None, None, 24))
    """
    name, _, ends = text.partition("=")
    name = name.strip().replace("-", "_")  # as options are written
    if not ends:
        return name, None, None, points
    try:
        low, high = (float(end) for end in ends.split(":"))
    except ValueError:
        raise BadInput(
            "This is no range", value=text, allowed="name=low:high", where="--x/--y", instead="--x beta1=0:0.99"
        ) from None
    return name, low, high, points


def betas(text: str | None, option: str = "--betas") -> dict[str, float] | None:
    """A pair of betas as settings.

    Example:
        >>> betas("0.9,0.98")
        {'beta1': 0.9, 'beta2': 0.98}
    """
    if text is None:
        return None
    try:
        b1, b2 = (float(part) for part in text.split(","))
        if not (0 <= b1 < 1 and 0 <= b2 < 1):
            raise ValueError
    except ValueError:
        raise BadInput(
            "These are no betas",
            value=text,
            allowed="two numbers in [0, 1)",
            where=option,
            instead=f"{option} 0.9,0.999",
        ) from None
    return {"beta1": b1, "beta2": b2}


def rule_named(name: str) -> type[Rule]:
    """The rule of a name.

    Example:
        >>> rule_named("lion").__name__
        'Lion'
    """
    from betaplane.rules import NAMES, by_name  # here, for torch comes with it

    if name not in NAMES:
        raise BadInput(
            "There is no such rule",
            value=name,
            allowed=", ".join(NAMES),
            where="--rule",
            instead=f"--rule {nearest(name, NAMES, 'adam')}",
        )
    return by_name(name)
