"""What is known to go wrong in optimizers, tried on every class."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import betaplane.optim
from betaplane.rules import ALL

CLASSES = [getattr(betaplane.optim, rule.__name__) for rule in ALL]
each = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: torch.optim.Optimizer, p: Tensor, *gradients: Tensor) -> Tensor:
    for g in gradients:
        p.grad = g
        optimizer.step()
    return p.detach()


@each
def test_a_late_gradient_gets_a_first_step(kind) -> None:
    late, fresh, other = (
        nn.Parameter(numbers(3)),
        nn.Parameter(numbers(3)),
        nn.Parameter(numbers(2)),
    )
    optimizer = kind([other, late])
    stepped(optimizer, other, *numbers(5, 2, seed=1))
    gradients = numbers(2, 3, seed=2)
    for g in gradients:
        late.grad = g
        optimizer.step()
    assert torch.equal(late, stepped(kind([fresh]), fresh, *gradients))


@each
def test_complex_numbers_are_pairs_or_refused(kind) -> None:
    p = nn.Parameter(numbers(3, dtype=torch.complex128))
    q = nn.Parameter(torch.view_as_real(p.detach()).clone())
    gradients = numbers(4, 3, seed=1, dtype=torch.complex128)
    if kind.__name__ == "Adafactor":  # as torch
        with pytest.raises(RuntimeError, match="does not support complex"):
            stepped(kind([p]), p, *gradients)
        return
    stepped(kind([p]), p, *gradients)
    stepped(kind([q]), q, *torch.view_as_real(gradients))
    assert torch.allclose(torch.view_as_real(p), q, rtol=1e-12, atol=1e-12)


@each
def test_no_gradient_and_no_learning_rate_change_nothing(kind) -> None:
    """Torch's distributed state dicts make their states that way."""
    p = nn.Parameter(numbers(4, 3))
    stepped(kind([p], lr=0.0), p, torch.zeros(4, 3, dtype=torch.float64))
    assert torch.equal(p, numbers(4, 3))


@each
def test_zero_gradients_in_float16_do_not_become_nan(kind) -> None:
    p = nn.Parameter(torch.ones(3, dtype=torch.float16))
    try:
        stepped(kind([p]), p, torch.zeros(3, dtype=torch.float16))
    except betaplane.BadInput as error:
        assert "eps is zero in the type of the optimizer's state" in str(error)  # noqa: PT017
    assert bool(torch.isfinite(p).all())


@each
def test_a_gradient_with_nan_is_skipped_on_request(kind) -> None:
    p, q = nn.Parameter(numbers(3)), nn.Parameter(numbers(3))
    optimizer = kind([p, q], nonfinite="skip")
    p.grad, q.grad = torch.full((3,), float("nan"), dtype=torch.float64), numbers(3, seed=1)
    optimizer.step()
    assert torch.equal(p, numbers(3))
    assert all(bool(torch.isfinite(value).all()) for value in optimizer.state[p].values())
    p.grad = q.grad = numbers(3, seed=2)
    optimizer.step()
    assert bool(torch.isfinite(p).all() and torch.isfinite(q).all())


@each
def test_empty_and_single_parameters(kind) -> None:
    found = [nn.Parameter(numbers(*shape)) for shape in ((0,), (0, 3), (), (1,), (1, 1))]
    optimizer = kind(found, lr=0.1)
    for step in range(3):
        for p in found:
            p.grad = numbers(*p.shape, seed=step + 1)
        optimizer.step()
    assert all(bool(torch.isfinite(p).all()) for p in found)


@each
def test_a_gradient_is_read_and_no_more(kind) -> None:
    """Changed after the step, it changes nothing; the step has not changed it."""
    p, q = nn.Parameter(numbers(4)), nn.Parameter(numbers(4))
    ours, same = kind([p]), kind([q])
    for seed in range(3):
        g = numbers(4, seed=seed)
        stepped(ours, p, g)
        assert torch.equal(g, numbers(4, seed=seed))
        g.fill_(1e9)
        stepped(same, q, numbers(4, seed=seed))
    assert torch.equal(p, q)


@each
def test_state_holds_tensors_and_numbers(kind) -> None:
    p = nn.Parameter(numbers(4, 3))
    optimizer = kind([p])
    stepped(optimizer, p, *numbers(2, 4, 3, seed=1))
    assert all(
        value is None or isinstance(value, Tensor | float | int)
        for value in optimizer.state[p].values()
    )
    assert all(
        not isinstance(value, dict) for group in optimizer.param_groups for value in group.values()
    )


@each
def test_betas_can_be_scheduled(kind) -> None:
    p = nn.Parameter(numbers(4))
    optimizer = kind([p], lr=0.01)
    group = optimizer.param_groups[0]
    if "betas" not in group:
        pytest.skip("has no betas")
    stepped(optimizer, p, numbers(4, seed=1))
    held = {word: value.clone() for word, value in optimizer.state[p].items()}
    group["betas"] = tuple(0.5 for _ in group["betas"])
    rule = optimizer.rule_of(group)
    assert {getattr(rule, name) for name in ("beta1", "beta2")} == {0.5}
    stepped(optimizer, p, numbers(4, seed=2))
    assert any(not torch.equal(held[word], value) for word, value in optimizer.state[p].items())
