"""Format numbers, counts and plain data, and escape control characters.

All text and JSON that the package prints uses these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["format_beta", "format_number", "json_safe", "plural", "printable"]

MIN_BETA_GAP = 9e-6  # of 1 - beta: a beta nearer to 1 is written as 1 - ...
INTEGERS = ("batch_size", "warmup")  # hyperparameters that are written without a fraction


def printable(text: object, keep: str = "") -> str:
    r"""Escape the characters that a terminal would interpret or not show.

    These are control characters (ANSI sequences, newlines), characters that change the direction
    of writing, lone surrogates, and all others that Unicode does not count as printable.

    Args:
        text: any object; it is converted with `str`.
        keep: characters that stay as they are, such as "\n" in text of several lines.

    Example:
        >>> print(printable("layer\x1b[2J\u202eweight\n"))
        layer\x1b[2J\u202eweight\n
        >>> printable("two\nlines", keep="\n")
        'two\nlines'
    """
    string = str(text)
    if string.isprintable():
        return string
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in string)


def setting_of(name: str) -> str:
    """The setting that a name means, without the parameter group before it.

    Example:
        >>> setting_of("embedding.beta2"), setting_of("lr")
        ('beta2', 'lr')
    """
    return name.rpartition(".")[2]


def format_number(name: str, value: float, digits: int = 4) -> str:
    """The value of a hyperparameter as text.

    Args:
        name: of the hyperparameter, after that of its parameter group, if any; beta1 and beta2 are
            written by `format_beta`.
        value: the number.
        digits: significant digits of numbers that are neither betas nor integers.

    Example:
        >>> format_number("lr", 1.0607e-4), format_number("lr", 1.0607e-4, digits=3)
        ('0.0001061', '0.000106')
        >>> format_number("batch_size", 32.0), format_number("beta2", 0.99990002)
        ('32', '0.9999')
    """
    name = setting_of(name)
    if name in ("beta1", "beta2"):
        return format_beta(value)
    return f"{value:.0f}" if name in INTEGERS else f"{value:.{digits}g}"


def format_beta(beta: float) -> str:
    """A beta as text, with two significant digits of 1 - beta and at least three decimals.

    Example:
        >>> format_beta(0.9), format_beta(0.99876543), format_beta(1 / 3), format_beta(1 - 1.1e-6)
        ('0.9', '0.9988', '0.333', '1 - 1.1e-06')
    """
    if not 0 <= beta < 1:
        return f"{beta:.4g}"
    gap = 1 - beta
    if gap < MIN_BETA_GAP:
        return f"1 - {gap:.1e}"
    decimals = 3 if gap > 0.1 else 1 - math.floor(math.log10(gap))
    return f"{beta:.{decimals}f}".rstrip("0").rstrip(".")


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun.

    Args:
        count: how many.
        noun: the singular.
        nouns: the plural, if it is not the singular with an s.

    Example:
        >>> plural(1, "run"), plural(12000, "run"), plural(2, "batch", "batches")
        ('1 run', '12,000 runs', '2 batches')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def json_safe(
    data: Any, digits: int | None = None, default: Callable[[Any], Any] | None = None
) -> Any:
    """Plain data in which each float that JSON cannot represent (NaN, infinity) is None.

    Args:
        data: dictionaries, lists, tuples and scalars, nested; tuples become lists.
        digits: significant digits to which floats are rounded; not rounded if None.
        default: applied to scalars that JSON does not know; they are returned as they are if None.

    Example:
        >>> json_safe({"loss": float("nan"), "betas": (0.9, 0.999)})
        {'loss': None, 'betas': [0.9, 0.999]}
        >>> json_safe([1 / 3, float("inf")], digits=6)
        [0.333333, None]
    """
    if isinstance(data, dict):
        return {name: json_safe(value, digits, default) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [json_safe(value, digits, default) for value in data]
    if not isinstance(data, float):
        if default is None or isinstance(data, int | str | None):
            return data
        return default(data)
    if not math.isfinite(data):
        return None
    return data if digits is None else float(f"{data:.{digits}g}")
