"""Actions on alerts: skip the step, clip gradients from now on, ask the run to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, unknown
from betaplane.monitor.alert import Alert
from betaplane.monitor.capture.hooks import gradient_scale
from betaplane.monitor.detectors import ALL
from betaplane.monitor.history import History

Act = Mapping[str, str] | Callable[[Alert], str | None] | None
ACTIONS = ("skip", "clip", "stop")
EXAMPLE = 'act={"sudden-data-change": "skip"}'


class Actions:
    """Take the actions that a user chose for alerts.

    Args:
        act: action by rule id, or a function of an alert that returns an action or None; None for
            no action at all.
        optimizer: the watched optimizer.
        history: its gradient norms are the limit of "clip" if the alert proposes none.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> actions = Actions({"dead-rows": "stop"}, torch.optim.SGD([p], lr=0.1), History())
        >>> alert = Alert(3, "w", "dead rows", "", "", "", "", "", rule="dead-rows")
        >>> actions.on_alert(alert), actions.stop_requested
        ('stop', True)
    """

    def __init__(self, act: Act, optimizer: Optimizer, history: History) -> None:
        check_act(act)
        self.act = act
        self.optimizer = optimizer
        self.history = history
        self.stop_requested = False
        self.max_norm = math.inf  # of all gradients together, gradient units
        self.skips = False  # whether the step that is about to be taken is skipped
        self.gradients: list[tuple[Tensor, Tensor]] = []  # of a skipped step

    @property
    def enabled(self) -> bool:
        """Whether any action may be taken."""
        return self.act is not None

    def on_alert(self, alert: Alert) -> str:
        """Choose an action, and prepare it; "" if there is none."""
        name = self._chosen(alert)
        if name == "stop":
            self.stop_requested = True
        elif name == "skip":
            self.skips = True
        elif name == "clip":
            limit = alert.remedy.get("max_norm", self.history.gradients.usual_norm)
            if not (limit and math.isfinite(limit)):
                return ""
            self.max_norm = limit
        return name

    def before_step(self) -> bool:
        """Clip or hide the gradients; returns whether the step is skipped."""
        with_gradient = [
            p
            for group in self.optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if self.skips:
            self.skips = False
            self.gradients = [(p, p.grad) for p in with_gradient]
            for p in with_gradient:
                p.grad = None  # an optimizer leaves such a parameter and its state as they are
            return True
        if self.max_norm < math.inf:
            limit = self.max_norm * gradient_scale(self.optimizer)
            torch.nn.utils.clip_grad_norm_(with_gradient, limit)
        return False

    def after_step(self) -> None:
        """Return the gradients of a skipped step, and forget skips that came too late."""
        for p, gradient in self.gradients:
            p.grad = gradient
        self.gradients = []
        self.skips = False

    def _chosen(self, alert: Alert) -> str:
        if self.act is None:
            return ""
        chosen = self.act(alert) if callable(self.act) else self.act.get(alert.rule)
        if chosen is not None and chosen not in ACTIONS:
            raise unknown("action", str(chosen), ACTIONS, where="watch", instead="{}")
        return chosen or ""


def check_act(act: object) -> None:
    """Check that act is a function, or valid actions by the ids of rules; and that it can be taken.

    Raises:
        BadInput: it is not, or several processes train one model, whose steps would differ.
    """
    if act is None:
        return
    if not (isinstance(act, Mapping) or callable(act)):
        allowed = "actions by rule id, or a function of an alert"
        raise BadInput(
            "act is of the wrong type", value=act, allowed=allowed, where="watch", instead=EXAMPLE
        )
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        ranks = torch.distributed.get_world_size()
        if ranks > 1:
            what = "act is for one process: ranks would take different steps"
            raise BadInput(what, value=f"{ranks} ranks", where="watch", instead="act=None")
    if isinstance(act, Mapping):
        rules = [detector.id for detector in ALL]
        for rule, action in act.items():
            if rule not in rules:
                raise unknown(
                    "rule", str(rule), rules, where="watch", instead='act={{"{}": "skip"}}'
                )
            if action not in ACTIONS:
                raise unknown("action", str(action), ACTIONS, where="watch", instead='"{}"')
