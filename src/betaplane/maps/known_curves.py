"""The curves of a map that are known without training: bounds on the betas, the exact boundary."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from betaplane.maps.grid import Axis, position
from betaplane.maps.phase_map import Curve
from betaplane.maps.plan import Plan
from betaplane.problems import Problem, Trainer
from betaplane.problems.family import variant
from betaplane.rules import Adam, AdamW

CURVE_POINTS = 200
# hyperparameters on which a boundary does not depend, or that are checked one by one
FREE = {"beta1", "beta2", "eps", "weight_decay", "decay"}

Boundary = Callable[[float], float]  # of beta1: the critical beta2, or nan


def curves_of(problem: Problem | Trainer, plan: Plan) -> tuple[Curve, ...]:
    """The known curves of a plan's map."""
    boundary = exact_boundary(problem, plan)
    if boundary is None or not plan.x.of_problem or plan.y.name != "beta2":
        return known_curves(plan.x, plan.y, boundary)
    assert isinstance(problem, Problem)
    variants = [variant(problem, {plan.x.name: value}) for value in plan.x.values]
    critical = [v.boundary(plan.fixed["beta1"]) if v.boundary else math.nan for v in variants]
    return (Curve("exact boundary", np.array(plan.x.values), np.array(critical)),)


def exact_boundary(problem: Problem | Trainer, plan: Plan) -> Boundary | None:
    """The problem's boundary, if it holds for a plan: for Adam without weight decay or other
    options, an eps that is small enough, and the problem's batch size.
    """
    if not isinstance(problem, Problem) or plan.batch_size != problem.batch_size:
        return None
    fixed = plan.fixed
    holds = (
        is_plain_adam(plan.rule)
        and fixed.get("weight_decay", 0.0) == 0.0
        and fixed.get("eps", math.inf) <= problem.boundary_eps
    )
    return problem.boundary if holds else None


def is_plain_adam(rule: object) -> bool:
    """Whether a rule is Adam, or AdamW, without options such as clip or debias."""
    if type(rule) not in (Adam, AdamW):
        return False
    usual = vars(type(rule)())
    return all(getattr(rule, name) == usual[name] for name in usual.keys() - FREE)


def known_curves(x: Axis, y: Axis, boundary: Boundary | None) -> tuple[Curve, ...]:
    """On a (beta1, beta2) map: beta1 = sqrt(beta2), beta1 = beta2, and the exact boundary if known.

    Args:
        x: the horizontal axis.
        y: the vertical axis.
        boundary: the problem's exact critical beta2 as a function of beta1; None if unknown.
    """
    if (x.name, y.name) != ("beta1", "beta2"):
        return ()
    beta1 = 1 - 10.0 ** -np.linspace(0, position("beta1", x.values[-1]), CURVE_POINTS)
    curves = [Curve("beta1 = sqrt(beta2)", beta1, beta1**2), Curve("beta1 = beta2", beta1, beta1)]
    if boundary is not None:
        coarse = beta1[::4]
        exact = np.array([boundary(float(b)) for b in coarse])
        if np.isfinite(exact).any():
            curves.append(Curve("exact boundary", coarse, exact))
    return tuple(curves)
