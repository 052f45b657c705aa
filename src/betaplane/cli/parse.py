"""Read what people type: ranges, sizes, pairs of betas, lengths of time, names of rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.rules import Rule

MOST = 1000  # cells along an axis


def budget(text: str | None) -> float | None:
    """Seconds in a length of time.

    Example:
        >>> budget("20m"), budget("1.5h"), budget(None)
        (1200.0, 5400.0, None)
    """
    if text is None:
        return None
    from betaplane.maps.validation import seconds_in  # here, for torch comes with it

    return seconds_in(text, "--budget", "--budget 20m")


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
            "This is no range",
            value=text,
            allowed="name=low:high",
            where="--x/--y",
            instead="--x beta1=0:0.99",
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


def rule(text: str) -> Rule:
    """The rule of a name, with its options after a colon.

    Example:
        >>> rule("lion:beta1=0.8")
        Lion(beta1=0.8, beta2=0.99, weight_decay=0.0)
    """
    from betaplane.optim.as_rule import as_rule  # here, for torch comes with it

    try:
        return as_rule(text)
    except BadInput as error:
        if error.where != "rule":
            raise
        raise BadInput(
            error.what,
            value=error.value,
            allowed=error.allowed,
            where="--rule",
            instead=f"--rule {error.instead}",
        ) from None
