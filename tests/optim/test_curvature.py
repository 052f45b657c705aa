"""Estimates of the curvature: right on average, and taken in by the optimizer as by the rule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.optim import hutchinson, optimizer_class, sampled_labels
from betaplane.rules import Lion, Sophia


def mean_of(estimates) -> torch.Tensor:
    return torch.stack(list(estimates)).mean(dim=0)


def test_hutchinson_is_the_diagonal_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    a = a + a.T
    x = torch.ones(4, dtype=torch.float64, requires_grad=True)
    found = mean_of(hutchinson(x @ a @ x / 2, [x], generator)[0] for _ in range(4000))
    assert torch.allclose(found, a.diag(), atol=0.5)


def test_sampled_labels_give_the_gauss_newton_diagonal_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(3, 5, dtype=torch.float64, generator=generator).requires_grad_()
    x = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    found = mean_of(sampled_labels(x @ w.T, [w], generator)[0] for _ in range(4000))
    p = (x @ w.T).softmax(dim=-1).detach()
    exact = (p * (1 - p)).T @ x.square() / len(x)  # softmax regression: the Hessian itself
    assert torch.allclose(found, exact, atol=0.03)


@pytest.mark.parametrize("path", ["eager", "compiled"])
def test_the_optimizer_takes_estimates_as_the_rule_does(path: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, g, h = (torch.randn(5, dtype=torch.float64, generator=generator) for _ in range(3))
    p, rule = nn.Parameter(x.clone()), Sophia()
    optimizer = optimizer_class(Sophia)([p], lr=0.1, path=path)
    s = rule.init(x)
    for step in range(4):
        p.grad = g
        optimizer.step()
        x, s = rule.step(x, g, s, 0.1)
        if step % 2 == 0:
            optimizer.curvature([h.abs()])
            s = rule.curvature(s, h.abs())
    assert torch.allclose(p, x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("storage", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-2), ("8bit", 0.1)]
)
def test_estimates_are_stored_in_the_storage_format(storage: str, tolerance: float) -> None:
    p = nn.Parameter(torch.ones(64, 64))
    optimizer = optimizer_class(Sophia)([p], storage=storage)
    p.grad = torch.ones(64, 64)
    optimizer.step()
    optimizer.curvature([torch.full((64, 64), 3.0)])
    h = optimizer.state[p]["h"]
    coded = optimizer.coded(p, optimizer.param_groups[0], "h")
    if coded is not None:
        table, scale, _ = coded
        h = table[h.int()] * scale
    assert torch.allclose(h.float(), torch.tensor(0.03), rtol=tolerance)


def test_estimates_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(
        BadInput,
        match=r"The estimates do not fit the parameters: got \[\(3,\)\]; expected \[\(2,\)\]",
    ):
        optimizer_class(Sophia)([nn.Parameter(torch.zeros(2))]).curvature([torch.zeros(3)])
    with pytest.raises(BadInput, match="This rule keeps no curvature: got 'Lion'; expected Sophia"):
        optimizer_class(Lion)([nn.Parameter(torch.zeros(2))]).curvature([torch.zeros(2)])


@pytest.mark.parametrize("estimates", [None, [1.0], [None], torch.ones(3), 3])
def test_estimates_that_are_no_tensors_are_refused(estimates: object) -> None:
    optimizer = optimizer_class(Sophia)([nn.Parameter(torch.ones(3))])
    with pytest.raises(BadInput, match="The estimates "):
        optimizer.curvature(estimates)  # type: ignore[arg-type]


def test_generators_are_taken() -> None:
    p = nn.Parameter(torch.ones(3))
    estimates = hutchinson(p.square().sum(), (q for q in [p]))  # type: ignore[arg-type]
    optimizer = optimizer_class(Sophia)([p])
    optimizer.curvature(h for h in estimates)  # type: ignore[arg-type]
    assert any(value.shape == p.shape and value.any() for value in optimizer.state[p].values())


def test_arguments_of_estimates_of_the_wrong_type_are_refused() -> None:
    p = nn.Parameter(torch.ones(3))
    for loss in (None, p**2, torch.ones(())):
        with pytest.raises(BadInput, match="loss is no scalar with a graph"):
            hutchinson(loss, [p])  # type: ignore[arg-type]
    for params in (None, p, [], ["p"]):
        with pytest.raises(BadInput, match="params are no tensors"):
            hutchinson(p.square().sum(), params)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="logits have no classes"):
        sampled_labels(p.sum(), [p])


def test_hutchinson_is_zero_for_parameters_of_a_linear_loss() -> None:
    p, q = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    assert not hutchinson(p.sum(), [p])[0].any()
    curved, flat = hutchinson(p.square().sum() + q.sum(), [p, q])
    assert curved.all()
    assert not flat.any()
