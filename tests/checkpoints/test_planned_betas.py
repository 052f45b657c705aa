"""New betas on old moments: the closed form against torch.optim.Adam, fed with constant gradients."""

from __future__ import annotations

import math

import pytest
import torch

from betaplane.checkpoints.new_betas import planned, steps_to_forget
from betaplane.errors import BadInput

CHANGES = [
    ((0.9, 0.999), (0.9, 0.95), 100),
    ((0.9, 0.95), (0.9, 0.999), 100),
    ((0.9, 0.999), (0.95, 0.99), 5),
    ((0.8, 0.99), (0.0, 0.9), 3),
    ((0.9, 0.999), (0.9, 0.999), 50),
]


def updates(
    old: tuple[float, float],
    new: tuple[float, float],
    t: int,
    more: int,
    scale: tuple[float, float] = (1, 1),
):
    """Adam's updates in units of lr after a change of betas, at gradients of 1: each would be 1
    without it.
    """
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=1.0, betas=old, eps=0.0)
    found = []
    for k in range(t + more):
        if k == t:
            optimizer.param_groups[0]["betas"] = new
            optimizer.state[x]["exp_avg"] *= scale[0]
            optimizer.state[x]["exp_avg_sq"] *= scale[1]
        before = x.item()
        x.grad = torch.ones_like(x)
        optimizer.step()
        found.append(before - x.item())
    return found[t:]


@pytest.mark.parametrize(("old", "new", "t"), CHANGES)
def test_updates_are_off_as_torchs(old, new, t: int):
    change, real = planned(old, new, t), updates(old, new, t, 400)
    assert change.update_at_once == pytest.approx(real[0], rel=1e-9)
    assert change.update_most == pytest.approx(
        max([1.0, *real], key=lambda u: abs(math.log(u))), rel=1e-2
    )
    last = max((k for k, u in enumerate(real, 1) if abs(u - 1) > 0.01), default=0)
    assert change.steps == last or (last == 400 and change.steps > 400)


@pytest.mark.parametrize(("old", "new", "t"), CHANGES)
def test_scaled_moments_are_right_at_once(old, new, t: int):
    change = planned(old, new, t)
    assert updates(old, new, t, 20, (change.scale_m, change.scale_v)) == pytest.approx(
        [1.0] * 20, rel=1e-9
    )


def test_forgotten_is_one_percent():
    assert 0.95 ** steps_to_forget(0.95) == pytest.approx(0.01)
    assert planned((0.9, 0.999), (0.9, 0.95), 10).forget_v == pytest.approx(89.78, abs=0.01)


def test_betas_without_a_bound():
    change = planned((0.9, 0.999), (0.9, 0.8), 10)
    assert change.bound == math.inf
    assert change.growth == pytest.approx(0.9 / math.sqrt(0.8))
    forgetful = planned((0.9, 0.999), (0.9, 0.0), 10)  # v is the last gradient's square
    assert (forgetful.bound, forgetful.growth) == (math.inf, math.exp(700))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0.9, 0.999), (0.9, 1.0), 10), "beta2 is out of range: got 1.0"),
        (((0.9, 0.999), (-0.1, 0.9), 10), "beta1 is out of range: got -0.1"),
        (((0.9, 1.5), (0.9, 0.9), 10), "beta2 is out of range: got 1.5"),
        (((0.9, 0.999), (0.9, 0.9), 0), "t is out of range: got 0.0"),
    ],
)
def test_bad_input(arguments, message: str):
    with pytest.raises(BadInput, match=message):
        planned(*arguments)
