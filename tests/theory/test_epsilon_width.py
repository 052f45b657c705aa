"""Eps against golden numbers and real arithmetic in each format; muP against networks of several
widths.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from theory_checks import average, golden, refuses

from betaplane.theory import (
    damping,
    eps_after_correction,
    eps_for_width,
    mup_hidden,
    mup_output,
    vanishing_eps,
    vanishing_gradient,
)

# ---- eps


def test_golden_damping() -> None:
    for row in golden("statistics_and_memory", "epsilon"):
        eps = row["eps_over_sqrt_v"]
        assert damping(eps, 1.0) == pytest.approx(row["damping"], rel=1e-13)
        if eps > 0:
            assert 1 - damping(eps, 1.0) == pytest.approx(
                row["sgd_equivalent_lr_per_lr"], rel=1e-10
            )
    assert damping([0.0, 1e-8], 0.0).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("eps", [1e-6, 1e3])
def test_damping_of_torchs_adam(eps: float) -> None:
    """Two first steps from one gradient: with this eps, and with none."""
    moved = []
    for value in (eps, 0.0):
        x = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = torch.optim.Adam([x], lr=1.0, eps=value)
        x.grad = torch.tensor([1e-4], dtype=torch.float64)
        optimizer.step()
        moved.append(x.item())
    assert moved[0] / moved[1] == pytest.approx(damping(eps, 1e-4), rel=1e-9)
    if eps == 1e3:  # momentum SGD with lr / eps
        assert moved[0] == pytest.approx(-1e-4 / eps * (1 - damping(eps, 1e-4)), rel=1e-9)


def test_eps_before_and_after_the_correction() -> None:
    g, t = np.random.default_rng(0).standard_normal(40), np.arange(1, 41)
    m, v = average(g, 0.9), average(g * g, 0.99)
    seen = 1 - 0.99**t
    efficient = m / (1 - 0.9**t) * np.sqrt(seen) / (np.sqrt(v) + 0.1)
    plain = m / (1 - 0.9**t) / (np.sqrt(v / seen) + eps_after_correction(0.1, 0.99, t))
    assert np.allclose(efficient, plain, rtol=1e-12)
    assert eps_after_correction(0.1, 0.99, math.inf) == 0.1


DTYPES = ["float64", "float32", "bfloat16", "float16"]


def number(x: float, dtype: str) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64).to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_whose_square_is_zero(dtype: str) -> None:
    g = vanishing_gradient(dtype)
    assert number(g * 0.99, dtype).square() == 0
    assert number(g * 1.02, dtype).square() > 0
    normal = vanishing_gradient(dtype, flushed=True)
    tiny = torch.finfo(getattr(torch, dtype)).tiny
    assert normal == pytest.approx(math.sqrt(tiny), rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("root_v", [1.0, 0.75, 3e-4])
def test_eps_that_is_lost(dtype: str, root_v: float) -> None:
    root_v = number(root_v, dtype).item()
    eps = vanishing_eps(root_v, dtype)
    assert number(root_v, dtype) + number(eps * 0.98, dtype) == root_v
    assert number(root_v, dtype) + number(eps * 1.5, dtype) > root_v


def test_eps_that_is_zero() -> None:
    for dtype in DTYPES:
        eps = vanishing_eps(0.0, dtype)
        assert number(eps, dtype) == 0
        assert number(eps * 1.5, dtype) > 0 or dtype == "float64"
    assert vanishing_eps(0.0, "float16") > 1e-8
    assert number(1e-8, "float16") == 0


# ---- width


def test_golden_mup() -> None:
    for row in golden("statistics_and_memory", "mup"):
        found = mup_hidden(row["width"], row["base_width"], lr=1e-3, weight_decay=0.1)
        expected = (
            row["hidden_lr"],
            row["hidden_wd_coupled"],
            row["eps_hidden"],
            row["hidden_init_std_mult"],
        )
        assert found == pytest.approx(expected, rel=1e-12)
        assert eps_for_width(1e-8, row["width"], row["base_width"]) == pytest.approx(
            row["eps_hidden"]
        )


def first_step(width: int, seed: int) -> tuple[float, float]:
    """How far a step of Adam on the hidden matrix moves the hidden features, and the RMS of its
    gradient's entries.
    """
    torch.manual_seed(seed)
    base = 64
    settings = mup_hidden(width, base, lr=1e-3)
    x = torch.randn(8, 5)
    inward = torch.randn(5, width)
    hidden = torch.nn.Parameter(torch.randn(width, width) / math.sqrt(base) * settings.init_std)
    outward = torch.randn(width, 1) / math.sqrt(base)
    features = (x @ inward).relu()
    before = features @ hidden
    loss = (before.relu() @ outward * mup_output(width, base)).square().mean()
    (hidden.grad,) = torch.autograd.grad(loss, hidden)
    size = hidden.grad.square().mean().sqrt().item() / loss.sqrt().item()
    torch.optim.Adam([hidden], lr=settings.lr, eps=1e-20).step()
    return (features @ hidden - before).square().mean().sqrt().item(), size


def test_features_move_alike_at_every_width() -> None:
    runs = np.array([[first_step(width, seed) for seed in range(20)] for width in (64, 256, 1024)])
    moves, sizes = runs.mean(axis=1).T
    assert moves.max() / moves.min() < 1.15
    # gradients go as 1 / width, and eps with them
    assert sizes[0] / sizes[2] == pytest.approx(16, rel=0.15)


BAD = [
    (lambda: damping(-1, 1), "eps is out of range: got -1.0; expected [0, inf)"),
    (lambda: damping(1, math.nan), "root_v is out of range: got nan"),
    (lambda: eps_after_correction(-1, 0.9, 1), "eps_hat is out of range: got -1.0"),
    (lambda: eps_after_correction(1, 1.0, 1), "beta2 is out of range: got 1.0"),
    (lambda: eps_after_correction(1, 0.9, 0), "t is out of range: got 0.0"),
    (
        lambda: vanishing_gradient("fp8"),
        "Unknown dtype 'fp8'. Choose one of: float64, float32, bfloat16",
    ),
    (lambda: vanishing_eps(1.0, "half"), "Unknown dtype 'half'"),
    (lambda: vanishing_eps(-1.0, "float32"), "root_v is out of range: got -1.0"),
    (lambda: mup_hidden(0, 256, 1e-3), "width is out of range: got 0.0"),
    (lambda: mup_hidden(256, -1, 1e-3), "base_width is out of range: got -1.0"),
    (lambda: mup_hidden(256, 256, 0), "lr is out of range: got 0.0"),
    (lambda: mup_hidden(256, 256, 1e-3, -1), "weight_decay is out of range: got -1.0"),
    (lambda: mup_hidden(256, 256, 1e-3, 0, -1), "eps is out of range: got -1.0"),
    (lambda: mup_output(math.inf, 1), "width is out of range: got inf"),
    (lambda: mup_output(1, 0), "base_width is out of range: got 0.0"),
    (lambda: eps_for_width(-1, 1, 1), "eps is out of range: got -1.0"),
    (lambda: eps_for_width(1, 0, 1), "width is out of range: got 0.0"),
    (lambda: eps_for_width(1, 1, 0), "base_width is out of range: got 0.0"),
    (lambda: eps_for_width(1, 1, 1, exponent=-1), "exponent is out of range: got -1.0"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)
