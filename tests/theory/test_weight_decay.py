"""Weight decay against golden numbers and walks on spheres and lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from theory_checks import golden, refuses

from betaplane.rules import AdamC
from betaplane.theory import (
    corrected_decay,
    coupled_decay,
    decay_horizon,
    memory_horizon,
    multipliers,
    normalized_decay,
    steady_ratio,
)


def test_golden_decay() -> None:
    for row in golden("statistics_and_memory", "defazio_ratio"):
        assert steady_ratio(row["lr"], row["wd"]) == pytest.approx(row["ratio_g_over_x"], rel=1e-12)
    for row in golden("statistics_and_memory", "normalized_wd"):
        found = normalized_decay(row["lambda_norm"], row["b"], row["B"], row["T"])
        assert found == pytest.approx(row["wd"], rel=1e-12)
    for row in golden("statistics_and_memory", "weight_rms"):
        assert decay_horizon(row["lr"], row["wd"]) == pytest.approx(
            row["timescale_steps"], rel=1e-12
        )


def settled(lr: np.ndarray, wd: np.ndarray) -> np.ndarray:
    """|g| / |x| along SGD whose gradients are random, of norm 1 / |x| and orthogonal to x, as under
    normalization.
    """
    rng = np.random.default_rng(0)
    x, ratios = rng.standard_normal(50), []
    for step, decay in zip(lr, wd, strict=True):
        g = rng.standard_normal(50)
        g -= (g @ x) / (x @ x) * x
        g /= np.linalg.norm(g) * np.linalg.norm(x)
        ratios.append(np.linalg.norm(g) / np.linalg.norm(x))
        x = (1 - step * decay) * x - step * g
    return np.array(ratios)


@pytest.mark.parametrize(("lr", "wd"), [(0.1, 0.1), (0.3, 0.05)])
def test_ratio_settles(lr: float, wd: float) -> None:
    ratios = settled(np.full(2000, lr), np.full(2000, wd))
    assert ratios[-1] == pytest.approx(math.sqrt(2 * wd / lr - wd**2), rel=1e-3)
    assert ratios[-1] == pytest.approx(steady_ratio(lr, wd), rel=lr * wd)


def test_correction_keeps_the_ratio_along_a_schedule() -> None:
    lr = 0.3 * multipliers("warmup_linear", 6000)
    plain = settled(lr, np.full(6000, 0.1))
    kept = settled(lr, corrected_decay(0.1, lr, 0.3))
    assert plain[4500] > 1.5 * plain[2000]
    assert kept[4500] == pytest.approx(steady_ratio(0.3, 0.1), rel=0.02)
    assert kept[2000] == pytest.approx(steady_ratio(0.3, 0.1), rel=0.02)


def test_correction_is_that_of_the_rule() -> None:
    """AdamC on a zero gradient only decays, by lr corrected_decay a step."""
    x = torch.tensor([2.0], dtype=torch.float64)
    rule = AdamC(weight_decay=0.5, peak_lr=0.1)
    new, _ = rule.step(x, torch.zeros_like(x), rule.init(x), lr=0.04)
    assert new.item() == pytest.approx(2 * (1 - 0.04 * corrected_decay(0.5, 0.04, 0.1)), rel=1e-12)


def test_horizon_is_that_of_an_average() -> None:
    """x <- (1 - lr wd) x - lr u is a running average of -u / wd with beta = 1 - lr wd."""
    lr, wd = 0.01, 0.2
    u = np.random.default_rng(1).standard_normal(500)
    x, average = 0.0, 0.0
    for value in u:
        x = (1 - lr * wd) * x - lr * value
        average = (1 - lr * wd) * average + lr * wd * (-value / wd)
    assert x == pytest.approx(average)
    assert memory_horizon(1 - lr * wd, 32) == pytest.approx(decay_horizon(lr, wd, 32))
    assert decay_horizon(lr, decay_horizon(lr, wd, 32), 32) == pytest.approx(wd)


def test_independent_decay_in_torch() -> None:
    """One step of torch's AdamW on a zero gradient takes off the share the paper's Algorithm 2
    names.
    """
    x = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    optimizer = torch.optim.AdamW([x], lr=2e-3, weight_decay=coupled_decay(1e-2, 2e-3))
    x.grad = torch.zeros_like(x)
    optimizer.step()
    assert x.item() == pytest.approx(3 * (1 - 1e-2))


BAD = [
    (lambda: decay_horizon(0, 0.1), "lr is out of range: got 0.0; expected (0, inf)"),
    (lambda: decay_horizon(1e-3, 0.0), "weight_decay is out of range: got 0.0"),
    (lambda: decay_horizon(1e-3, 0.1, per_step=-1), "per_step is out of range: got -1.0"),
    (lambda: coupled_decay(-1, 1e-3), "weight_decay is out of range: got -1.0; expected [0, inf)"),
    (lambda: coupled_decay(1e-4, 0), "lr is out of range: got 0.0"),
    (lambda: normalized_decay(math.nan, 1, 1, 1), "normalized is out of range: got nan"),
    (lambda: normalized_decay(0.05, 0, 1, 1), "batch is out of range: got 0.0"),
    (lambda: normalized_decay(0.05, 1, 0, 1), "samples is out of range: got 0.0"),
    (lambda: normalized_decay(0.05, 1, 1, -1), "epochs is out of range: got -1.0"),
    (lambda: steady_ratio(0, 0.1), "lr is out of range: got 0.0"),
    (lambda: steady_ratio(0.1, -1), "weight_decay is out of range: got -1.0"),
    (lambda: corrected_decay(-0.1, 1, 1), "weight_decay is out of range: got -0.1"),
    (lambda: corrected_decay(0.1, -1, 1), "lr is out of range: got -1.0"),
    (lambda: corrected_decay(0.1, 1, 0), "peak_lr is out of range: got 0.0"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)
