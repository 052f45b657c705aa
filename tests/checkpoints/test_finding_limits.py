"""Reasons to suspect a layer: each on measured numbers at and beside its limit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from betaplane.checkpoints.findings import Context, suspicions
from betaplane.checkpoints.health import DECADES, Health, corrections, health
from betaplane.checkpoints.layer import GroupSettings, Layer

SETTINGS = GroupSettings(1e-3, 0.9, 0.999, 1e-8)
FINE = Health(
    name="x", numbers=100, t=10.0, m_rms=0.1, root_v=0.2, ratio=1.0, bound=1.5, damped=0.0, zero=0.0, lost=0.0,
    dead_rows=0.0, spread=0.5, update=0.5, spoiled=0, uneven=math.nan, dtype="float32", bytes=800, shares=(),
)  # fmt: skip


def reasons(latest: float = 10.0, settings: GroupSettings = SETTINGS, **changes) -> list[tuple]:
    """(whether severe, the first words) of each reason."""
    found = replace(FINE, **changes)
    layer = Layer("x", {"step": found.t}, settings)
    return [(reason.severe, reason.what) for reason in suspicions(layer, found, Context(latest))]


def test_healthy_numbers_give_no_reason() -> None:
    assert reasons() == []


LIMITS = [  # numbers that are fine, that are not, what is said of them, whether it is severe
    ({"spoiled": 0}, {"spoiled": 1}, "1 element of its moments is nan or infinite", True),
    ({"dtype": "float64"}, {"dtype": "int8"}, "its moments are stored as int8", False),
    ({"t": 10.0}, {"t": 0.0}, "its step is 0 and its moments are not", True),
    ({"uneven": 0.1}, {"uneven": 0.101}, "its step is 1, so |m_hat| = sqrt(v_hat)", True),
    ({"t": 10.0}, {"t": 9.0}, "it has taken 9 steps, others 10", False),
    ({"t": 10.0}, {"t": math.inf}, "its step is inf", True),
    ({"ratio": 1.5149}, {"ratio": 1.5151}, "max |m_hat| / sqrt(v_hat) is 1.52", True),
    ({"lost": 0.0}, {"lost": 1e-3}, "v = 0 and m != 0 in 0.10% of it", True),
    ({"damped": 0.1}, {"damped": 0.101}, "sqrt(v_hat) < eps = 1e-08 in 10% of it", True),
    ({"damped": 0.6, "zero": 0.5}, {"damped": 0.62, "zero": 0.5}, "sqrt(v_hat) < eps", True),
    ({"zero": 0.0099}, {"zero": 0.01}, "v = 0 in 1.0% of it", False),
    ({"zero": 0.0}, {"zero": 1.0, "dead_rows": 1.0}, "v = 0 throughout: no gradient", False),
    ({"dead_rows": 0.0}, {"dead_rows": 0.1}, "v = 0 throughout 10.0% of its rows", False),
]


@pytest.mark.parametrize(
    ("fine", "sick", "words", "severe"), LIMITS, ids=lambda each: str(each)[:40]
)
def test_a_reason_begins_at_its_limit(fine: dict, sick: dict, words: str, severe: bool) -> None:
    assert not any(what.startswith(words[:20]) for _, what in reasons(**fine))
    assert any(what.startswith(words) and grave == severe for grave, what in reasons(**sick))


def test_rounding_allows_more_above_the_bound_in_narrow_dtypes() -> None:
    allowed = {"float64": 1.0001, "float32": 1.01, "bfloat16": 1.1, "float16": 1.1, "8bit": 1.25}
    for dtype, factor in allowed.items():
        for share, severe in ((0.99999, 0), (1.00001, 1)):
            found = reasons(dtype=dtype, ratio=1.5 * factor * share)
            assert sum("no gradients give more" in what for _, what in found) == severe
    assert reasons(dtype="4bit", ratio=100.0) == []


def test_a_fresh_tensor_of_zeros_is_no_reset() -> None:
    zeros = {"t": 0.0, "m_rms": 0.0, "root_v": 0.0}
    assert reasons(latest=0.0, **zeros) == []
    assert "steps were reset" in reasons(latest=0.0, **{**zeros, "m_rms": 0.1})[0][1]
    assert "steps were reset" in reasons(latest=0.0, **{**zeros, "root_v": 0.1})[0][1]


def test_eight_bits_are_too_coarse_for_zeros_and_a_first_step() -> None:
    assert reasons(dtype="8bit", uneven=0.5) == []
    assert reasons(dtype="8bit", lost=0.5) == []


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 9), ("float16", 12)])
def test_v_cannot_fall_below_half_the_spacing_of_its_dtype(dtype: str, bits: int) -> None:
    for share, stuck in ((1.01, 0), (1.0, 0), (0.99, 1)):
        settings = SETTINGS._replace(beta2=1 - share * 2.0**-bits)
        assert len(reasons(settings=settings, dtype=dtype)) == stuck
        assert reasons(settings=settings._replace(storage="float32"), dtype=dtype) == []
        assert reasons(settings=settings, dtype="float32") == []
    assert reasons(settings=SETTINGS._replace(beta2=None), dtype=dtype) == []


def test_zeros_beside_lost_elements_are_explained_by_them() -> None:
    found = reasons(zero=0.02, lost=0.02)
    assert [what[:13] for _, what in found] == ["v = 0 and m !"]


def test_severe_reasons_come_first() -> None:
    found = reasons(t=9.0, zero=0.5, damped=0.7, spoiled=3)
    assert [severe for severe, _ in found] == [True, True, False, False]


def test_negative_and_missing_counts_are_told_apart() -> None:
    negative = reasons(t=-1.0, latest=-1.0)
    assert negative == [(True, "its step is -1")]
    assert reasons(t=math.nan) == [(True, "its step is nan")]
    layer = Layer("x", {}, SETTINGS)
    assert suspicions(layer, replace(FINE, t=math.nan), Context(10.0)) == []


# measured numbers


def measured(
    m: list, v: list, step: object = 2, settings: GroupSettings = SETTINGS, **more
) -> Health:
    state = {"step": step, "exp_avg": torch.tensor(m), "exp_avg_sq": torch.tensor(v), **more}
    return health(Layer("x", state, settings))


def test_corrections_are_one_before_the_first_step_and_for_rules_without() -> None:
    def factors(step: object, **changes) -> object:
        return corrections(Layer("x", {"step": step}, SETTINGS._replace(**changes)))

    assert factors(0) == (1.0, 1.0)
    assert factors(1, beta1=0.5, beta2=0.75) == (pytest.approx(2.0), pytest.approx(4.0))
    assert factors(2, beta1=0.5, beta2=0.0) == (pytest.approx(4 / 3), 1.0)
    assert factors(5, corrected=False) == (1.0, 1.0)
    assert factors(math.inf) is None
    assert factors(-1) is None
    assert factors(5, beta1=None) is None
    assert factors(5, beta2=None) is None


def test_statistics_of_two_elements_by_hand() -> None:
    """beta = (0.5, 0.75) after one step: m_hat = 2 m, v_hat = 4 v."""
    settings = GroupSettings(1e-3, 0.5, 0.75, 0.5)
    found = measured([0.3, -0.4], [0.01, 0.04], 1, settings)  # m_hat 0.6, 0.8; sqrt(v_hat) 0.2, 0.4
    assert found.m_rms == pytest.approx(math.sqrt(0.125))
    assert found.root_v == pytest.approx(math.sqrt(0.1))
    assert found.ratio == pytest.approx(3.0)
    assert found.uneven == pytest.approx(2.0)
    assert (found.damped, found.zero, found.lost, found.spoiled) == (1.0, 0.0, 0.0, 0)
    assert found.spread == pytest.approx(1 / 3)
    update = [0.6 / 0.7, 0.8 / 0.9]
    assert found.update == pytest.approx(math.sqrt(sum(u * u for u in update) / 2))
    assert (found.numbers, found.t) == (2, 1)
    assert len(found.shares) == DECADES[2]
    assert sum(found.shares) == pytest.approx(1.0)
    assert (
        measured([0.3], [0.01], 2, settings).uneven != measured([0.3], [0.01], 1, settings).uneven
    )
    assert math.isnan(measured([0.3], [0.01], 2, settings).uneven)


def test_a_first_step_without_gradients_has_no_ratio() -> None:
    found = measured([0.0, 0.0], [0.0, 0.0], 1)
    assert math.isnan(found.ratio)
    assert math.isnan(found.uneven)


def test_shares_of_zero_lost_and_spoiled_elements() -> None:
    found = measured([0.0, 1.0, math.nan, 1.0], [0.0, 0.0, 1.0, -1.0])
    assert (found.zero, found.lost, found.spoiled, found.negative) == (0.5, 0.25, 1, 1)


def test_dead_rows_are_those_of_matrices() -> None:
    assert measured([[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]).dead_rows == 0.5
    assert measured([0.0, 1.0], [0.0, 1.0]).dead_rows == 0.0


def test_largest_v_divides_the_update_and_not_the_ratio() -> None:
    settings = GroupSettings(1e-3, 0.0, 0.0, 0.0)
    larger = {"max_exp_avg_sq": torch.tensor([4.0])}
    found = measured([1.0], [1.0], 5, settings, **larger)
    assert (found.update, found.ratio) == (pytest.approx(0.5), pytest.approx(1.0))


def test_bound_without_correction_is_that_of_the_moments() -> None:
    """After one step m = (1 - beta1) g and sqrt(v) = sqrt(1 - beta2) |g|."""
    settings = GroupSettings(1e-3, 0.9, 0.99, 1e-8, corrected=False)
    assert measured([1.0], [1.0], 1, settings).bound == pytest.approx(0.1 / 0.1)
    assert measured([1.0], [1.0], 1).bound == pytest.approx(1.0)
    for step in (0, math.inf):
        assert math.isnan(measured([1.0], [1.0], step).bound)


def test_second_moment_alone_is_measured_without_a_ratio() -> None:
    layers = [{"step": 2, "exp_avg_sq": torch.tensor([4.0])}]
    layers.append({**layers[0], "exp_avg": torch.ones(2)})  # of another shape
    for state in layers:
        found = health(Layer("x", state, GroupSettings(1e-3, 0.0, 0.0, 1e-8)))
        assert found.root_v == 2.0
        assert found.damped == 0.0
        assert all(map(math.isnan, (found.ratio, found.update, found.lost)))
