"""A contest: contenders on one problem, tuned alike, then measured on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.measured import interval
from betaplane.claims.tuning import final_loss
from betaplane.problems import Problem
from betaplane.replicas import Outcome, Run
from betaplane.rules._rule import Rule

SHOWN_POINTS = 50  # of a curve in a figure


def contest(
    lab: Lab,
    problem: Problem,
    contenders: Mapping[str, Rule],
    lrs: Mapping[str, Sequence[float]] | Sequence[float],
    suffix: str = "",
    title: str = "",
) -> dict[str, list[Outcome]]:
    """Tune every contender's learning rate, train it with the seeds of the claim, and draw the
    loss.

    The final losses are measured as "final loss of NAME", with the suffix after it.

    Args:
        lab: trains and collects.
        problem: the problem.
        contenders: rules by label.
        lrs: grid of learning rates for all, or one per contender; see `tuning.tune`.
        suffix: what distinguishes this contest from others of the claim, such as " at batch 4".
        title: title of the figure; "" draws none.
    """
    tuned = lab.tune(problem, contenders, lrs)
    outcomes = {}
    for name, rule in contenders.items():
        runs = [Run(rule, tuned.lr(name), problem.batch_size, seed) for seed in lab.seeds]
        outcomes[name] = lab.train(problem, runs)
        lab.measure(f"final loss of {name}{suffix}", [final_loss(o) for o in outcomes[name]])
    if title:
        lab.draw(loss_panel(title, problem.steps, outcomes))
    return outcomes


def loss_panel(title: str, steps: int, outcomes: Mapping[str, Sequence[Outcome]]) -> Panel:
    """The loss against the step, one curve per name, with 95% intervals over seeds.

    A point is the mean over a window of steps, and the geometric mean over seeds. A curve ends as
    soon as a run diverges.
    """
    whole = max(len(outcome.curve) for each in outcomes.values() for outcome in each)
    window = max(1, whole // SHOWN_POINTS)
    series = []
    for name, each in outcomes.items():
        points = min(len(outcome.curve) for outcome in each)
        curves = np.array([outcome.curve[: points // window * window] for outcome in each])
        means = np.log(curves.astype(float).reshape(len(each), -1, window).mean(axis=2))
        low, high = np.exp(np.array([interval(column) for column in means.T])).T
        x = np.arange(1, means.shape[1] + 1) * steps * window / whole
        series.append(Series(name, x, np.exp(means.mean(axis=0)), low, high))
    return Panel(title, "step", "loss", series, y_scale="log")


def held_out_curve(outcome: Outcome) -> np.ndarray:
    """The held-out values that were measured along a run, in order."""
    assert outcome.held_out is not None, "the problem has no held-out data"
    return outcome.held_out[np.isfinite(outcome.held_out)].astype(float)
