"""One finished run, its key, and its row in the store."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.store.digest import is_intact, with_digest

VALUE_COLUMNS = "key, settings, seed, steps, initial, final, curve, seconds, engine"
COLUMNS = f"{VALUE_COLUMNS}, digest"


def run_key(
    settings: Mapping[str, float | str | int], seed: int, steps: int, **more: object
) -> str:
    """The key of one run: 32 hex digits that depend on what is trained, not on its notation.

    The order of `settings` does not matter, and 16 and 16.0 are the same.

    Args:
        settings: the run's hyperparameters and other options.
        seed: in [-2**63, 2**63).
        steps: optimizer steps.
        more: anything else that changes the result, as JSON values (a rule's name, a batch order).

    Raises:
        BadInput: a value is not a number, text, None, or a list or dict of these; or the seed is
            out of range.

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
    """The canonical form of a value: numbers as floats, except whole numbers over 2**53; also
    inside dicts and lists.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        is_exact = isinstance(value, float) or abs(value) <= 2**53
        return value + 0.0 if is_exact else value  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, Mapping):
        return {str(name): _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    raise BadInput(
        "A run's settings are not numbers and text",
        value=value,
        allowed="float, int, str, bool, None, list, dict",
        where="run_key",
        instead='{"beta2": 0.999}',
    )


@dataclass(frozen=True, eq=False)  # eq: arrays and nan have no useful ==; compare keys
class Record:
    """One finished run."""

    key: str  # see `run_key`
    settings: Mapping[str, float | str | int]
    seed: int
    steps: int  # requested optimizer steps
    initial: float  # loss before training
    final: float  # loss after training; inf or nan if the run diverged
    # float32, (points,), loss over training; shorter if the run diverged
    curve: np.ndarray = field(repr=False)
    seconds: float = math.nan  # this run's share of the wall-clock time
    engine: str = ""  # the engine that trained it
    # float32, the held-out loss or metric along the run, if it is measured beside the loss; it is
    # stored with the values of `Meta`
    held_out: np.ndarray | None = field(default=None, repr=False)


def row_of(record: Record) -> tuple:
    """A record as a row of `COLUMNS`; SQLite stores nan as NULL."""
    # a diverged loss that does not fit in float32 becomes inf
    with np.errstate(over="ignore", invalid="ignore"):
        curve = np.asarray(record.curve).astype("<f4")
    if curve.ndim != 1:
        raise BadInput(
            "The loss curve is not one-dimensional",
            value=curve.shape,
            allowed="(points,)",
            where="Record.curve",
        )
    # default: for numpy scalars
    settings = json.dumps(dict(record.settings), default=lambda value: value.item())
    return with_digest(
        (
            record.key,
            settings,
            int(record.seed),
            int(record.steps),
            float(record.initial),
            float(record.final),
            curve.tobytes(),
            float(record.seconds),
            record.engine,
        )
    )


def record_of(row: tuple) -> Record | None:
    """The record of a row of `COLUMNS`; None if the row is damaged."""
    if not is_intact(row):
        return None
    key, settings, seed, steps, initial, final, curve, seconds, engine, _ = row
    initial, final, seconds = (
        math.nan if number is None else number for number in (initial, final, seconds)
    )
    losses = np.frombuffer(curve, "<f4").astype(np.float32)
    return Record(key, json.loads(settings), seed, steps, initial, final, losses, seconds, engine)


def is_valid_row(row: tuple) -> bool:
    """Whether a row of `VALUE_COLUMNS`, stored without a digest by betaplane 0.1, has the types and
    sizes of a record.
    """
    key, settings, seed, steps, initial, final, curve, seconds, engine = row
    floats = (initial, final, seconds)
    return (
        all(value is None or isinstance(value, float) for value in floats)
        and all(isinstance(value, int) for value in (seed, steps))
        and all(isinstance(value, str) for value in (key, engine))
        and isinstance(curve, bytes)
        and len(curve) % 4 == 0
        and _is_json_dict(settings)
    )


def _is_json_dict(text: object) -> bool:
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
