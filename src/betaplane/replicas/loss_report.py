"""Train runs in the loop of a library, which reports their losses by callbacks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.problems import Trainer
from betaplane.problems.check import call_user_code
from betaplane.problems.read_settings import ReadSettings
from betaplane.problems.reports import Reporting
from betaplane.replicas.judge import Judge, curve_of
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing


class LossReport:
    """The losses of a run so far, and whether its verdict is certain.

    A loss that is not finite is certain. If the number of losses is known, the rule of the other
    engines applies too (`certainly_failing`).

    Args:
        varied: the settings that must have an effect.
        early_stop: apply that rule.
    """

    def __init__(self, varied: tuple[str, ...] = (), early_stop: bool = True) -> None:
        self.varied, self.early_stop = varied, early_stop
        self.losses: list[float] = []
        self.validations: list[float] = []
        self.expected: int | None = None
        self.is_certain = False

    def expect(self, losses: int) -> None:
        """Set the number of losses of a whole run."""
        self.expected = losses

    def loss(self, value: Any) -> bool:
        """Record the next loss; return whether the verdict of the run is certain."""
        self.losses.append(float(value))
        self.is_certain = self.is_certain or self._fails()
        return self.is_certain

    def validation(self, value: Any) -> None:
        """Record a value of the held-out metric."""
        self.validations.append(float(value))

    def take(self, value: Any) -> bool:
        """Record what a training function yields: a loss, or a dict with loss and validation.

        Raises:
            TypeError, ValueError, RuntimeError, KeyError: it is neither.
        """
        if not isinstance(value, Mapping):
            return self.loss(_number(value))
        if value.get("validation") is not None:
            self.validation(_number(value["validation"]))
        return self.loss(_number(value["loss"]))

    def outcome(self, name: str, judge: Judge, seconds: float) -> Outcome:
        """The outcome of the run: its curve is that of the losses, or of what it is judged by.

        Raises:
            BadInput: the run is judged by held-out data, and reported none.
        """
        curve = np.array(self.losses, np.float32)
        if judge == "validation":
            initial, curve = self._held_out(name, diverged=not np.isfinite(curve[-1]))
            return Outcome(initial, curve, True, seconds, judge)
        points = curve_of(curve, [1] * len(curve), judge)
        held_out = np.array(self.validations, np.float32) if self.validations else None
        whole = not self.is_certain
        return Outcome(float(curve[0]), points, whole, seconds, judge, held_out=held_out)

    def _held_out(self, name: str, diverged: bool) -> tuple[float, np.ndarray]:
        """The first held-out value and all of them; inf at the end of a run that diverged."""
        values = [*self.validations, *([np.inf] if diverged else [])]
        if not values:
            raise BadInput(
                "The training reported no held-out metric",
                allowed='`yield {"loss": loss, "validation": value}`, or an evaluation',
                where=f"trainer {name!r}",
                instead='judge="loss"',
            )
        return float([*self.validations, self.losses[0]][0]), np.array(values, np.float32)

    def _fails(self) -> bool:
        if not np.isfinite(self.losses[-1]):
            return True
        if not self.early_stop or self.expected is None or len(self.losses) >= self.expected:
            return False
        curves = np.array([self.losses], np.float32)
        return bool(certainly_failing(curves, curves[:, 0], self.expected)[0])


def train_reported(
    trainer: Trainer, training: Reporting, settings: dict[str, float], run: Run, options: Options
) -> Outcome:
    """Train one run with a function that reports its losses.

    Raises:
        BadInput: it reports no loss.
    """
    start = time.perf_counter()
    varied = (*options.varied, *(["lr"] if "lr" in trainer.defaults else []))
    report = LossReport(varied, options.stops_early)
    given = ReadSettings(settings)
    what = failure_of(trainer, settings, run.seed)
    call_user_code(what, lambda: training.run(given, run.seed, report))
    given.check_read([name for name, _ in run.own], f"trainer {trainer.name!r}")
    if not report.losses:
        raise BadInput(
            "The training made no step",
            value="0 losses",
            allowed="at least 1 step: data that are not empty, max_steps or epochs above 0",
            where=f"trainer {trainer.name!r}",
        )
    return report.outcome(trainer.name, options.judge, time.perf_counter() - start)


def failure_of(trainer: Trainer, settings: Mapping[str, float], seed: int) -> str:
    """The start of the error of a run that failed."""
    text = ", ".join(f"{name}={value:g}" for name, value in settings.items())
    return f"{trainer.name}({text}; seed {seed}) failed"


def _number(value: Any) -> float:
    return float(value.item() if hasattr(value, "item") else value)
