"""What a run is judged by: plain and stacked engines agree with a loop in plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from betaplane.problems import Problem, Trainer, counterexample, minibatches, quadratic
from betaplane.replicas import JUDGES, Options, Run, train_plain, train_stacked
from betaplane.replicas.callable import train_callable
from betaplane.replicas.judge import curve_of, final_value
from betaplane.rules import Adam

STEPS = 24


def regression() -> Problem:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 3, generator=generator, dtype=torch.float64)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)

    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.0), nn.Tanh(), nn.Linear(4, 1)).double()

    loss = nn.functional.mse_loss
    return Problem("regression", net, loss, x, y, batch_size=8, steps=STEPS, lr=0.05)


PROBLEMS = {
    "autograd": regression(),
    "analytic": quadratic(A=3, steps=STEPS, dtype=torch.float64),
}


def in_plain_torch(problem: Problem, run: Run) -> tuple[list[float], list[float]]:
    """The loss of each minibatch, and the norm of the full gradient before each step and at the
    end.
    """
    torch.manual_seed(run.seed)
    module = problem.module()
    rule = torch.optim.Adam(module.parameters(), lr=run.lr, betas=(run.rule.beta1, run.rule.beta2))
    losses, norms = [], []

    def full_norm() -> float:
        loss = problem.loss(module(problem.inputs), problem.targets)
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        return float(torch.cat([g.flatten() for g in gradients]).norm())

    order = minibatches(problem.examples, run.batch_size, problem.order, run.seed, STEPS)
    for t, batch in enumerate(next(order), 1):
        norms.append(full_norm())
        rule.zero_grad()
        loss = problem.loss(module(problem.inputs[batch]), problem.targets[batch])
        loss.backward()
        scale = t**-0.5 if problem.schedule == "inverse_sqrt" else 1.0
        rule.param_groups[0]["lr"] = run.lr * scale
        rule.step()
        losses.append(float(loss.detach()))
    return losses, [*norms, full_norm()]


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_regret_and_gradient_norm_are_those_of_plain_torch(problem):
    runs = [Run(Adam(beta2=beta2), problem.lr, problem.batch_size, 1) for beta2 in (0.9, 0.999)]
    for judge in ("regret", "gradient-norm"):
        options = Options(points=6, judge=judge)
        outcomes = [train_plain(problem, run, options) for run in runs]
        for run, plain, stacked in zip(
            runs, outcomes, train_stacked(problem, runs, options), strict=True
        ):
            losses, norms = in_plain_torch(problem, run)
            means = np.cumsum(losses) / np.arange(1, STEPS + 1)
            expected = means[3::4] if judge == "regret" else norms[4::4]
            final = means[-1] if judge == "regret" else min(norms[4::4])
            for outcome in (plain, stacked):
                np.testing.assert_allclose(outcome.curve, expected, rtol=1e-5)
                assert outcome.final == pytest.approx(final, rel=1e-5)
                if judge == "gradient-norm":
                    assert outcome.initial == pytest.approx(norms[0], rel=1e-9)


def test_a_run_that_ends_with_a_large_loss_may_have_had_a_small_gradient():
    curve = np.array([1.0, 0.01, 5.0])
    assert [final_value(curve, judge) for judge in JUDGES] == [5.0, 5.0, 0.01, 5.0]
    diverged = np.array([1.0, 0.01, np.nan])
    assert [final_value(diverged, judge) for judge in JUDGES] == [np.inf] * 4
    assert curve_of(curve, [2, 1, 1], "gradient-norm") is curve


def test_only_a_loss_ends_a_run_early():
    problem = counterexample(steps=400)
    problem = problem.with_(validation=(problem.inputs, problem.targets))
    run = Run(Adam(beta1=0.0, beta2=0.1), 0.7, 1, 0)  # x grows, and the loss with it
    whole = {judge: train_plain(problem, run, Options(judge=judge)).whole for judge in JUDGES}
    assert whole == {"loss": False, "regret": True, "gradient-norm": True, "validation": True}


def test_the_regret_of_a_function_is_the_mean_of_its_losses():
    trainer = Trainer("mine", lambda settings, seed: [4.0, 2.0, 0.0])
    outcome = train_callable(trainer, Run(Adam(), 0.1, 1, 0), Options(judge="regret"))
    assert outcome.curve.tolist() == [4.0, 3.0, 2.0]
    assert outcome.final == 2.0
