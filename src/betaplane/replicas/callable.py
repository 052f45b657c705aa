"""The callable engine: runs of the user's own training function, which returns or yields losses."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.problems import Trainer
from betaplane.problems.check import call_user_code
from betaplane.problems.commands.command_run import CommandRun
from betaplane.problems.read_settings import ReadSettings
from betaplane.problems.reports import reporting
from betaplane.replicas.loss_report import LossReport, failure_of, train_reported
from betaplane.replicas.run import Options, Outcome, Run, run_values

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
    settings = run_values(run) | _steps(trainer, run)
    if (training := reporting(trainer.train)) is not None:
        return train_reported(trainer, training, settings, run, options)
    what = failure_of(trainer, settings, run.seed)
    given = ReadSettings(settings) if trainer.command is None else settings
    losses = call_user_code(what, lambda: trainer.train(given, run.seed))
    report = call_user_code(what, lambda: _collected(losses, trainer, options))
    if isinstance(given, ReadSettings) and not report.is_certain:
        given.check_read([name for name, _ in run.own], f"trainer {trainer.name!r}")
    failure = losses.failure if isinstance(losses, CommandRun) else None
    outcome = report.outcome(trainer.name, options.judge, time.perf_counter() - start)
    return replace(outcome, failure=failure)


def _steps(trainer: Trainer, run: Run) -> Settings:
    """The number of steps, if it is given."""
    steps = trainer.defaults.get("steps") if run.steps is None else run.steps
    return {} if steps is None else {"steps": steps}


def _collected(losses: Any, trainer: Trainer, options: Options) -> LossReport:
    """What a function returned or yields; a generator is stopped when the verdict is certain."""
    report = LossReport(early_stop=options.stops_early)
    report.expected = getattr(trainer.train, "losses", None)
    if not isinstance(losses, Generator | CommandRun):
        for value in _values(losses, trainer.name):
            _take(report, value, trainer.name)
        report.is_certain = False  # the function has trained to its end
        return report
    try:
        for value in losses:
            if _take(report, value, trainer.name):
                break
    finally:
        losses.close()
    if not report.losses:
        raise _no_losses([], trainer.name)
    return report


def _take(report: LossReport, value: Any, name: str) -> bool:
    try:
        return report.take(value)
    except (TypeError, ValueError, RuntimeError, KeyError):
        raise _no_losses(value, name) from None


def _values(losses: Any, name: str) -> list[Any]:
    """The losses that a function returned: one number, an array, or a list of numbers or dicts."""
    if isinstance(losses, (list, tuple)) and losses and isinstance(losses[0], Mapping):
        return list(losses)
    try:
        curve = np.atleast_1d(np.asarray([] if losses is None else losses, dtype=np.float32))
    except (TypeError, ValueError, RuntimeError):
        curve = np.empty(0)
    if curve.ndim != 1 or not len(curve):
        raise _no_losses(losses, name)
    return curve.tolist()


def _no_losses(losses: Any, name: str) -> BadInput:
    return BadInput(
        "train(settings, seed) returned no sequence of losses",
        value=reprlib.repr(losses),
        allowed="a sequence of at least 1 float",
        where=f"trainer {name!r}",
        instead="return losses  # a list of floats; or `yield loss` in each step",
    )
