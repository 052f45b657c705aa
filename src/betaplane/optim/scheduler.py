"""Schedule any hyperparameter of a param group: betas, eps, weight decay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, unknown
from betaplane.optim.hyperparameters import (
    changed_options,
    check_value,
    hyperparameters,
    write_value,
)
from betaplane.optim.schedule_functions import Value


class Schedule:
    """Sets hyperparameters of param groups before every step, as torch.optim.lr_scheduler sets lr.

    It can be used together with a scheduler of lr. The constructor sets the values of step t = 1; `step()`, called
    after the optimizer's, sets those of the next step. Values depend on t alone, so t is all that is saved, and a
    resumed run continues exactly. `betaplane.optim.schedule_functions` has functions for common schedules.

    Adam divides v by 1 - beta2^t, as if beta2 had always had its present value. While beta2 changes, that is wrong: in
    a ramp from 0.95 to 0.999 over 1,000 steps updates are up to 20% too small, from 0.999 to 0.95 up to 19% too large.
    With debias="schedule", an option of this package's optimizers, the correction follows the schedule.

    A hyperparameter that is a tensor is written in place, so that compiled and captured steps see it. Only the
    constructor gives each group a tensor of its own, because torch lets groups share one. A step under torch.compile is
    compiled again for every new plain number, which takes seconds: use tensors for the betas there.

    Args:
        optimizer: any torch.optim.Optimizer.
        values: by name ("beta2", "eps", "weight_decay", ...): a function of the step t = 1, 2, ... for all groups, or a
            list with one function per group, None for a group that is not scheduled. Groups that are added later are
            not scheduled by a list. The elements of betas are named beta1, beta2, beta3; those of an eps that is a
            tuple eps1, eps2.

    Raises:
        BadInput: for a name that a group does not have, or a value out of range. It names the step and the group, and
            nothing is written.

    Source: torch.optim.lr_scheduler.LambdaLR, whose functions return a factor; these return the
        value itself.

    Example:
        >>> import torch
        >>> from betaplane.optim.schedule_functions import horizon
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = torch.optim.AdamW([p], betas=(0.9, 0.999))
        >>> schedule = Schedule(optimizer, beta2=horizon(0.9, 0.999, steps=2), eps=lambda t: 1e-6 / t)
        >>> for _ in range(2):
        ...     p.square().sum().backward()
        ...     optimizer.step()
        ...     schedule.step()
        >>> schedule.get_last_value("beta2"), optimizer.param_groups[0]["betas"]
        ([0.999], (0.9, 0.999))
        >>> schedule.state_dict()
        {'t': 3}
    """

    def __init__(self, optimizer: Optimizer, **values: Value | Sequence[Value | None]) -> None:
        if not isinstance(optimizer, Optimizer):
            allowed = "a torch.optim.Optimizer"
            raise BadInput(
                "This is no optimizer",
                value=type(optimizer).__name__,
                allowed=allowed,
                where="Schedule",
            )
        if not values:
            raise BadInput(
                "There is nothing to schedule",
                where="Schedule",
                instead="beta2=lambda t: 1 - t**-0.8",
            )
        self.optimizer = optimizer
        self.functions = {
            name: _functions(name, value, len(optimizer.param_groups))
            for name, value in values.items()
        }
        self._set(1, own=True)

    def step(self) -> None:
        """Set the values of the next step; call it after the optimizer's step.

        Raises:
            BadInput: for a value out of range; nothing is written then, and t stays.
        """
        self._set(self.t + 1)

    def get_last_value(self, name: str) -> list[float | None]:
        """The value that was set last, one per group; None for a group that is not scheduled.

        Args:
            name: one of the constructor's.

        Raises:
            BadInput: for another name.
        """
        if not isinstance(name, str) or name not in self.functions:
            allowed = ", ".join(self.functions)
            raise BadInput(
                "This is not scheduled", value=name, allowed=allowed, where="get_last_value"
            )
        return [values.get(name) for values in self._last]

    def state_dict(self) -> dict[str, int]:
        """The step. Functions are not saved: create the Schedule with the same ones, then load."""
        return {"t": self.t}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved step, and set its values; before or after the optimizer is loaded.

        Args:
            state_dict: the result of `state_dict()`.

        Raises:
            BadInput: it is not a Schedule's, or a value is out of range.
        """
        t = state_dict.get("t") if isinstance(state_dict, Mapping) else None
        if not isinstance(t, int) or isinstance(t, bool) or t < 1:
            raise BadInput(
                "The state dict is not a Schedule's", value=state_dict, allowed="{'t': 1 or more}"
            )
        self._set(t)

    def _set(self, t: int, own: bool = False) -> None:
        """Compute every value of step t, check all, then write them."""
        groups = self.optimizer.param_groups
        values = [self._values(i, group, t) for i, group in enumerate(groups)]
        changes = [changed_options(group, new) for group, new in zip(groups, values, strict=True)]
        for i, (group, change) in enumerate(zip(groups, changes, strict=True)):
            self._check({**group, **change}, f"group {i} at step {t}")
        for group, change in zip(groups, changes, strict=True):
            group.update(
                {key: write_value(group[key], new, own=own) for key, new in change.items()}
            )
        self.t, self._last = t, values

    def _values(self, i: int, group: Mapping[str, Any], t: int) -> dict[str, float]:
        """The values of one group at step t."""
        known, values, where = hyperparameters(group), {}, f"group {i} at step {t}"
        for name, functions in self.functions.items():
            function = _of_group(functions, i)
            if function is not None:
                if name not in known:
                    raise unknown("hyperparameter", name, known, where=where, instead="{}=...")
                values[name] = check_value(name, function(t), known[name], where)
        return values

    def _check(self, group: Mapping[str, Any], where: str) -> None:
        """Raise BadInput if the rule of one of this package's optimizers would reject the group."""
        rule_of = getattr(self.optimizer, "rule_of", None)
        try:
            if rule_of is not None:
                rule_of(group)
        except BadInput as error:
            raise BadInput(
                error.what,
                value=error.value,
                allowed=error.allowed,
                where=where,
                instead=error.instead,
            ) from None


def _functions(name: str, value: Any, groups: int) -> Any:
    """One function for all groups, or a list with one per group."""
    if callable(value):
        return value
    per_group = list(value) if isinstance(value, list | tuple) else None
    if per_group is None or not all(item is None or callable(item) for item in per_group):
        allowed, instead = "a function of t, or one for each group", f"{name}=lambda t: ..."
        raise BadInput(
            f"{name} is not a function",
            value=value,
            allowed=allowed,
            where="Schedule",
            instead=instead,
        )
    if len(per_group) != groups:
        allowed = f"{groups}, one for each group"
        raise BadInput(
            f"{name} does not fit the groups",
            value=len(per_group),
            allowed=allowed,
            where="Schedule",
        )
    return per_group


def _of_group(functions: Any, i: int) -> Any:
    """The function of group i; a group that was added later has none in a list."""
    if callable(functions):
        return functions
    return functions[i] if i < len(functions) else None
