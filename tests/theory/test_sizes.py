"""Sizes of updates and of weights against golden numbers and against Adam fed with noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import average, golden, refuses

from betaplane.theory import (
    batch_multiplier,
    cosine_means,
    linear_means,
    multipliers,
    rotation,
    snr_from_update_rms,
    stable_means,
    update_rms,
    weight_rms,
    weight_rms_after,
    weight_rms_path,
)

# ---- updates


def test_golden_update_rms() -> None:
    for row in golden("statistics_and_memory", "update_rms"):
        assert update_rms(row["beta1"], row["snr"]) == pytest.approx(row["update_rms"], rel=1e-13)
        assert batch_multiplier(row["beta1"]) == pytest.approx(row["batch_multiplier"], rel=1e-13)
        if row["beta1"] > 0:
            assert snr_from_update_rms(row["update_rms"], row["beta1"]) == pytest.approx(
                row["snr"], abs=1e-12
            )


def adam_on_noise(beta1: float, beta2: float, snr: float, steps: int, width: int) -> np.ndarray:
    """The last update of Adam on independent normal gradients, one for each of many coordinates."""
    rng = np.random.default_rng(0)
    m, v = np.zeros(width), np.zeros(width)
    for _ in range(steps):
        g = math.sqrt(snr) + rng.standard_normal(width)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    return m / (1 - beta1**steps) / np.sqrt(v / (1 - beta2**steps))


@pytest.mark.parametrize(
    ("beta1", "beta2", "snr", "within"),
    [
        (0.9, 0.999, 0.0, 0.02),
        (0.9, 0.999, 1.0, 0.01),
        (0.9, 0.95, 0.0, 0.04),
        (0.8, 0.95, 0.1, 0.04),
    ],
)
def test_update_rms_by_simulation(beta1: float, beta2: float, snr: float, within: float) -> None:
    u = adam_on_noise(beta1, beta2, snr, steps=round(5 / (1 - beta2)) + 200, width=5000)
    rms = math.sqrt((u * u).mean())
    assert rms == pytest.approx(update_rms(beta1, snr), rel=within)
    assert snr_from_update_rms(rms, beta1) == pytest.approx(snr, abs=0.05 * (1 + 2 * snr))


def test_batch_multiplier_is_a_ratio_of_variances() -> None:
    m = average(np.random.default_rng(1).standard_normal((300, 5000)), 0.9)[-1]
    assert 1 / m.var() == pytest.approx(batch_multiplier(0.9), rel=0.06)


# ---- weights


def test_golden_weight_rms() -> None:
    for row in golden("statistics_and_memory", "weight_rms"):
        assert weight_rms(row["lr"], row["wd"]) == pytest.approx(row["weight_rms"], rel=1e-12)
        quick = weight_rms(row["lr"], row["wd"]) / math.sqrt(batch_multiplier(0.9))
        assert quick == pytest.approx(row["quick_estimate"], rel=1e-12)
    for row in golden("statistics_and_memory", "weight_rms_dynamics"):
        lr, wd, t, start = row["lr"], row["wd"], row["t"], row["w0_rms"]
        # there e^(-lr wd t)
        assert weight_rms(lr, wd, t, start) == pytest.approx(row["closed"], rel=lr * wd)
        assert weight_rms_path(np.full(t, lr), wd, start)[-1] == pytest.approx(
            row["recursion"], rel=1e-11
        )
        assert weight_rms(lr, wd, t, start) == pytest.approx(row["recursion"], rel=lr * wd)


@pytest.mark.parametrize(("beta1", "snr"), [(0.9, 0.0), (0.5, 0.0), (0.9, 0.05)])
def test_weight_rms_and_rotation_of_a_walk(beta1: float, snr: float) -> None:
    """AdamW with v at its mean, on noise: 40 vectors of 100 weights."""
    rng = np.random.default_rng(2)
    lr, wd, steps = 0.01, 0.1, 3000
    m, x, turned = np.zeros((40, 100)), np.zeros((40, 100)), 0.0
    for t in range(1, steps + 1):
        m = beta1 * m + (1 - beta1) * (math.sqrt(snr) + rng.standard_normal(x.shape)) / math.sqrt(
            1 + snr
        )
        new = (1 - lr * wd) * x - lr * m
        if t == steps:
            turned = np.arccos(
                (new * x).sum(-1) / np.linalg.norm(new, axis=-1) / np.linalg.norm(x, axis=-1)
            ).mean()
        x = new
    assert math.sqrt((x * x).mean()) == pytest.approx(weight_rms(lr, wd, steps, snr=snr), rel=0.04)
    if snr == 0:
        assert turned == pytest.approx(rotation(lr, wd, beta1), rel=0.06)
        assert rotation(lr, wd, beta1) == pytest.approx(lr * update_rms(beta1) / weight_rms(lr, wd))


def test_path_settles_where_the_closed_form_says() -> None:
    path = weight_rms_path(np.full(20_000, 0.01), 0.1, start=1.0)
    assert path[-1] == pytest.approx(weight_rms(0.01, 0.1), rel=1e-3)
    assert (np.diff(path) <= 0).all()
    free = weight_rms_path(np.full(100, 0.01), 0.0, start=0.02)
    assert free[-1] == pytest.approx(math.sqrt(0.02**2 + 100 * 0.01**2))


# ---- schedules

STEPS = 20_000


def trapezoid(warm: float, decay_from: float) -> np.ndarray:
    return np.interp((np.arange(STEPS) + 0.5) / STEPS, [0, warm, decay_from, 1], [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("means", "lr"),
    [
        (linear_means(1.0), multipliers("warmup_linear", STEPS)),
        (linear_means(1.0, 0.3), 0.3 + 0.7 * multipliers("warmup_linear", STEPS)),
        (cosine_means(1.0), multipliers("warmup_cosine", STEPS)),
        (cosine_means(1.0, 0.3), 0.3 + 0.7 * multipliers("warmup_cosine", STEPS)),
        (stable_means(1.0, 0.1, 0.8), trapezoid(0.1, 0.8)),
        (stable_means(1.0, 0.4, 0.4), trapezoid(0.4, 0.4)),
    ],
)
def test_means_are_those_of_the_schedule(means, lr: np.ndarray) -> None:
    assert means.first == pytest.approx(lr.mean(), abs=1e-4)
    assert means.second == pytest.approx((lr**2).mean(), abs=1e-4)


@pytest.mark.parametrize(("wd", "too_large"), [(0.01, 0.009), (0.1, 0.106), (0.5, 0.56)])
def test_weight_rms_after_a_cosine(wd: float, too_large: float) -> None:
    """How far the approximation is off where the decay of the whole run is 0.1, 1 and 5."""
    lr = 1e-3 * multipliers("warmup_cosine", STEPS)
    first, second = cosine_means(1e-3)
    approximate = weight_rms_after(STEPS * first * wd, STEPS * second, start=0.02)
    assert approximate / weight_rms_path(lr, wd, start=0.02)[-1] - 1 == pytest.approx(
        too_large, rel=0.03
    )
    flat = weight_rms_after(500 * 1e-3 * wd, 500 * 1e-6, 0.02)
    assert flat == pytest.approx(weight_rms(1e-3, wd, 500, 0.02), rel=1e-3)


def test_weight_rms_of_small_decays() -> None:
    assert weight_rms(1e-9, 1e-8) == pytest.approx((0.1 / 2) ** 0.5, rel=1e-12)
    assert weight_rms(1e-9, 1e-9, t=1000, snr=1.0) == pytest.approx(
        ((1e-12 + 1e-15) / 2) ** 0.5, rel=1e-12
    )


MUCH = "lr * weight_decay is out of range: got 1.0; expected [0, 1) (weight_rms). Try: lr=1e-3, weight_decay"
LATE = "decay_from - warm is out of range: got -0.09999999999999998; expected [0, 1] (stable_means). Try: warm"
BAD = [
    (lambda: update_rms(1.0), "beta1 is out of range: got 1.0"),
    (lambda: update_rms(0.9, -0.1), "snr is out of range: got -0.1; expected [0, inf)"),
    (lambda: snr_from_update_rms(1.0, 0.9), "rms is out of range: got 1.0; expected [0, 1)"),
    (lambda: snr_from_update_rms(0.5, math.nan), "beta1 is out of range: got nan"),
    (lambda: batch_multiplier(-1), "beta1 is out of range: got -1.0"),
    (lambda: weight_rms(0.0, 0.1), "lr is out of range: got 0.0"),
    (lambda: weight_rms(1e-3, 0.0), "weight_decay is out of range: got 0.0"),
    (lambda: weight_rms(1.0, 1.0), MUCH),
    (lambda: weight_rms(1e-3, 0.1, t=0), "t is out of range: got 0.0"),
    (lambda: weight_rms(1e-3, 0.1, start=-1), "start is out of range: got -1.0"),
    (lambda: weight_rms(1e-3, 0.1, snr=math.inf), "snr is out of range: got inf"),
    (lambda: weight_rms_path(1e-3, 0.1), "lr has the wrong shape: got (); expected (steps,)"),
    (lambda: weight_rms_path([1e-3, -1], 0.1), "lr is out of range: got -1.0"),
    (lambda: weight_rms_path([1e-3], -0.1), "weight_decay is out of range: got -0.1"),
    (lambda: weight_rms_path([1e-3], 0.1, start=math.nan), "start is out of range: got nan"),
    (
        lambda: weight_rms_path([1e-3], [0.1] * 3),
        "weight_decay has the wrong shape: got (3,); expected () or (1,)",
    ),
    (
        lambda: weight_rms_path([1e-3] * 3, [[0.1] * 3] * 2),
        "weight_decay has the wrong shape: got (2, 3)",
    ),
    (
        lambda: weight_rms_path([1e-3], 0.1, start=[0.1, 0.2]),
        "start is not one number: got [0.1, 0.2]",
    ),
    (lambda: weight_rms_after(0, 1), "decay is out of range: got 0.0"),
    (lambda: weight_rms_after(1, -1), "moved is out of range: got -1.0"),
    (lambda: weight_rms_after(1, 1, start=-1), "start is out of range: got -1.0"),
    (lambda: rotation(0, 0.1, 0.9), "lr is out of range: got 0.0"),
    (lambda: rotation(1e-3, 0, 0.9), "weight_decay is out of range: got 0.0"),
    (lambda: rotation(1e-3, 0.1, 1), "beta1 is out of range: got 1.0"),
    (lambda: linear_means(-1), "start is out of range: got -1.0"),
    (lambda: linear_means(1, math.nan), "end is out of range: got nan"),
    (lambda: cosine_means(math.inf), "start is out of range: got inf"),
    (lambda: cosine_means(1, -1), "end is out of range: got -1.0"),
    (lambda: stable_means(-1, 0.1, 0.8), "peak is out of range: got -1.0"),
    (lambda: stable_means(1, 1.5, 0.8), "warm is out of range: got 1.5; expected [0, 1]"),
    (lambda: stable_means(1, 0.9, 0.8), LATE),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)
