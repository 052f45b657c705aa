"""Machine code for tiny problems, against the plain engine and torch's stack in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from betaplane.problems import Problem, counterexample, power, quadratic, reddi, valley
from betaplane.replicas import Options, Run, train_plain
from betaplane.replicas.objective import isolated
from betaplane.replicas.scalar import new_training
from betaplane.replicas.scalar_value import ScalarValue
from betaplane.replicas.stacked import Training
from betaplane.rules import SGD, Adam, AdamW, Lion

F64 = torch.float64
STEPS = 130  # not a multiple of the points: the last window is shorter
OPTIONS = Options(points=7, early_stop=False)


def line() -> Problem:
    """A user's problem: two unknowns, minibatches of three, autograd."""
    x = torch.linspace(-1, 1, 12, dtype=F64)[:, None]
    make = lambda: nn.Linear(1, 1).double()  # noqa: E731
    loss = nn.functional.mse_loss
    return Problem("line", make, loss, x, 2 * x - 1, batch_size=3, steps=STEPS, lr=0.05)


PROBLEMS = {
    "counterexample": counterexample(n=5, steps=STEPS, dtype=F64),
    "quadratic": quadratic(A=3, steps=STEPS, dtype=F64),
    "reddi": reddi(order="replacement", steps=STEPS, dtype=F64),
    "power": power(k=5, steps=STEPS),
    "valley": valley(noise=0.1, batch_size=4, dimension=3, steps=STEPS, dtype=F64),
    "line": line(),
}
RULES = {
    "AdamW": (AdamW(beta1=0.5, weight_decay=0.1), AdamW(beta2=0.9, eps=1e-3)),
    "Lion": (Lion(), Lion(beta1=0.5)),
    "SGD": (SGD(momentum=0.5), SGD()),
}
CASES = [(problem, "Adam") for problem in PROBLEMS] + [("quadratic", rule) for rule in RULES]


def run_of(rule, problem: Problem) -> Run:
    return Run(rule, problem.lr, problem.batch_size, 1)


def trained(make, problem: Problem, runs: list[Run]) -> tuple[Training, list[np.ndarray]]:
    with isolated(problem):
        training = make(problem, runs, OPTIONS)
        return training, [outcome.curve for outcome in training.outcomes()]


@pytest.mark.parametrize(("problem", "rule"), CASES, ids=str)
def test_code_takes_the_steps_of_plain_torch(problem, rule):
    problem = PROBLEMS[problem]
    rules = RULES.get(rule, (Adam(beta1=0.0, beta2=0.9), Adam(beta2=0.99, eps=0.0)))
    runs = [run_of(each, problem) for each in rules]
    training, curves = trained(new_training, problem, runs)
    reference, expected = trained(Training, problem, runs)
    assert training.code is not None
    for name, p in training.stack.params.items():
        torch.testing.assert_close(p, reference.stack.params[name], rtol=1e-12, atol=1e-14)
    for run, curve, other in zip(runs, curves, expected, strict=True):
        np.testing.assert_allclose(curve, other, rtol=1e-6)
        np.testing.assert_allclose(curve, train_plain(problem, run, OPTIONS).curve, rtol=1e-6)


def test_the_same_code_serves_other_hyperparameters():
    problem = PROBLEMS["quadratic"]
    texts = {
        trained(new_training, problem, [run_of(rule, problem)])[0].code.loop.text
        for rule in (Adam(beta1=0.1), Adam(beta2=0.5, eps=0.1))
    }
    assert len(texts) == 1


def test_what_has_no_code_is_trained_by_torch(monkeypatch):
    large = Problem(
        "large", lambda: nn.Linear(40, 1), nn.functional.mse_loss, torch.ones(4, 40),
        torch.ones(4, 1), batch_size=2, steps=4, lr=0.1,
    )  # fmt: skip
    dropout = line().with_(module=lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1).double()))
    for problem in (large, dropout):
        training, curves = trained(new_training, problem.with_(steps=4), [run_of(Adam(), problem)])
        assert training.code is None
        assert np.isfinite(curves[0]).all()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    problem = power(k=9, steps=STEPS)
    training, curves = trained(new_training, problem, [run_of(Adam(), problem)])
    assert training.code is None
    np.testing.assert_array_equal(
        curves[0], train_plain(problem, run_of(Adam(), problem), OPTIONS).curve
    )


@pytest.mark.parametrize("problem", ["counterexample", "quadratic", "reddi", "power"])
def test_the_loss_on_all_examples_has_code_that_agrees_with_torch(problem):
    problem = PROBLEMS[problem]
    training, _ = trained(new_training, problem, [run_of(Adam(beta1=b), problem) for b in (0, 0.9)])
    assert training.value is not None
    losses = training.value(training.stack, training.inputs, training.targets)
    np.testing.assert_allclose(losses, Training._full_value(training), rtol=1e-14)


def test_code_that_disagrees_with_torch_is_not_used(monkeypatch):
    problem = PROBLEMS["quadratic"]
    monkeypatch.setattr(ScalarValue, "__call__", lambda self, stack, x, y: np.ones(len(stack)))
    training, curves = trained(new_training, problem, [run_of(Adam(), problem)])
    assert training.value is None
    _, expected = trained(Training, problem, [run_of(Adam(), problem)])
    np.testing.assert_allclose(curves[0], expected[0], rtol=1e-6)


def test_numbers_that_a_module_draws_are_those_of_the_seed():
    class Drawn(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.ones(1, dtype=F64))
            self.scale = torch.rand(()).item()

        def forward(self, s):
            return self.scale * s * self.x

    problem = line().with_(module=Drawn)
    for seed in (1, 2):
        run = Run(Adam(), problem.lr, problem.batch_size, seed)
        training, curves = trained(new_training, problem, [run])
        assert training.code is not None
        np.testing.assert_allclose(curves[0], train_plain(problem, run, OPTIONS).curve, rtol=1e-6)
