"""Parse option values: axis ranges, grid sizes, pairs of betas, durations and rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.rules import Rule

MAX_POINTS = 1000  # cells along an axis


def budget(text: str | None) -> float | None:
    """A duration in seconds.

    Example:
        >>> budget("20m"), budget("1.5h"), budget(None)
        (1200.0, 5400.0, None)
    """
    if text is None:
        return None
    from betaplane.durations import seconds_in  # imported lazily: it imports torch

    return seconds_in(text, "--budget", "--budget 20m")


def grid_shape(text: str) -> tuple[int, int]:
    """Numbers of cells along x and y.

    Example:
        >>> grid_shape("24"), grid_shape("7x24")
        ((24, 24), (7, 24))
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    nx, ny = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (min(nx, ny) >= 2 and max(nx, ny) <= MAX_POINTS):
        raise BadInput(
            "Invalid number of cells",
            value=text,
            allowed=f"N or NxM, each in [2, {MAX_POINTS}]",
            where="points",
            instead="points=24",
        )
    return nx, ny


def axis_range(text: str) -> tuple[str, float | None, float | None, str | None]:
    """An axis as (name, low, high, scale); what the text does not give is None.

    Example:
        >>> axis_range("lr=1e-4:0.1"), axis_range("batch-size")
        (('lr', 0.0001, 0.1, None), ('batch_size', None, None, None))
        >>> axis_range("n=5:50:linear")
        ('n', 5.0, 50.0, 'linear')
    """
    name, _, ends = text.partition("=")
    name = name.strip().replace("-", "_")  # "batch-size", as options are written
    if not ends:
        return name, None, None, None
    try:
        low_end, high_end, *scale = ends.split(":")
        low, high = float(low_end), float(high_end)
        if len(scale) > 1:
            raise ValueError
    except ValueError:
        raise BadInput(
            "Invalid range of an axis",
            value=text,
            allowed="name=low:high, or name=low:high:linear",
            where="x/y",
            instead='x=("beta1", 0, 0.99)',
        ) from None
    return name, low, high, scale[0] if scale else None


def learning_rate(text: str | None) -> tuple[float | None, bool]:
    """The learning rate to start from, None for the problem's own, and whether to try others.

    Args:
        text: a number, "fixed", both with a comma between them, or None.

    Example:
        >>> learning_rate("0.01"), learning_rate("fixed"), learning_rate("0.01,fixed")
        ((0.01, True), (None, False), (0.01, False))
    """
    if text is None:
        return None, True
    number, _, rest = text.partition(",")
    fixed = "fixed" in (number, rest)
    try:
        if rest not in ("", "fixed"):
            raise ValueError
        return (None if number == "fixed" else float(number)), not fixed
    except ValueError:
        raise BadInput(
            "Invalid learning rate",
            value=text,
            allowed="a number, fixed, or a number and fixed",
            where="lr",
            instead="lr=0.01",
        ) from None


def betas(text: str | None, argument: str = "betas") -> dict[str, float] | None:
    """A pair of betas as settings.

    Args:
        text: two numbers with a comma between them, or None.
        argument: name of the argument, for errors.

    Example:
        >>> betas("0.9,0.98")
        {'beta1': 0.9, 'beta2': 0.98}
    """
    if text is None:
        return None
    try:
        beta1, beta2 = (float(part) for part in text.split(","))
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise ValueError
    except ValueError:
        raise BadInput(
            "Invalid betas",
            value=text,
            allowed="two numbers in [0, 1)",
            where=argument,
            instead=f"{argument}=(0.9, 0.999)",
        ) from None
    return {"beta1": beta1, "beta2": beta2}


def rule(text: str) -> Rule:
    """The rule with this name, and its options after a colon.

    Example:
        >>> rule("lion:beta1=0.8")
        Lion(beta1=0.8, beta2=0.99, weight_decay=0.0)
    """
    from betaplane.optim.as_rule import as_rule  # imported lazily: it imports torch

    return as_rule(text)
