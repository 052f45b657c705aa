"""Checks of the arguments of `map_phases`, `tune` and `plan_for`: names, numbers, axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from betaplane.durations import seconds_in
from betaplane.errors import BadInput, expect, nearest, unknown
from betaplane.maps.grid import NAMES, Scale
from betaplane.maps.phase_map import Thresholds
from betaplane.optim.as_rule import as_rule
from betaplane.replicas import Options
from betaplane.rules import Rule

# arguments by type, with an example of each
WHOLE = {"seeds": 2, "boundary_seeds": 4, "steps": 1000, "batch_size": 32, "trainings": 400,
         "examples": 100_000, "tokens": 1_000_000}  # fmt: skip
TYPES: dict[str, tuple[type, str]] = {
    "thresholds": (Thresholds, "Thresholds(good=0.05, failing=0.5)"),
    "options": (Options, "Options(points=100)"),
    "dense": (bool, "True"),
    "search_lr": (bool, "False"),
}
# arguments of `map_phases` and `tune` that are not fields of the plan
CALL = (
    "x", "y", "points", "scale", "judge", "store", "workers", "settings", "progress", "max_runs", "changes", "watch"
)  # fmt: skip
ENGINES = ("auto", "stacked", "plain")


def checked(how: Mapping[str, Any], plan_fields: Iterable[str]) -> dict[str, Any]:
    """The keyword arguments of a plan, checked; the rule becomes a Rule, the budget seconds.

    Args:
        how: fields of `Plan`, `budget` ("20m" or seconds) instead of `seconds`, hyperparameters of
            the rule.
        plan_fields: the names of those fields.

    Raises:
        BadInput: a name is unknown or a value is of the wrong type; the message has the nearest
            name or an example value.
    """
    arguments = {name: value for name, value in how.items() if value is not None}
    rule = as_rule(arguments.pop("rule", "adam"))
    names = [name for name in rule.hyperparameters() if name in arguments]
    in_rule = {
        name: _number(name, arguments.pop(name), f"{name}={getattr(rule, name):g}")
        for name in names
    }
    arguments["rule"] = replace(rule, **in_rule)
    _check_names(arguments, [*plan_fields, "budget"], rule)
    if "budget" in arguments:
        arguments["seconds"] = seconds_in(arguments.pop("budget"), "budget", 'budget="20m"')
    for name, value in arguments.items():
        _check_type(name, value)
    return arguments


def _check_names(arguments: Mapping[str, Any], plan_fields: Sequence[str], rule: Rule) -> None:
    in_rule = [name for name in rule.hyperparameters() if name not in plan_fields]
    allowed = [*plan_fields, *in_rule]
    for name in arguments:
        if name not in plan_fields:
            close = nearest(name, [*allowed, *CALL], "")
            known = [*allowed, close] if close in CALL else allowed
            raise unknown("argument", name, known, where="map_phases, tune", instead="{}=...")


def _check_type(name: str, value: Any) -> None:
    if name in WHOLE:
        whole(name, value, WHOLE[name])
    elif name == "seconds":
        seconds_in(value, "seconds", "seconds=1200")
    elif name == "lr":
        # the command's `--lr fixed` and `--lr 0.01,fixed`
        fixes = isinstance(value, str) and "fixed" in value
        _number(name, value, "search_lr=False" if fixes else "lr=0.001")
    elif name == "engine" and value not in ENGINES:
        raise unknown("engine", value, ENGINES, where="engine", instead='engine="{}"')
    elif name in TYPES and not isinstance(value, TYPES[name][0]):
        expected, example = TYPES[name]
        raise BadInput(
            f"{name} is of the wrong type",
            value=value,
            allowed=expected.__name__,
            where=name,
            instead=f"{name}={example}",
        )


def whole(name: str, value: Any, example: int) -> int:
    """`value`, if it is a whole number; its range is checked by the caller.

    Raises:
        BadInput: it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(
            f"{name} is not a whole number",
            value=value,
            allowed="1, 2, 3, ...",
            where=name,
            instead=f"{name}={example}",
        )
    return value


def _number(name: str, value: Any, instead: str) -> float:
    if not _is_number(value):
        raise BadInput(
            f"{name} is not a number",
            value=value,
            allowed="a number",
            where=name,
            instead=instead,
        )
    return value


def check_resources(store: Any, workers: Any) -> None:
    """Check the store's path and the number of worker processes.

    Raises:
        BadInput: one of them is of the wrong type.
    """
    expect(store, (str, Path, type(None)), "store", 'store="out/map.sqlite"')
    if workers is not None:
        whole("workers", workers, 2)


def grid_points(points: Any) -> tuple[int, int]:
    """Cells along x and y, from one number for both or a pair.

    Raises:
        BadInput: it is anything else.
    """
    pair = (points, points) if isinstance(points, int) else points
    is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not is_pair or any(isinstance(n, bool) or not isinstance(n, int) for n in pair):
        raise BadInput(
            "Invalid number of cells",
            value=points,
            allowed="a whole number >= 2, or a pair of them",
            where="points",
            instead="points=24",
        )
    return pair[0], pair[1]


def axis_range(along: Any, argument: str) -> tuple[str, float | None, float | None, Scale | None]:
    """An axis as (name, low, high, scale), with None for what is not given.

    Args:
        along: a name, (name, low, high), or (name, low, high, scale).
        argument: "x" or "y", for the error.

    Raises:
        BadInput: it is anything else.
    """
    if isinstance(along, str):
        return along, None, None, None
    parts = tuple(along) if isinstance(along, (tuple, list)) else ()
    if not _is_range(parts):
        raise BadInput(
            f"{argument} is not an axis",
            value=along,
            allowed=f"one of {', '.join(NAMES)}, (name, low, high), (name, low, high, scale), or an Axis",
            where=argument,
            instead=f'{argument}=("beta2", 0.9, 0.999)',
        )
    name, low, high, scale = [*parts, None, None, None][:4]
    return name, low, high, scale


def _is_range(parts: tuple) -> bool:
    """Whether these are (name,), (name, low, high) or (name, low, high, scale)."""
    if len(parts) not in (1, 3, 4) or not isinstance(parts[0], str):
        return False
    scale = parts[3] if len(parts) == 4 else None
    is_scale = scale is None or isinstance(scale, str)
    return is_scale and all(end is None or _is_number(end) for end in parts[1:3])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def marked_setting(settings: Any) -> dict[str, float]:
    """The user's own setting to mark on a map, checked.

    Raises:
        BadInput: it is not a mapping of hyperparameter names to numbers.
    """
    if not isinstance(settings, Mapping):
        raise BadInput(
            "settings is not a mapping",
            value=settings,
            allowed="hyperparameter names and numbers",
            where="settings",
            instead='settings={"beta1": 0.9, "beta2": 0.98}',
        )
    for name, value in settings.items():
        if name not in NAMES:
            instead = 'settings={{"{}": ...}}'
            raise unknown("hyperparameter", name, NAMES, where="settings", instead=instead)
        _number(name, value, f'settings={{"{name}": 0.9}}')
    return dict(settings)
