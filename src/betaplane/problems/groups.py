"""Parameter groups and their names: what the axis "embedding.beta2" of a map varies."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from betaplane.errors import BadInput, unknown

if TYPE_CHECKING:
    from betaplane.problems.problem import Problem

Groups = Callable[[nn.Module, dict[str, float]], Sequence[Mapping[str, Any]]]
EXAMPLE = (
    'groups=lambda module, settings: [{"name": "embedding", "params": module.embedding.parameters()}'
    ", ...]"
)
MAX_SHOWN_NAMES = 12


class Group(NamedTuple):
    """Some parameters, and the settings that the user gives them."""

    name: str  # "" if it has none
    params: tuple[str, ...]  # names of parameters
    settings: Mapping[str, Any]  # those of its own, by name


def groups_of(
    problem: Problem,
    module: nn.Module,
    params: Mapping[str, nn.Parameter],
    settings: dict[str, float],
    varied: Sequence[str] = (),
) -> list[Group]:
    """The parameter groups of a run.

    ```
    problem.groups  groups                                                   names
    None            all parameters; of each varied group, those whose names  submodules, parameters
                    start with its own; the longer name first
    a function      those that it returns                                    their "name"
    ```

    Args:
        problem: the problem.
        module: its module.
        params: the parameters that are trained, by name: the module's, and those of the loss.
        settings: the settings of the run, which the function receives.
        varied: names of the groups that have settings of their own, such as "embedding".

    Raises:
        BadInput: there is no such group, or the function returns no groups of all parameters.
    """
    if problem.groups is None:
        return _groups_by_name(params, varied, problem.where)
    groups = _own_groups(problem, module, params, settings)
    _check_names(varied, [group.name for group in groups if group.name], problem.where)
    return groups


def groups_at_fixed_settings(problem: Problem, module: nn.Module) -> list[Group]:
    """The groups of a problem if every setting is 1/2: to check and compare problems."""
    params = dict(module.named_parameters())
    if isinstance(problem.loss, nn.Module):
        params |= {f"loss.{name}": p for name, p in problem.loss.named_parameters()}
    return groups_of(problem, module, params, defaultdict(lambda: 0.5))


def _groups_by_name(
    params: Mapping[str, nn.Parameter], varied: Sequence[str], where: str
) -> list[Group]:
    _check_names(varied, list(_prefixes(params)), where)
    longest_first = sorted(set(varied), key=len, reverse=True)
    members: dict[str, list[str]] = {}
    for param in params:
        name = next((v for v in longest_first if f"{param}.".startswith(f"{v}.")), "")
        members.setdefault(name, []).append(param)
    for name in varied:
        if name not in members:
            raise BadInput(
                "Each parameter of the group is in another group, too",
                value=name,
                allowed="groups with parameters of their own",
                where=where,
            )
    return [Group(name, tuple(names), {}) for name, names in members.items()]


def _prefixes(params: Iterable[str]) -> dict[str, None]:
    """The names of parameters and of the submodules that they are in, shorter ones first."""
    parts = [param.split(".") for param in params]
    depth = max(map(len, parts), default=0)
    return {".".join(p[:k]): None for k in range(1, depth + 1) for p in parts if k <= len(p)}


def _check_names(varied: Iterable[str], known: Sequence[str], where: str) -> None:
    for name in varied:
        if name not in known:
            raise unknown_group(name, known, where)


def unknown_group(name: str, known: Sequence[str], where: str) -> BadInput:
    """The error for a group that does not exist, with the nearest name; of many, some are shown."""
    error = unknown("parameter group", name, known, where=where)
    text, _, choices = error.what.partition("Choose one of: ")
    names = choices.split(", ")
    shown = ", ".join(names[:MAX_SHOWN_NAMES]) + (", ..." if len(names) > MAX_SHOWN_NAMES else "")
    return BadInput(f"{text}Choose one of: {shown}" if known else text.rstrip(), where=where)


def _own_groups(
    problem: Problem,
    module: nn.Module,
    params: Mapping[str, nn.Parameter],
    settings: dict[str, float],
) -> list[Group]:
    """The groups that the user's function returns, checked."""
    assert problem.groups is not None
    names = {id(p): name for name, p in params.items()}
    groups: list[Group] = []
    for given in _listed(problem.groups(module, copy.copy(settings)), problem.where):
        own = {key: value for key, value in given.items() if key not in ("name", "params")}
        members = _members(given["params"], names, problem.where)
        groups.append(Group(str(given.get("name", "")), members, _flat(own, problem.where)))
    _check_partition(groups, params, problem.where)
    return groups


def _listed(groups: Any, where: str) -> list[Mapping[str, Any]]:
    listed = list(groups) if isinstance(groups, (list, tuple)) else []
    if not listed or not all(isinstance(g, Mapping) and "params" in g for g in listed):
        raise BadInput(
            "groups(module, settings) does not return parameter groups",
            value=type(groups).__name__,
            allowed='a list of dicts with "params" and "name", as for a torch optimizer',
            where=where,
            instead=EXAMPLE,
        )
    return listed


def _members(given: Any, names: Mapping[int, str], where: str) -> tuple[str, ...]:
    """The names of the parameters of a group, which may be given as (name, parameter) pairs."""
    given = [given] if isinstance(given, nn.Parameter) else list(given)
    tensors = [item[1] if isinstance(item, tuple) else item for item in given]
    if strange := [t for t in tensors if id(t) not in names]:
        raise BadInput(
            "A group contains what is no parameter of the module or the loss",
            value=type(strange[0]).__name__,
            allowed="parameters of the module that the function receives",
            where=where,
            instead=EXAMPLE,
        )
    return tuple(names[id(t)] for t in tensors)


def _flat(own: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings of a group with betas by their names."""
    flat = {key: value for key, value in own.items() if key != "betas"}
    betas = own.get("betas", ())
    if not isinstance(betas, (tuple, list)):
        allowed, instead = "two numbers in [0, 1)", '"betas": (0.9, 0.999)'
        raise BadInput(
            "betas do not fit", value=betas, allowed=allowed, where=where, instead=instead
        )
    return flat | dict(zip(("beta1", "beta2", "beta3"), betas, strict=False))


def _check_partition(
    groups: Sequence[Group], params: Mapping[str, nn.Parameter], where: str
) -> None:
    """Check that each parameter is in one group, and that names are not repeated."""
    members = [name for group in groups for name in group.params]
    names = [group.name for group in groups if group.name]
    repeated = [name for name in members if members.count(name) > 1]
    missing = [n for n, p in params.items() if p.requires_grad and n not in set(members)]
    faults = {
        "Two groups have one name": [name for name in names if names.count(name) > 1],
        "A parameter is in two groups": repeated,
        "A parameter is in no group, so that an optimizer would not train it": missing,
    }
    for what, found in faults.items():
        if found:
            allowed = "each parameter in one group; requires_grad_(False) for those not trained"
            raise BadInput(what, value=found[0], allowed=allowed, where=f"{where}, groups")
