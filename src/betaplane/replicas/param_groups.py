"""The rule and the learning rate of each parameter group of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from torch import Tensor, nn

from betaplane.errors import BadInput, unknown
from betaplane.problems.check import call_user_code
from betaplane.problems.groups import Group, groups_of
from betaplane.problems.problem import Problem
from betaplane.replicas.objective import MODULE_PREFIX, Objective, fresh_objective, isolated
from betaplane.replicas.run import Run, run_values, with_peak
from betaplane.rules._rule import Rule


@dataclass(frozen=True)
class ParamGroup:
    """The parameters of an objective that share a rule and a learning rate."""

    params: tuple[str, ...]  # names in the objective
    rule: Rule
    lr: float  # peak learning rate


def param_groups(problem: Problem, objective: Objective, run: Run) -> list[ParamGroup]:
    """The groups of a run, in the same order for all runs of a map; one group without groups.

    Raises:
        BadInput: a group does not exist, or a setting of one is unknown or out of range.
    """
    params = _optimizer_parameters(objective)
    if problem.groups is None and not run.own:
        return [ParamGroup(tuple(params), run.rule, run.lr)]
    public = {name.removeprefix(MODULE_PREFIX): name for name in params}
    groups = groups_of(
        problem,
        objective.module,
        {short: params[name] for short, name in public.items()},
        run_values(run),
        [name.rpartition(".")[0] for name, _ in run.own],
    )
    return [_param_group(group, public, run, problem.where) for group in groups]


def check_groups(problem: Problem, run: Run) -> None:
    """Raise BadInput unless a run has the parameter groups of which it varies settings."""
    if problem.groups is None and not run.own:
        return
    with isolated(problem):
        objective = fresh_objective(problem, run, False, "cpu")
        what = f"Making the parameter groups of {problem.where} failed"
        call_user_code(what, lambda: param_groups(problem, objective, run))


def groups_of_runs(
    problem: Problem, objectives: Sequence[Objective], runs: Sequence[Run]
) -> list[list[ParamGroup]]:
    """The groups of each run of a stack, from one objective per run or one for all."""
    if problem.groups is None and not runs[0].own:
        params = tuple(_optimizer_parameters(objectives[0]))
        return [[ParamGroup(params, run.rule, run.lr)] for run in runs]
    pairs = zip(cycle(objectives), runs, strict=False)
    return [param_groups(problem, objective, run) for objective, run in pairs]


def _param_group(group: Group, public: Mapping[str, str], run: Run, where: str) -> ParamGroup:
    of_run = {name.rpartition(".")[2]: v for name, v in run.own if _group(name) == group.name}
    settings = {**group.settings, **of_run}
    lr = settings.pop("lr", run.lr)
    _check_settings(settings, lr, run.rule, f"{where}, group {group.name!r}")
    rule = replace(run.rule, **settings)
    if getattr(rule, "peak_lr", None) == run.lr:  # the peak of the run's lr, not of the group's
        rule = replace(rule, peak_lr=None)  # pyright: ignore[reportCallIssue]
    params = tuple(public[name] for name in group.params)
    return ParamGroup(params, with_peak(rule, lr), lr)


def _group(name: str) -> str:
    return name.rpartition(".")[0]


def _check_settings(settings: Mapping[str, Any], lr: Any, rule: Rule, where: str) -> None:
    known = rule.hyperparameters()
    for name in settings:
        if name not in known:
            raise unknown("setting of a group", name, [*known, "lr"], where=where)
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 <= lr < float("inf"):
        raise BadInput("lr is out of range", value=lr, allowed="[0, inf)", where=where)


def _optimizer_parameters(objective: Objective) -> dict[str, nn.Parameter]:
    """All parameters, also frozen ones, which may be unfrozen later; no integer tensors."""
    named = objective.named_parameters()
    return {name: p for name, p in named if p.requires_grad or p.is_floating_point()}


class Layout:
    """Which group each parameter of a stack belongs to.

    The hyperparameters of a replica are those of the first group by their names, and those of other
    groups by "1.beta2", "2.beta2" and so on.
    """

    def __init__(self, groups: Sequence[ParamGroup]) -> None:
        self.rules = [group.rule for group in groups]  # with the hyperparameters that all share
        self.group_of = {name: i for i, group in enumerate(groups) for name in group.params}

    def rule(self, param: str, hyper: Mapping[str, Any]) -> Rule:
        """The rule of a parameter, with the hyperparameters of a replica."""
        i = self.group_of[param]
        start = _prefix(i)
        own = {name[len(start) :]: v for name, v in hyper.items() if name.startswith(start)}
        return replace(self.rules[i], **{name: v for name, v in own.items() if "." not in name})

    def lr(self, param: str, lr: Tensor) -> Tensor:
        """The learning rate of a parameter, from that of a replica, () or (groups,)."""
        return lr if len(self.rules) == 1 else lr[self.group_of[param]]


def _prefix(group: int) -> str:
    return f"{group}." if group else ""


def varying_hyperparameters(runs: Sequence[Sequence[ParamGroup]]) -> dict[str, list[float]]:
    """The values in which the runs differ, one per run, by the names of `Layout`."""
    return {
        f"{_prefix(i)}{name}": [getattr(rule, name) for rule in rules]
        for i in range(len(runs[0]))
        for rules in [[groups[i].rule for groups in runs]]
        for name in _varying([*rules])
    }


def _varying(rules: Sequence[Rule]) -> list[str]:
    names = (*rules[0].hyperparameters(), *(["peak_lr"] if hasattr(rules[0], "peak_lr") else []))
    return [name for name in names if len({getattr(rule, name) for rule in rules}) > 1]
