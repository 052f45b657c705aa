"""Health, suspicions and planned betas by numbers worked on paper, on both sides of each threshold."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from betaplane.checkpoints.findings import Context, suspicions
from betaplane.checkpoints.health import Health, health
from betaplane.checkpoints.layer import GroupSettings, Layer
from betaplane.checkpoints.new_betas import planned, steps_to_forget

SETTINGS = GroupSettings(1e-3, 0.9, 0.99, 1e-8)


def layer(m, v, t=2, settings=SETTINGS, **more):
    held = {"step": t, "exp_avg": torch.tensor(m), "exp_avg_sq": torch.tensor(v), **more}
    return Layer("x", held, settings)


def test_the_numbers_of_a_small_layer():
    """At step 2 m_hat = m / 0.19 and v_hat = v / 0.0199."""
    found = health(layer([[0.19, 0.38], [0.0, 0.0]], [[0.0199, 0.0796], [0.0, 0.0]]))
    assert (found.numbers, found.t, found.dtype, found.spoiled, found.bytes) == (
        4,
        2.0,
        "float32",
        0,
        32,
    )
    assert found.m_rms == pytest.approx(math.sqrt((0.19**2 + 0.38**2) / 4))
    assert found.root_v == pytest.approx(math.sqrt((1 + 4) / 4))
    assert found.ratio == pytest.approx(1.0)
    assert (found.zero, found.lost, found.dead_rows) == (0.5, 0.0, 0.5)
    assert found.damped == 0.5  # the zeros
    assert found.update == pytest.approx(math.sqrt(2 / 4))
    root = math.sqrt(0.0199)
    deviation = math.sqrt((2 * (0.75 * root) ** 2 + (root / 4) ** 2 + (1.25 * root) ** 2) / 4)
    assert found.spread == pytest.approx(
        deviation / (0.75 * root), rel=1e-5
    ) or found.spread == pytest.approx(deviation * math.sqrt(4 / 3) / (0.75 * root), rel=1e-5)
    assert math.isnan(found.uneven)
    assert sum(found.shares) == pytest.approx(1.0)
    cells = [i for i, share in enumerate(found.shares) if share]
    assert cells == [240, 243]  # log10 of 1 and 2, in tenths from -24


def test_a_layer_without_what_is_needed_says_nan():
    known = health(layer([1.0], [1.0]))
    assert not math.isnan(known.damped + known.update + known.ratio + known.bound)
    no_eps = health(layer([1.0], [1.0], settings=replace_settings(eps=None)))
    assert math.isnan(no_eps.damped)
    assert math.isnan(no_eps.update)
    assert no_eps.ratio == known.ratio
    for missing in ({"beta1": None}, {"beta2": None}):
        found = health(layer([1.0], [1.0], settings=replace_settings(**missing)))
        assert math.isnan(found.bound)
        assert math.isnan(found.ratio)
        assert math.isnan(found.root_v)
        assert found.zero == 0.0
    for t in (0, 0.5, math.inf, math.nan, -1):
        assert math.isnan(health(layer([1.0], [1.0], t=t)).bound)
    assert not math.isnan(health(layer([1.0], [1.0], t=1)).bound)


def replace_settings(**changes) -> GroupSettings:
    return (
        SETTINGS._replace(**changes)
        if hasattr(SETTINGS, "_replace")
        else replace(SETTINGS, **changes)
    )


def test_without_correction_the_bound_is_that_of_the_raw_moments():
    """At step 1 |m| / sqrt(v) = (1 - beta1) / sqrt(1 - beta2) = 1 exactly here; corrected it is 1
    anywhere.
    """
    assert health(layer([1.0], [1.0], t=1)).bound == pytest.approx(1.0)
    raw = health(layer([1.0], [1.0], t=1, settings=replace_settings(corrected=False, beta1=0.5)))
    assert raw.bound == pytest.approx(0.5 / 0.1)
    assert raw.root_v == 1.0
    assert raw.m_rms == 1.0


def test_damped_is_strictly_below_eps_and_updates_count_no_empty_moments():
    found = health(
        layer([0.0, 0.19], [0.0199e-16 * 1.01, 0.0199], settings=replace_settings(eps=1e-8))
    )
    assert found.damped == 0.0
    assert found.update == pytest.approx(math.sqrt(1 / 2))
    assert health(layer([0.0, 0.19], [0.0199e-16 * 0.99, 0.0199])).damped == 0.5
    exact = replace_settings(eps=2.0**-10, corrected=False)
    assert health(layer([1.0, 1.0], [2.0**-20, 2.0**-22], settings=exact)).damped == 0.5
    large = health(layer([0.19], [0.0199], settings=replace_settings(eps=1.0)))
    assert large.update == pytest.approx(0.5)


def test_amsgrad_divides_by_the_largest_v():
    found = health(
        layer([0.19, 0.19], [0.0199, 0.0199], max_exp_avg_sq=torch.tensor([0.0796, 0.0199]))
    )
    assert found.update == pytest.approx(math.sqrt((0.25 + 1) / 2))
    other_size = health(
        layer([0.19, 0.19], [0.0199, 0.0199], max_exp_avg_sq=torch.tensor([0.0796]))
    )
    assert other_size.update == pytest.approx(1.0)


def test_what_is_not_a_number_and_what_is_lost_is_counted():
    found = health(layer([math.nan, math.inf, 1.0, 0.0], [1.0, -1.0, 0.0, 0.0]))
    assert (found.spoiled, found.negative) == (2, 1)
    assert found.lost == pytest.approx(0.25)  # v = 0 and m is not 0
    assert found.zero == 0.5
    first = health(layer([0.1, 0.2], [0.01, 0.01], t=1))
    assert first.uneven == pytest.approx(1.0)
    assert first.ratio == pytest.approx(2.0)


HEALTHY = Health(
    name="x", numbers=4, t=10.0, m_rms=1.0, root_v=1.0, ratio=1.0, bound=2.0, damped=0.0, zero=0.0, lost=0.0,
    dead_rows=0.0, spread=0.5, update=0.3, spoiled=0, uneven=math.nan, dtype="float32", bytes=32, shares=(),
)  # fmt: skip


def reasons(
    latest: float = 10.0, settings: GroupSettings = SETTINGS, step: float = 10.0, **changes
):
    return suspicions(
        layer([1.0], [1.0], t=step, settings=settings), replace(HEALTHY, **changes), Context(latest)
    )


CASES = [  # numbers, severe, words; None where nothing is suspicious
    ({}, None, ""),
    ({"spoiled": 1}, True, "1 element of its moments is nan or infinite"),
    ({"dtype": "int16"}, False, "stored as int16, which cannot be read"),
    ({"dtype": "8bit"}, None, ""),
    ({"t": 0.0}, True, "its step is 0 and its moments are not"),
    ({"t": 0.0, "m_rms": 0.0}, True, "its step is 0 and its moments are not"),
    ({"t": 0.0, "root_v": 0.0}, True, "its step is 0 and its moments are not"),
    ({"t": 0.0, "m_rms": 0.0, "root_v": 0.0}, False, "it has taken 0 steps, others 10"),
    ({"t": 1.0, "uneven": 0.101}, True, "ratio is up to 0.1 from 1"),
    ({"t": 1.0, "uneven": 0.0995}, False, "it has taken 1 steps"),
    ({"t": 1.0, "uneven": 0.2, "dtype": "8bit"}, False, "it has taken 1 steps"),
    ({"t": 9.0}, False, "it has taken 9 steps, others 10"),
    ({"t": -1.0, "latest": -1.0}, True, "its step is -1"),
    ({"t": math.inf}, True, "its step is inf"),
    ({"t": math.nan}, True, "its step is nan"),
    ({"ratio": 2.021}, True, "max |m_hat| / sqrt(v_hat) is 2.02"),
    ({"ratio": 2.019}, None, ""),
    ({"ratio": 2.19, "dtype": "bfloat16"}, None, ""),
    ({"ratio": 2.21, "dtype": "bfloat16"}, True, "no gradients give more than 2"),
    ({"ratio": 2.21, "dtype": "float16"}, True, "no gradients give more than 2"),
    ({"ratio": 2.19, "dtype": "float16"}, None, ""),
    ({"ratio": 2.0003, "dtype": "float64"}, True, "no gradients give more than 2"),
    ({"ratio": 2.0001, "dtype": "float64"}, None, ""),
    ({"ratio": 2.51, "dtype": "8bit"}, True, "no gradients give more than 2"),
    ({"ratio": 99.0, "dtype": "4bit"}, None, ""),
    ({"lost": 0.001}, True, "v = 0 and m != 0 in 0.10% of it"),
    ({"lost": 0.001, "dtype": "8bit"}, None, ""),
    ({"damped": 0.1005}, True, "sqrt(v_hat) < eps = 1e-08 in 10% of it"),
    ({"damped": 0.0995}, None, ""),
    ({"damped": 0.6, "zero": 0.505}, False, "v = 0 in 50.5% of it"),
    ({"zero": 1.0}, False, "v = 0 throughout: no gradient"),
    ({"zero": 0.5, "dead_rows": 0.25}, False, "v = 0 throughout 25.0% of its rows"),
    ({"zero": 0.01}, False, "v = 0 in 1.0% of it"),
    ({"zero": 0.0099}, None, ""),
    ({"zero": 0.5, "lost": 0.1, "dtype": "8bit"}, None, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "severe", "words"), CASES, ids=[str(case[0]) for case in CASES]
)
def test_one_number_makes_one_suspicion(changes, severe, words):
    found = reasons(**changes)
    assert len(found) == (severe is not None)
    for one in found:
        assert one.severe == severe
        assert words in one.what


@pytest.mark.parametrize(("dtype", "half_a_step"), [("bfloat16", 2.0**-9), ("float16", 2.0**-12)])
def test_v_is_stuck_below_half_a_step_of_its_type(dtype, half_a_step):
    for factor, stuck in ((0.995, True), (1.005, False)):
        found = reasons(dtype=dtype, settings=replace_settings(beta2=1 - half_a_step * factor))
        assert any("v cannot fall" in one.what for one in found) == stuck
    rounded = replace_settings(beta2=1 - half_a_step / 2, storage="bfloat16")
    assert reasons(dtype=dtype, settings=rounded) == []
    assert reasons(dtype=dtype, settings=replace_settings(beta2=None)) == []


def test_severe_suspicions_come_first():
    found = reasons(zero=1.0, spoiled=2, t=9.0)
    assert [one.severe for one in found] == [True, False, False]


# planned betas


def simulated(old, new, t, steps):
    """Factors on m_hat and v_hat under steady gradients of 1, step after step."""
    m, v = 1 - old[0] ** t, 1 - old[1] ** t
    for k in range(1, steps + 1):
        m, v = new[0] * m + 1 - new[0], new[1] * v + 1 - new[1]
        yield m / (1 - new[0] ** (t + k)), v / (1 - new[1] ** (t + k))


@pytest.mark.parametrize(
    ("old", "new", "t"),
    [
        ((0.9, 0.999), (0.9, 0.95), 100),
        ((0.9, 0.99), (0.5, 0.99), 3),
        ((0.0, 0.9), (0.9, 0.9), 1),
        ((0.9, 0.95), (0.9, 0.999), 10),
    ],
)
def test_planned_betas_do_what_the_recursion_does(old, new, t):
    found = planned(old, new, t)
    factors = list(simulated(old, new, t, 25_000))
    updates = [m / math.sqrt(v) for m, v in factors]
    assert (found.m_at_once, found.v_at_once) == pytest.approx(factors[0])
    assert found.update_at_once == pytest.approx(updates[0])
    assert found.update_most == pytest.approx(
        max(updates, key=lambda u: abs(math.log(u))), rel=1e-4
    )
    off = [k for k, update in enumerate(updates, 1) if abs(update - 1) > 0.01]
    assert found.steps == pytest.approx(max(off, default=0), rel=0.005)
    assert found.scale_m == pytest.approx((1 - new[0] ** t) / (1 - old[0] ** t))
    assert found.scale_v == pytest.approx((1 - new[1] ** t) / (1 - old[1] ** t))
    assert (found.forget_m, found.forget_v) == (steps_to_forget(new[0]), steps_to_forget(new[1]))
    assert (found.betas, found.t) == (new, t)


def test_unchanged_betas_change_nothing():
    found = planned((0.9, 0.99), (0.9, 0.99), 5)
    assert (found.steps, found.update_most) == (0, pytest.approx(1.0))
    assert found.scale_m == found.scale_v == 1.0
    assert found.growth == pytest.approx(0.9 / math.sqrt(0.99))


def test_forgetting_takes_two_decades():
    assert steps_to_forget(0.1) == pytest.approx(2.0)
    assert steps_to_forget(0.0) == 0.0
    assert steps_to_forget(0.01) == pytest.approx(1.0)
