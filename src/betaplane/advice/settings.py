"""Parse settings ("batch=512,lr=3e-4,betas=0.9,0.95") and carry them over to a batch size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from betaplane.errors import BadInput, unknown
from betaplane.theory import same_half_life

ALIASES = {"wd": "weight_decay", "batch_size": "batch", "warmup_steps": "warmup"}
LR_EXPONENT = 0.21  # of lr in the batch size: `batch_exponent` of the sweeps in evidence.toml
EXAMPLE = "batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000"
RANGES = {  # low, high, whether low itself is allowed
    "batch": (1.0, math.inf, True),
    "lr": (0.0, math.inf, False),
    "beta1": (0.0, 1.0, True),
    "beta2": (0.0, 1.0, True),
    "eps": (0.0, math.inf, True),
    "weight_decay": (0.0, math.inf, True),
    "warmup": (0.0, math.inf, True),
}


@dataclass(frozen=True)
class Settings:
    """The settings of a run; None if a setting is unknown."""

    batch: float | None = None  # units per step, >= 1
    lr: float | None = None  # peak learning rate, > 0
    beta1: float | None = None  # in [0, 1)
    beta2: float | None = None  # in [0, 1)
    eps: float | None = None  # gradient units, >= 0
    weight_decay: float | None = None  # as in torch's AdamW, >= 0
    warmup: float | None = None  # steps, >= 0

    def __post_init__(self) -> None:
        for name, (low, high, closed) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not (low <= value < high if closed else low < value < high):
                allowed = f"{'[' if closed else '('}{low:g}, {high:g})"
                raise BadInput(
                    f"{name} is out of range",
                    value=value,
                    allowed=allowed,
                    where="settings",
                    instead=EXAMPLES[name],
                )


NAMES = tuple(f.name for f in fields(Settings))
EXAMPLES = {
    "batch": "batch=64",
    "lr": "lr=3e-4",
    "beta1": "beta1=0.9",
    "beta2": "beta2=0.999",
    "eps": "eps=1e-8",
    "weight_decay": "wd=0.1",
    "warmup": "warmup=2000",
}


def settings(source: str | Mapping[str, float] | Settings, where: str = "before") -> Settings:
    """Parse settings.

    Args:
        source: "name=value,...", or a mapping. Names: batch, lr, betas (two numbers), beta1,
            beta2, eps, wd or weight_decay, warmup (steps).
        where: name of the argument, for errors.

    Returns:
        The settings; those that are not given are None.

    Raises:
        BadInput: it is neither text nor a mapping, a name is unknown, or a value is not a number in
            its range.

    Source: definition.

    Example:
        >>> settings("batch=512,betas=0.9,0.95,wd=0.1")
        Settings(batch=512.0, lr=None, beta1=0.9, beta2=0.95, eps=None, weight_decay=0.1, warmup=None)
    """
    if isinstance(source, Settings):
        return source
    if not isinstance(source, str | Mapping):
        raise _invalid(source, where)
    pairs = (
        _pairs(source, where)
        if isinstance(source, str)
        else {name: (value,) for name, value in source.items()}
    )
    numbers: dict[str, float] = {}
    for name, values in pairs.items():
        numbers |= _named(name, values, where)
    return Settings(**numbers)


def carried(before: Settings, batch: float) -> Settings:
    r"""The settings of the same run at another batch size.

    With k = batch / before.batch:

    ```
    beta2 -> beta2^k               its half-life in samples stays
    lr    -> lr k^0.21             eps -> eps / sqrt(k)
    weight_decay -> weight_decay k^0.79       its horizon batch / (lr weight_decay) in samples stays
    warmup -> warmup / k           its samples stay
    beta1 stays
    ```

    It is a group action: carrying over from B to B' and then to B'' equals carrying over from B to
    B''.

    Args:
        before: settings with their batch size; a setting of None stays None.
        batch: the new batch size, in the same unit, >= 1.

    Returns:
        The new settings.

    Raises:
        BadInput: batch is not >= 1, or `before` has no batch size.

    Source: beta1, beta2: M. Marek et al., 2025, arXiv:2507.07101; lr: the exponent that fits the
    published sweeps of evidence.toml; eps: S. Malladi et al., 2022, arXiv:2205.10287;
    weight_decay: X. Wang, L. Aitchison, 2024, arXiv:2405.13698.

    Example:
        >>> new = carried(settings("batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000"), 64)
        >>> round(new.beta2, 4), round(new.lr, 6), round(new.weight_decay, 4), new.warmup
        (0.9936, 0.000194, 0.0193, 16000.0)
    """
    if before.batch is None:
        raise missing_batch_size()
    k = Settings(batch=batch).batch / before.batch  # pyright: ignore[reportOptionalOperand]
    by_lr = k**LR_EXPONENT
    factors = {"lr": by_lr, "eps": k**-0.5, "weight_decay": k / by_lr, "warmup": 1 / k}
    new = {
        name: value * by
        for name, by in factors.items()
        if (value := getattr(before, name)) is not None
    }
    if before.beta2 is not None:
        # a tiny k rounds it to 1
        new["beta2"] = min(same_half_life(before.beta2, k), math.nextafter(1, 0))
    return replace(before, batch=batch, **new)


def missing_batch_size() -> BadInput:
    """The error for settings without a batch size."""
    return BadInput(
        "The settings have no batch size",
        allowed="batch=...",
        where="before",
        instead=f'before="{EXAMPLE}"',
    )


def _pairs(text: str, where: str) -> dict[str, tuple[str, ...]]:
    """Names and their values as text; a part without = belongs to the name before it."""
    pairs: dict[str, tuple[str, ...]] = {}
    name = ""
    for part in (part.strip() for part in text.split(",")):
        head, equals, value = part.partition("=")
        name = head.strip() if equals else name
        if not name or not (value if equals else part):
            raise _invalid(text, where)
        pairs[name] = (*pairs.get(name, ()), value if equals else part)
    return pairs


def _named(name: str, values: tuple[Any, ...], where: str) -> dict[str, float]:
    names = ("beta1", "beta2") if name == "betas" else (ALIASES.get(name, name),)
    # betas=(0.9, 0.95) in a mapping
    if name == "betas" and isinstance(values[0], Iterable) and not isinstance(values[0], str):
        values = tuple(values[0])
    if names[0] not in NAMES:
        raise unknown(
            "setting", name, [*NAMES, "betas", *ALIASES], where=where, instead=f'{where}="{{}}=..."'
        )
    if len(values) != len(names):
        raise _invalid(f"{name}={','.join(map(str, values))}", where)
    return {key: _number(value, name, where) for key, value in zip(names, values, strict=True)}


def _number(value: str | float, name: str, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadInput(
            f"{name} is not a number", value=value, where=where, instead=f'{where}="{EXAMPLE}"'
        ) from None


def _invalid(source: object, where: str) -> BadInput:
    return BadInput(
        "Invalid settings",
        value=source,
        allowed="name=value,name=value,...",
        where=where,
        instead=f'{where}="{EXAMPLE}"',
    )
