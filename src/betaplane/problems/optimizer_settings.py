"""Read the settings of a run back from the optimizer that the user's code made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from betaplane.errors import BadInput
from betaplane.problems.groups import unknown_group
from betaplane.text import setting_of

RTOL = 1e-6
BETAS = ("beta1", "beta2")


def check_settings(
    settings: Mapping[str, float],
    varied: Iterable[str],
    optimizers: Iterable[Any],
    batch_sizes: Iterable[int],
    where: str,
) -> None:
    """Raise BadInput if a setting that the map varies had no effect on the optimizer.

    A setting of an optimizer has an effect if one of its parameter groups has the value;
    "name.beta2" if the group with that name has it, or any group if none has a name. Settings of
    the user's own are not checked here.

    Args:
        settings: the settings of the run.
        varied: the names of those that the map varies.
        optimizers: the optimizers of the run, before their first step.
        batch_sizes: the numbers that may be meant by the batch size; none if they are unknown.
        where: the function that made the optimizers, for the error.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    known = {"batch_size": list(batch_sizes)}
    named = [group["name"] for group in groups if group.get("name")]
    for name in varied:
        group = name.rpartition(".")[0]
        if group and named and group not in named:
            raise unknown_group(group, named, where)
        values = known[name] if name in known else group_values(groups, name)
        if values and not any(math.isclose(v, settings[name], rel_tol=RTOL) for v in values):
            raise _no_effect(name, settings[name], values, where)


def group_values(groups: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    """The values of a setting in parameter groups, those of the one group if it is "group.setting".

    The learning rate is that before any schedule.

    Example:
        >>> group_values([{"lr": 0.1, "initial_lr": 0.2, "betas": (0.9, 0.99)}], "lr")
        [0.2]
    """
    group_name, _, setting = name.rpartition(".")
    groups = list(groups)
    own = [g for g in groups if group_name and g.get("name") == group_name]
    chosen = own or groups
    return [value for group in chosen for value in _values(group, setting)]


def _values(group: Mapping[str, Any], setting: str) -> Iterator[float]:
    if setting in BETAS and "betas" in group:
        yield float(group["betas"][BETAS.index(setting)])
    elif setting == "lr":
        yield float(group.get("initial_lr", group["lr"]))
    elif isinstance(group.get(setting), (int, float)):
        yield float(group[setting])


def _no_effect(name: str, value: float, values: Sequence[float], where: str) -> BadInput:
    shown = ", ".join(f"{v:g}" for v in dict.fromkeys(values))
    return BadInput(
        f"The setting {name} had no effect: the run trains with {shown}",
        value=f"{name}={value:g}",
        allowed=f"code that reads settings[{name!r}]",
        where=where,
        instead=EXAMPLES.get(name, f"{setting_of(name)}=settings[{name!r}]"),
    )


EXAMPLES = {
    "beta1": 'adam_beta1=settings["beta1"], or betas=(settings["beta1"], settings["beta2"])',
    "beta2": 'adam_beta2=settings["beta2"], or betas=(settings["beta1"], settings["beta2"])',
    "lr": 'learning_rate=settings["lr"], or lr=settings["lr"]',
    "batch_size": 'batch_size=int(settings["batch_size"])',
}
