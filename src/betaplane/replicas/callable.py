"""The callable engine: runs of the user's own training function, which returns or yields losses."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.problems import Trainer
from betaplane.problems.check import call_user_code
from betaplane.problems.commands.command_run import CommandRun
from betaplane.problems.reports import reporting
from betaplane.replicas.judge import curve_of
from betaplane.replicas.reported import train_reported
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing

Settings = dict[str, float]


def train_callable(trainer: Trainer, run: Run, options: Options = Options()) -> Outcome:
    """Train one run with the user's own training function.

    A generator is stopped as soon as the verdict of the run is certain: its `close` is called, so
    that its `finally` blocks run.

    Args:
        trainer: the function, which returns a sequence of losses or yields them.
        run: the hyperparameters and the seed.
        options: with `early_stop=False`, or another judge than the loss, it trains to the end, or
            until a loss is not finite.
    """
    start = time.perf_counter()
    settings = run_values(run) | _steps(trainer)
    if (training := reporting(trainer.train)) is not None:
        return train_reported(trainer, training, settings, run, options)
    text = ", ".join(f"{name}={value:g}" for name, value in settings.items())
    what = f"{trainer.name}({text}; seed {run.seed}) failed"
    losses = call_user_code(what, lambda: trainer.train(settings, run.seed))
    if isinstance(losses, Generator | CommandRun):
        collect = lambda: _collected(losses, trainer, options)  # noqa: E731
        values, whole = call_user_code(what, collect)
    else:
        values, whole = losses, True
    curve = _curve(values, trainer.name)
    failure = losses.failure if isinstance(losses, CommandRun) else None
    seconds, judge = time.perf_counter() - start, options.judge
    points = curve_of(curve, [1] * len(curve), judge)
    return Outcome(float(curve[0]), points, whole, seconds, judge, failure)


def run_values(run: Run) -> Settings:
    """The settings of a run that its training function receives."""
    values = {name: getattr(run.rule, name) for name in run.rule.hyperparameters()}
    return values | {"lr": run.lr, "batch_size": run.batch_size, **dict(run.own)}


def _steps(trainer: Trainer) -> Settings:
    """The number of steps, if it is given."""
    steps = trainer.defaults.get("steps")
    return {} if steps is None else {"steps": steps}


def _collected(
    losses: Generator[Any, None, Any] | CommandRun, trainer: Trainer, options: Options
) -> tuple[list[float], bool]:
    """The losses that a generator yields, and whether it was not stopped before its end."""
    yielded: list[float] = []
    is_certain = _verdict_check(trainer, options)
    try:
        for loss in losses:
            yielded.append(_number(loss, trainer.name))
            if is_certain(yielded):
                return yielded, False
    finally:
        losses.close()
    return yielded, True


def _verdict_check(trainer: Trainer, options: Options) -> Callable[[list[float]], bool]:
    """A function of the losses so far: whether the verdict of the run is certain.

    A loss that is not finite is certain. If the number of losses of a run is known, the rule of the
    other engines applies too (`certainly_failing`).
    """
    expected = getattr(trainer.train, "losses", None) if options.stops_early else None

    def is_certain(losses: list[float]) -> bool:
        if not np.isfinite(losses[-1]):
            return True
        if expected is None or len(losses) >= expected:
            return False
        curves = np.array([losses], np.float32)
        return bool(certainly_failing(curves, curves[:, 0], expected)[0])

    return is_certain


def _number(loss: Any, name: str) -> float:
    try:
        return float(loss.item() if hasattr(loss, "item") else loss)
    except (TypeError, ValueError, RuntimeError):
        raise _no_losses(loss, name) from None


def _curve(losses: Any, name: str) -> np.ndarray:
    try:
        curve = np.atleast_1d(np.asarray([] if losses is None else losses, dtype=np.float32))
    except (TypeError, ValueError, RuntimeError):
        curve = np.empty(0)
    if curve.ndim != 1 or not len(curve):
        raise _no_losses(losses, name)
    return curve


def _no_losses(losses: Any, name: str) -> BadInput:
    return BadInput(
        "train(settings, seed) returned no sequence of losses",
        value=reprlib.repr(losses),
        allowed="a sequence of at least 1 float",
        where=f"trainer {name!r}",
        instead="return losses  # a list of floats; or `yield loss` in each step",
    )
