"""Check the keys of param groups: users' own are allowed, misspelled options are not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

from betaplane.errors import BadInput, unknown
from betaplane.optim.dispatch import PATHS
from betaplane.optim.rule_from_group import BETAS
from betaplane.optim.validation import NONFINITE

# options that no group has, and which values are meant as one
WHOLE: dict[str, Callable[[Any], bool]] = {
    "max_norm": lambda value: isinstance(value, Real),
    "zero": lambda value: isinstance(value, bool),
    "nonfinite": lambda value: value in NONFINITE,
    "path": lambda value: value in PATHS,
}


def check_keys(group: Mapping[str, Any], kind: type) -> None:
    """Raise BadInput for a key that is almost the name of an option, or an option of the whole
    optimizer.

    Torch ignores every key that it does not know, and users keep their own in groups ("lr_scale",
    "name", "rho").

    Args:
        group: a param group.
        kind: the optimizer's class, whose signature has the options.
    """
    known, where = list(inspect.signature(kind).parameters), f"a group of {kind.__name__}"
    for name, value in group.items():
        if name in WHOLE and WHOLE[name](value):
            text, instead = (
                f"{name} is for all groups together",
                f"{kind.__name__}(..., {name}={value!r})",
            )
            raise BadInput(
                text,
                value=value,
                allowed="an argument of the optimizer",
                where=where,
                instead=instead,
            )
        meant = misspelled(str(name), known)
        if meant:
            where = f"{where}; a key of your own needs a name less like {meant}"
            instead = '"{}": ...'
            raise unknown("option", name, known[1:], where=where, instead=instead, close=meant)


def unknown_option(name: str, kind: type) -> BadInput:
    """The error for an argument that an optimizer does not have, with the nearest one that it has.

    Args:
        name: of the argument.
        kind: the optimizer's class.
    """
    known = list(inspect.signature(kind).parameters)[1:]
    close = misspelled(name, known) or ""
    where = kind.__name__
    return unknown("argument", name, known, where=where, instead="{}=...", close=close)


def misspelled(name: str, known: Iterable[str]) -> str | None:
    """The option that a name misspells; None if the name is known, or similar to none.

    A misspelling is another case or hyphen, a letter too many, too few or swapped with its neighbor; in a name of six
    letters or more also a wrong letter; in one of ten or more, two of these.

    Example:
        >>> known = ["lr", "betas", "eps", "weight_decay", "momentum"]
        >>> [misspelled(name, known) for name in ("LR", "beta", "beta1", "weigth_decay", "momentun")]
        ['lr', 'betas', 'betas', 'weight_decay', 'momentum']
        >>> [misspelled(name, known) for name in ("lr", "lr_scale", "rho", "name", "max_momentum", "_id")]
        [None, None, None, None, None, None]
    """
    known = list(known)
    if name in known:
        return None
    if name in BETAS and "betas" in known:
        return "betas"
    found = [(slips(_plain(name), _plain(option)), option) for option in known]
    close = [
        (count, option)
        for count, option in found
        if count <= _allowed(_plain(name), _plain(option))
    ]
    return min(close)[1] if close else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _allowed(name: str, option: str) -> int:
    """How many slips make a name that option misspelled."""
    if len(option) < 3:
        return 0
    if len(option) < 6:
        return int(len(name) != len(option) or sorted(name) == sorted(option))
    return 1 if len(option) < 10 else 2


def slips(a: str, b: str) -> int:
    """The optimal string alignment distance: insertions, deletions, substitutions and swaps of
    neighbors.

    Example:
        >>> slips("weigth", "weight"), slips("beta", "betas"), slips("rho", "lr")
        (1, 1, 3)
    """
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
