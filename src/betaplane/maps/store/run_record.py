"""One finished training, and the name it goes by."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.store.digest import whole, with_digest

VALUES = "key, settings, seed, steps, initial, final, curve, seconds, engine"
COLUMNS = f"{VALUES}, digest"


def run_key(
    settings: Mapping[str, float | str | int], seed: int, steps: int, **more: object
) -> str:
    """A name for one training: 32 hex digits that depend on what is trained, not on how it is
    written down.

    The order of `settings` does not matter, nor does 16 or 16.0. `more` is anything else that changes the result, as
    JSON (a rule's name, a batch order).

    Raises:
        BadInput: a value that is neither number, text, None nor a list or dict of them; a seed over 63 bits.

    Example:
        >>> run_key({"beta2": 0.999, "batch_size": 16}, seed=0, steps=100, rule="adam")
        '1549c420c92747accb2c3a0d977538c8'
        >>> run_key({"batch_size": 16.0, "beta2": 0.999}, 0, 100, rule="adam") == _
        True
    """
    if not -(2**63) <= seed < 2**63:
        raise BadInput(
            "The seed is too large",
            value=seed,
            allowed="[-2**63, 2**63)",
            where="run_key",
            instead="seed=0",
        )
    parts = {"settings": settings, "seed": seed, "steps": steps, "more": more}
    text = json.dumps(_canonical(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _canonical(value: Any) -> Any:
    """The same for equal values: numbers as floats (whole numbers over 2**53 as they are), dicts
    and lists inside.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        # + 0.0: -0.0 is 0.0
        return value + 0.0 if isinstance(value, float) or abs(value) <= 2**53 else value
    if isinstance(value, Mapping):
        return {str(name): _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    raise BadInput(
        "A run is told apart by numbers and text only",
        value=value,
        allowed="float, int, str, bool, None, list, dict",
        where="run_key",
        instead='{"beta2": 0.999}',
    )


@dataclass(frozen=True, eq=False)  # eq: arrays and nan have no useful ==; compare keys
class Record:
    """One finished training."""

    key: str  # see `run_key`
    settings: Mapping[str, float | str | int]
    seed: int
    steps: int  # optimizer steps asked for
    initial: float  # loss before training
    final: float  # loss after training; inf or nan where it diverged
    # float32, (points,), loss over training; short where it diverged
    curve: np.ndarray = field(repr=False)
    seconds: float = math.nan  # this run's share of the wall clock
    engine: str = ""  # what trained it


def row_of(record: Record) -> tuple:
    """A record as values of `COLUMNS`; SQLite stores nan as NULL."""
    # a diverged loss may not fit in float32: inf
    with np.errstate(over="ignore", invalid="ignore"):
        curve = np.asarray(record.curve).astype("<f4")
    if curve.ndim != 1:
        raise BadInput(
            "A curve is one row of losses",
            value=curve.shape,
            allowed="(points,)",
            where="Record.curve",
        )
    # numpy scalars
    settings = json.dumps(dict(record.settings), default=lambda value: value.item())
    numbers = float(record.initial), float(record.final), curve.tobytes(), float(record.seconds)
    return with_digest(
        (record.key, settings, int(record.seed), int(record.steps), *numbers, record.engine)
    )


def record_of(row: tuple) -> Record | None:
    """The record of such values; None if they are not the values that were stored."""
    if not whole(row):
        return None
    key, settings, seed, steps, initial, final, curve, seconds, engine, _ = row
    initial, final, seconds = (
        math.nan if number is None else number for number in (initial, final, seconds)
    )
    losses = np.frombuffer(curve, "<f4").astype(np.float32)
    return Record(key, json.loads(settings), seed, steps, initial, final, losses, seconds, engine)


def readable(values: tuple) -> bool:
    """Whether values of `VALUES`, stored without a digest by betaplane 0.1, have the types and
    sizes of a record.
    """
    key, settings, seed, steps, initial, final, curve, seconds, engine = values
    losses = all(
        number is None or isinstance(number, float) for number in (initial, final, seconds)
    )
    whole = (
        isinstance(seed, int)
        and isinstance(steps, int)
        and isinstance(curve, bytes)
        and len(curve) % 4 == 0
    )
    return (
        losses
        and whole
        and isinstance(key, str)
        and isinstance(engine, str)
        and _json_dict(settings)
    )


def _json_dict(text: object) -> bool:
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
