"""The built-in problems agree with their equations: values, gradients, minima, counts, and the
settings at which Adam diverges.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch.func import functional_call, grad, grad_and_value, vmap

from betaplane.problems import (
    Problem,
    counterexample,
    digits,
    minibatches,
    power,
    quadratic,
    reddi,
    sparse,
    text,
    valley,
)

F64 = torch.float64
POINTS = (-7.0, -2.5, -2.0, -1.0001, -1.0, -0.5, 0.0, 3.0)


def loss_at(problem: Problem, x: list[float]) -> float:
    """The loss on all the data, with the parameter set to x."""
    module = problem.fresh(0)
    parameters = {"x": torch.tensor(x, dtype=next(module.parameters()).dtype)}
    return problem.loss(
        functional_call(module, parameters, (problem.inputs,)), problem.targets
    ).item()


@pytest.mark.parametrize(("n", "a"), [(3, 1.0), (10, 1.0), (10, 0.25), (20, 1 / 361)])
def test_counterexample_is_the_published_sum(n, a):
    problem = counterexample(n=n, a=a, dtype=F64)
    for x in POINTS:
        f = x / n if x >= -1 else ((x + 2) ** 2 - 3) / (2 * n)
        assert loss_at(problem, [x]) == pytest.approx(f, abs=1e-12)
    assert loss_at(problem, [-2.0]) == pytest.approx(problem.best, abs=1e-12)
    assert problem.inputs[0].item() == pytest.approx(1 + (n - 1) * a)


def test_quadratic_is_the_published_sum():
    for A in (0.0, 1.0, 100.0):
        problem = quadratic(n=10, A=A, dtype=F64)
        for x in POINTS:
            assert loss_at(problem, [x]) == pytest.approx(x**2 / 100 - A**2 / 90, abs=1e-9)
        assert loss_at(problem, [0.0]) == pytest.approx(problem.best, abs=1e-9)


def test_reddi_is_the_published_sequence():
    figure1 = reddi(C=101, period=101, scale=10)
    assert figure1.inputs[:3].tolist() == [1010.0, -10.0, -10.0]
    assert len(figure1.inputs) == 101
    stochastic = reddi(C=101, period=100, scale=10, order="replacement")
    assert (stochastic.inputs == 1010).float().mean().item() == pytest.approx(0.01)
    assert stochastic.inputs.mean().item() == pytest.approx(0.2, rel=1e-5)
    assert reddi(C=3, delta=0.02, order="replacement").inputs.mean().item() == pytest.approx(
        0.02, rel=1e-5
    )
    for problem in (reddi(), reddi(C=2.5, period=3), figure1, stochastic):
        assert loss_at(problem, [-1.0]) == pytest.approx(problem.best, rel=1e-5)
    assert reddi().constrain(torch.tensor([-3.0, 0.5, 7.0])).tolist() == [-1.0, 0.5, 1.0]


def test_valley_has_the_documented_curvatures():
    for rotated in (False, True):
        problem = valley(condition=1e4, dimension=5, rotated=rotated, noise=0.3, dtype=F64)
        h = torch.linalg.eigvalsh(problem.fresh(0).H)
        assert torch.allclose(h, torch.tensor([1e-4, 1e-3, 1e-2, 0.1, 1.0], dtype=F64))
        assert loss_at(problem, [0.0] * 5) == pytest.approx(problem.best, abs=1e-12)
        start = problem.fresh(0).x.tolist()
        assert loss_at(problem, start) == pytest.approx(h.sum().item() / 2)


def test_adam_on_power_has_the_published_ratio():
    problem = power(k=4)
    assert loss_at(problem, [0.0]) == problem.best
    assert loss_at(problem, [-0.5]) == 0.5**4 / 4
    module = problem.fresh(0)
    rule = torch.optim.Adam(module.parameters(), lr=problem.lr, betas=(0.9, 0.93), eps=0.0)
    path = []
    for _ in range(1000):
        rule.zero_grad()
        problem.loss(module(problem.inputs), problem.targets).backward()
        rule.step()
        path.append(module.x.item())
    assert path[-1] / path[-2] == pytest.approx(0.982020914, abs=1e-8)


@pytest.mark.parametrize(
    "problem",
    [
        counterexample(dtype=F64),
        power(k=3),
        power(k=6),
        counterexample(a=0.01, dtype=F64),
        quadratic(A=3, dtype=F64),
        reddi(dtype=F64),
    ],
    ids=lambda p: p.name,
)
@pytest.mark.parametrize("batch", [[0], [1], [2, 0, 1]])
def test_analytic_gradient_is_autograd(problem, batch):
    module = problem.fresh(0)
    batch = [i % problem.examples for i in batch]

    def loss(parameters, s, target):
        return problem.loss(functional_call(module, parameters, (s,)), target)

    for x in POINTS:
        at = {"x": torch.tensor([x], dtype=F64)}, problem.inputs[batch], problem.targets[batch]
        gradient, value = grad_and_value(loss)(*at)
        analytic, analytic_value = problem.gradient(*at)
        assert analytic["x"].shape == (1,)
        assert analytic_value.shape == ()
        assert torch.allclose(analytic["x"], gradient["x"], rtol=1e-12, atol=0)
        assert torch.allclose(analytic_value, value, rtol=1e-12, atol=1e-14)


def adam(
    problem: Problem, beta1: float, beta2: float, slope: Callable[[int, float], float]
) -> float:
    """The last x of Adam in plain floats, if the i-th gradient at x is slope(i, x), in cyclic order."""
    x, m, v = problem.fresh(0).x.item(), 0.0, 0.0
    for t in range(1, problem.steps + 1):
        g = slope((t - 1) % problem.examples, x)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        x -= (
            problem.lr
            / math.sqrt(t)
            * (m / (1 - beta1**t))
            / (math.sqrt(v / (1 - beta2**t)) + 1e-8)
        )
        x = x if problem.constrain is None else min(1.0, max(-1.0, x))
    return x


def test_adam_diverges_below_the_boundary_of_the_counterexample_and_converges_above():
    right = counterexample(n=10)
    s = right.inputs.tolist()

    def slope(i, x):
        return s[i] * min(x + 2, 1)

    assert right.boundary(0.9) == pytest.approx(0.7747, abs=1e-4)
    assert adam(right, 0.5, 0.5, slope) > 50  # to the right, with a gradient that stays 1/n
    assert adam(right, 0.9, 0.999, slope) == pytest.approx(-2, abs=0.05)
    left = counterexample(n=10, x0=-5)
    assert adam(left, 0.5, 0.5, slope) < -50  # to the left, with a gradient that grows
    assert adam(left, 0.9, 0.999, slope) == pytest.approx(-2, abs=0.05)
    assert counterexample(order="shuffle").boundary is None


def test_boundary_separates_convergence_from_divergence_for_reddi_and_the_quadratic():
    online = reddi(C=5)
    s = online.inputs.tolist()
    edge = online.boundary(0.5)
    assert adam(online, 0.5, edge - 0.05, lambda i, x: s[i]) > 0.9
    assert adam(online, 0.5, edge + 0.05, lambda i, x: s[i]) < -0.9
    bowl = quadratic(n=10)
    c = bowl.inputs[:, 0].tolist()
    edge = bowl.boundary(0.5)
    assert edge == pytest.approx(counterexample(n=10).boundary(0.5))
    assert abs(adam(bowl, 0.5, edge - 0.1, lambda i, x: 2 * c[i] * x)) > 2
    assert abs(adam(bowl, 0.5, edge + 0.04, lambda i, x: 2 * c[i] * x)) < 0.1
    assert quadratic(A=1).boundary is None


def test_digits_have_the_published_data():
    problem = digits()
    assert problem.inputs.shape == (1797, 64)
    assert problem.targets.shape == (1797,)
    assert torch.bincount(problem.targets).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    assert problem.inputs.min() == 0
    assert problem.inputs.max() == 1
    assert problem.inputs[0, :8].mul(16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_text_examples_are_windows_of_the_file(tmp_path):
    file = tmp_path / "abc.txt"
    file.write_text("abcab" * 20, encoding="utf-8")
    problem = text(file, context=4, batch_size=2, width=4, layers=1)
    assert problem.inputs[:2].tolist() == [[0, 1, 2, 0], [1, 0, 1, 2]]
    assert problem.targets[:2].tolist() == [[1, 2, 0, 1], [0, 1, 2, 0]]


def test_text_model_is_causal():
    problem = text(context=8)
    module = problem.fresh(0)
    x = problem.inputs[:2].clone()
    before = module(x)
    x[:, 5] = (x[:, 5] + 1) % 7
    after = module(x)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5], after[:, 5])


def train(
    problem: Problem, optimizer: Callable[..., torch.optim.Optimizer], lr: float, steps: int
) -> torch.nn.Module:
    module = problem.fresh(0)
    rule = optimizer(module.parameters(), lr=lr)
    for batch in next(minibatches(problem.examples, problem.batch_size, problem.order, 0, steps)):
        rule.zero_grad()
        problem.loss(module(problem.inputs[batch]), problem.targets[batch]).backward()
        rule.step()
    return module.requires_grad_(False)


def sgd_grid(problem: Problem, lrs: list[float]) -> dict[str, torch.Tensor]:
    """The final parameters of SGD with each learning rate, stacked."""
    module = problem.fresh(0)
    parameters = {name: p.detach().repeat(len(lrs), 1, 1) for name, p in module.named_parameters()}

    def loss(parameters, x, y):
        return problem.loss(functional_call(module, parameters, (x,)), y)

    gradient = vmap(grad(loss), in_dims=(0, None, None))
    for batch in next(
        minibatches(problem.examples, problem.batch_size, problem.order, 0, problem.steps)
    ):
        g = gradient(parameters, problem.inputs[batch], problem.targets[batch])
        parameters = {
            name: p - torch.tensor(lrs)[:, None, None] * g[name] for name, p in parameters.items()
        }
    return parameters


def test_one_sgd_learning_rate_cannot_train_frequent_and_rare_rows():
    problem = sparse()
    counts = torch.bincount(problem.inputs.flatten(), minlength=300)
    rare = (counts < 200)[problem.inputs].any(1)  # texts with at least one rare word
    x, y = problem.inputs[rare], problem.targets[rare]
    lrs = [0.1, 0.3, 1.0, 3.0, 10.0]
    ends = sgd_grid(problem, lrs)
    losses = [
        problem.loss(
            functional_call(problem.fresh(0), {name: p[i] for name, p in ends.items()}, (x,)), y
        ).item()
        for i in range(len(lrs))
    ]
    assert losses.index(min(losses)) in (1, 2, 3)  # the best is inside the grid
    module = train(problem, torch.optim.Adam, problem.lr, problem.steps)
    assert min(losses) > 2.5 * problem.loss(module(x), y).item()


@pytest.mark.parametrize(
    ("problem", "below"),
    [(digits(), 0.05), (digits("logistic"), 0.15), (sparse(), 0.1), (valley(), 1e-3)],
    ids=["mlp", "logistic", "sparse", "valley"],
)
def test_default_settings_train_well_at_the_default_betas(problem, below):
    module = train(problem, torch.optim.Adam, problem.lr, problem.steps)
    assert problem.loss(module(problem.inputs), problem.targets).item() < below
