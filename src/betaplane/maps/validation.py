"""Checks of the arguments of `map_phases`, `tune` and `plan_for`: names, numbers, axes, lengths of
time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput, expect, nearest
from betaplane.maps.grid import NAMES
from betaplane.maps.phase_map import Thresholds
from betaplane.optim.as_rule import as_rule
from betaplane.replicas import Options
from betaplane.rules import Rule

# with usual values
WHOLE = {"seeds": 2, "boundary_seeds": 4, "steps": 1000, "batch_size": 32, "trainings": 400}
NUMBERS = {"lr": 0.001}
KINDS: dict[str, tuple[type, str]] = {
    "thresholds": (Thresholds, "Thresholds(good=0.05, failing=0.5)"),
    "options": (Options, "Options(points=100)"),
    "dense": (bool, "True"),
}
# arguments of `map_phases` beside the plan's
CALL = ("x", "y", "points", "store", "workers", "settings", "progress")
ENGINES = ("auto", "stacked", "plain")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def checked(how: Mapping[str, Any], plan_fields: Iterable[str]) -> dict[str, Any]:
    """The keyword arguments of a plan, checked, with the rule as a rule and the budget in seconds.

    Args:
        how: fields of `Plan`, `budget` ("20m" or seconds) in place of seconds, hyperparameters of the rule.
        plan_fields: the names of those fields.

    Raises:
        BadInput: a name is unknown or a value of the wrong kind; the text has the nearest name, or a value to write.
    """
    given = {name: value for name, value in how.items() if value is not None}
    rule = as_rule(given.pop("rule", "adam"))
    own = {name: given.pop(name) for name in rule.hyperparameters() if name in given}
    given["rule"] = replace(
        rule, **{name: _number(name, value, getattr(rule, name)) for name, value in own.items()}
    )
    _check_names(given, [*plan_fields, "budget"], rule)
    if "budget" in given:
        given["seconds"] = seconds_in(given.pop("budget"), "budget", 'budget="20m"')
    for name, value in given.items():
        _check_kind(name, value)
    return given


def _check_names(given: Mapping[str, Any], plan_fields: Sequence[str], rule: Rule) -> None:
    for name, value in given.items():
        if name not in plan_fields:
            allowed = [
                *plan_fields,
                *(each for each in rule.hyperparameters() if each not in plan_fields),
            ]
            raise BadInput(
                f"There is no argument {name}",
                value=value,
                allowed=", ".join(allowed),
                where="the map",
                instead=f"{nearest(name, [*allowed, *CALL], 'seeds')}=...",
            )


def _check_kind(name: str, value: Any) -> None:
    if name in WHOLE:
        whole(name, value, WHOLE[name])
    elif name == "seconds":
        seconds_in(value, "seconds", "seconds=1200")
    elif name in NUMBERS:
        _number(name, value, NUMBERS[name])
    elif name == "engine" and value not in ENGINES:
        raise BadInput(
            "There is no such engine",
            value=value,
            allowed=", ".join(ENGINES),
            where="engine",
            instead='engine="auto"',
        )
    elif name in KINDS and not isinstance(value, KINDS[name][0]):
        kind, usual = KINDS[name]
        raise BadInput(
            f"{name} is of the wrong type",
            value=value,
            allowed=kind.__name__,
            where=name,
            instead=f"{name}={usual}",
        )


def whole(name: str, value: Any, usual: int) -> int:
    """`value`, if it is a whole number; ranges are checked by those who know them.

    Raises:
        BadInput: it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(
            f"{name} is not a whole number",
            value=value,
            allowed="1, 2, 3, ...",
            where=name,
            instead=f"{name}={usual}",
        )
    return value


def _number(name: str, value: Any, usual: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadInput(
            f"{name} is not a number",
            value=value,
            allowed="a number",
            where=name,
            instead=f"{name}={usual:g}",
        )
    return value


def check_resources(store: Any, workers: Any) -> None:
    """Check the file that keeps finished runs and the number of worker processes.

    Raises:
        BadInput: one of them is of the wrong type.
    """
    expect(store, (str, Path, type(None)), "store", 'store="out/map.sqlite"')
    if workers is not None:
        whole("workers", workers, 2)


def seconds_in(value: Any, where: str, instead: str) -> float:
    """Seconds in a length of time, written as text or given as a number of seconds.

    Args:
        value: "90s", "20m", "1.5h", "300" or a number of seconds, > 0.
        where: the name of the argument or option, for the error.
        instead: what to write, for the error.

    Raises:
        BadInput: it is no such thing.

    Example:
        >>> seconds_in("20m", "budget", ""), seconds_in("1.5h", "budget", ""), seconds_in(90, "budget", "")
        (1200.0, 5400.0, 90.0)
    """
    found = (
        re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value.strip()) if isinstance(value, str) else None
    )
    length = float(found[1]) * UNITS[found[2]] if found else value
    if (
        isinstance(length, bool)
        or not isinstance(length, (int, float))
        or not 0 < length < math.inf
    ):
        raise BadInput(
            "This is no length of time",
            value=value,
            allowed="a number with s, m or h",
            where=where,
            instead=instead,
        )
    return float(length)


def grid_points(points: Any) -> tuple[int, int]:
    """Cells along x and y, from one number for both or a pair.

    Raises:
        BadInput: it is anything else.
    """
    pair = (points, points) if isinstance(points, int) else points
    counts = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not counts or any(isinstance(one, bool) or not isinstance(one, int) for one in pair):
        raise BadInput(
            "points is no number of cells",
            value=points,
            allowed="a whole number >= 2, or a pair of them",
            where="points",
            instead="points=24",
        )
    return pair[0], pair[1]


def axis_range(along: Any, which: str) -> tuple[str, float | None, float | None]:
    """An axis as (name, low, high), with None for an end that is left out.

    Args:
        along: a name, or (name, low, high).
        which: "x" or "y", for the error.

    Raises:
        BadInput: it is anything else, or there is no such hyperparameter.
    """
    name, *ends = (
        (along,)
        if isinstance(along, str)
        else along
        if isinstance(along, (tuple, list))
        else (None,)
    )
    fits = (
        isinstance(name, str)
        and len(ends) in (0, 2)
        and all(end is None or _is_number(end) for end in ends)
    )
    if not fits:
        raise BadInput(
            f"{which} is no axis",
            value=along,
            allowed=f"one of {', '.join(NAMES)}, (name, low, high), or an Axis",
            where=which,
            instead=f'{which}=("beta2", 0.9, 0.999)',
        )
    low, high = ends or (None, None)
    return str(name), low, high


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def marked_setting(settings: Any) -> dict[str, float]:
    """A setting of the user's own that is marked on a map, checked.

    Raises:
        BadInput: it is no mapping of hyperparameter names to numbers.
    """
    if not isinstance(settings, Mapping):
        raise BadInput(
            "settings is no mapping",
            value=settings,
            allowed="hyperparameter names and numbers",
            where="settings",
            instead='settings={"beta1": 0.9, "beta2": 0.98}',
        )
    for name, value in settings.items():
        if name not in NAMES:
            raise BadInput(
                "There is no such hyperparameter",
                value=name,
                allowed=", ".join(NAMES),
                where="settings",
                instead=f'settings={{"{nearest(str(name), NAMES, "beta2")}": ...}}',
            )
        _number(name, value, 0.9)
    return dict(settings)
