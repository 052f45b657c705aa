"""The closed forms against tables worked out elsewhere, against simulation, and at their edges."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from betaplane import theory
from betaplane.errors import BadInput
from betaplane.theory import (
    beta_from_half_life,
    beta_from_horizon,
    concentration,
    critical_beta2,
    critical_first_order,
    critical_with_replacement,
    diverges,
    drift,
    half_life,
    influence,
    memory_horizon,
    multipliers,
    schedules,
    variance_about_momentum,
)

NONE = math.nan


def agrees(found: float, printed: str) -> bool:
    """Whether a number rounds to what is printed ("-" for nan)."""
    if printed == "-":
        return math.isnan(found)
    digits = len(printed.split("e")[0].replace(".", "").lstrip("0"))
    return f"{found:.{digits - 1}e}" == f"{float(printed):.{digits - 1}e}"


# ---- the boundary

BETA1 = (0.0, 0.5, 0.9, 0.99)
CRITICAL = [  # 1 - beta2* at a = 1, roots found with 40 digits
    (3, ".52769", "-", "-", "-"),
    (5, ".18926", ".30998", "-", "-"),
    (10, ".044557", ".056611", ".22534", "-"),
    (20, ".010620", ".011846", ".030493", "-"),
    (50, ".0016415", ".0017109", ".0025466", ".019180"),
    (100, "4.0526e-4", "4.1359e-4", "4.9499e-4", ".0024307"),
    (200, "1.0066e-4", "1.0168e-4", "1.1066e-4", "3.183e-4"),
    (500, "1.6043e-5", "1.6107e-5", "1.6642e-5", "2.602e-5"),
]
SHALLOW = [  # 1 - beta2* at a = 1 / (n - 1)^2
    (
        0.0,
        (3, ".8125"),
        (5, ".6989"),
        (10, ".5336"),
        (20, ".3708"),
        (50, ".2040"),
        (100, ".1221"),
        (200, ".0704"),
    ),
    (0.0, (500, ".0328")),
    (0.9, (3, "-"), (10, "-"), (50, "-"), (100, ".1516"), (200, ".0753")),
]


@pytest.mark.parametrize(("n", "row"), [(n, row) for n, *row in CRITICAL])
def test_critical_beta2(n: int, row: list[str]) -> None:
    for beta1, printed in zip(BETA1, row, strict=True):
        assert agrees(1 - critical_beta2(beta1, n), printed), (beta1, printed)


@pytest.mark.parametrize(("beta1", "row"), [(beta1, row) for beta1, *row in SHALLOW])
def test_critical_beta2_with_shallow_components(beta1: float, row: list[tuple[int, str]]) -> None:
    for n, printed in row:
        assert agrees(1 - critical_beta2(beta1, n, a=1 / (n - 1) ** 2), printed), (n, printed)


def test_drift_changes_sign_at_the_critical_beta2() -> None:
    for n, beta1, a in [
        (3, 0.0, 1.0),
        (10, 0.9, 1.0),
        (20, 0.95, 2.0),
        (500, 0.99, 1.0),
        (500, 0.0, 1e-5),
    ]:
        edge = critical_beta2(beta1, n, a)
        q = (1 - edge) * np.array([1 - 1e-6, 1 + 1e-6])
        assert diverges(beta1, 1 - q, n, a).tolist() == [False, True]
        above = 1 - (1 - edge) * np.geomspace(1e-4, 0.999, 500)
        assert not diverges(beta1, above, n, a).any()


def test_a_narrow_divergent_interval_is_found() -> None:
    """Just before the divergent set at n = 10 vanishes it is narrower than the first grid's
    spacing.
    """
    beta2 = np.linspace(0.45, 0.55, 100_001)
    some, none = 0.94, 0.941
    while none - some > 1e-9:
        middle = (some + none) / 2
        some, none = (middle, none) if diverges(middle, beta2, 10).any() else (some, middle)
    coarse = 1 - np.geomspace(1e-3 / 110, 1.0, theory.boundary.GRID)
    assert not diverges(some, coarse, 10).any()
    assert critical_beta2(some, 10) == pytest.approx(
        beta2[diverges(some, beta2, 10)].max(), abs=1e-4
    )
    assert math.isnan(critical_beta2(none + 1e-9, 10))


@pytest.mark.parametrize(
    ("n", "beta1", "low", "high"),
    [
        (5, 0.7, 0.0145, 0.4807),
        (10, 0.9, 0.0648, 0.7746),
        (20, 0.95, 0.019, 0.9409),
        (50, 0.99, 0.138, 0.9808),
        (100, 0.99, 0.001, 0.9975),
    ],
)
def test_divergent_set_has_a_lower_edge_at_large_beta1(
    n: int, beta1: float, low: float, high: float
) -> None:
    beta2 = np.linspace(0.0, 0.9999, 100_000)
    bad = beta2[diverges(beta1, beta2, n)]
    assert bad.min() == pytest.approx(low, abs=2e-4)
    assert bad.max() == pytest.approx(high, abs=2e-4)
    assert np.diff(bad).max() < 2e-5  # one interval


@pytest.mark.parametrize(("n", "beta1"), [(5, 0.9), (10, 0.95), (20, 0.99)])
def test_nothing_diverges_at_very_large_beta1(n: int, beta1: float) -> None:
    assert not diverges(beta1, np.linspace(0.0, 0.9999, 20_001), n).any()


@pytest.mark.parametrize(
    ("n", "share"), [(5, 0.528), (10, 0.861), (20, 0.965), (50, 0.9964), (100, 0.9995)]
)
def test_share_of_the_plane_that_diverges(n: int, share: float) -> None:
    beta = np.linspace(0.0, 0.995, 200)
    bad = diverges(beta[:, None], beta, n)
    assert bad.shape == (200, 200)
    assert bad.mean() == pytest.approx(share, abs=5.1e-4)


def simulated(beta1: float, beta2: float, n: int, a: float) -> tuple[np.ndarray, np.ndarray]:
    """m and v over one cycle, after as many cycles as it takes the two averages to forget their
    start.
    """
    slopes = np.full(n, -a)
    slopes[0] = 1 + (n - 1) * a
    cycles = math.ceil(40 / ((1 - max(beta1, beta2)) * n)) + 1
    m, v, path = 0.0, 0.0, []
    for g in np.tile(slopes, cycles):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        path.append((m, v))
    return tuple(np.array(path[-n:]).T)  # type: ignore[return-value]


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("beta2", [0.0, 0.3, 0.999])
@pytest.mark.parametrize(("n", "a"), [(2, 1.0), (10, 1.0), (10, 1 / 81), (500, 3.0)])
def test_drift_against_simulated_averages(beta1: float, beta2: float, n: int, a: float) -> None:
    m, v = simulated(beta1, beta2, n, a)
    G = 1 + (n - 1) * a
    weight1, weight2 = (theory.boundary._weights(np.asarray(beta), n) for beta in (beta1, beta2))
    assert np.allclose(m, -a + (G + a) * weight1, rtol=1e-9, atol=1e-12)
    assert np.allclose(v, a**2 + (G**2 - a**2) * weight2, rtol=1e-9)
    assert float(drift(beta1, beta2, n, a)) == pytest.approx(
        (m / np.sqrt(v)).sum(), rel=1e-8, abs=1e-8
    )


def test_drift_at_the_corners() -> None:
    """At beta1 = beta2 = 0 every step is a sign: one up, n - 1 down; near beta2 = 1 it is 1 /
    sqrt(mean g^2).
    """
    assert float(drift(0.0, 0.0, 500)) == pytest.approx(1 - 499)
    assert float(drift(0.9, 1 - 1e-13, 500)) == pytest.approx(
        1 / math.sqrt((500**2 + 499) / 500), rel=1e-6
    )
    assert np.isfinite(
        drift(np.array([0.0, 1e-300, 1 - 1e-15])[:, None], [0.0, 1e-300, 1 - 1e-15], 500)
    ).all()


@pytest.mark.parametrize(("n", "within"), [(20, 0.01), (100, 0.005), (500, 0.001)])
def test_first_order_in_cyclic_order(n: int, within: float) -> None:
    assert critical_first_order(n) == pytest.approx(1 - critical_beta2(0.0, n), rel=within)
    assert critical_first_order(n) == pytest.approx(4 / (n**2 - 1), rel=1.2 / n)


@pytest.mark.parametrize(
    ("n", "beta1", "printed"),
    [
        (10, 0.9, ".0278"),
        (20, 0.9, ".00553"),
        (50, 0.0, ".000816"),
        (50, 0.9, ".00082"),
        (100, 0.0, "2.02e-4"),
    ],
)
def test_first_order_with_replacement(n: int, beta1: float, printed: str) -> None:
    assert agrees(critical_with_replacement(beta1, n), printed)


def test_first_order_with_replacement_where_it_has_no_solution() -> None:
    assert math.isnan(critical_with_replacement(0.999, 5))
    assert math.isnan(critical_first_order(3, a=0.01))
    for n in (3, 4, 5, 10, 20, 100):
        found = np.array(
            [critical_with_replacement(beta1, n) for beta1 in np.linspace(0.0, 0.9999, 2001)]
        )
        assert np.nanmax(found, initial=0.0) < 1
        assert np.isnan(found).any()


def test_first_order_with_replacement_against_sampling() -> None:
    """At n = 20 sampled drift is negative well below the critical beta2, positive well above, at
    both beta1.
    """
    rng = np.random.default_rng(0)
    g = np.where(rng.integers(0, 20, size=(20_000, 100)) == 0, 20.0, -1.0)
    for beta1 in (0.0, 0.9):
        q = critical_with_replacement(beta1, 20)
        for factor, sign in ((3.0, -1), (1 / 3, 1)):
            beta2 = 1 - factor * q
            m = np.full(100, 0.05)
            v = np.full(100, 20.95)
            total = np.zeros(100)
            for row in g:
                m = beta1 * m + (1 - beta1) * row
                v = beta2 * v + (1 - beta2) * row * row
                total += m / np.sqrt(v)
            assert np.sign(total.mean()) == sign


# ---- horizons


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.99999])
def test_horizons_invert(beta: float) -> None:
    assert beta_from_horizon(memory_horizon(beta)) == pytest.approx(beta, abs=1e-12)
    assert beta_from_half_life(half_life(beta)) == pytest.approx(beta, abs=1e-12)
    assert beta ** half_life(beta) == pytest.approx(0.5 if beta else 1.0)


# ---- schedules


@pytest.mark.parametrize("name", schedules.NAMES)
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
def test_schedule(name: str, steps: int, warmup: float) -> None:
    lr = multipliers(name, steps, warmup)
    assert lr.shape == (steps,)
    assert lr.dtype == np.float64
    assert (lr > 0).all()
    assert lr.max() == 1
    peak = int(lr.argmax())
    assert (np.diff(lr[: peak + 1]) > 0).all()
    assert (np.diff(lr[peak:]) <= 0).all()
    if name.startswith("warmup"):
        assert peak == max(min(round(warmup * steps), steps - 1) - 1, 0)
        down = steps - min(round(warmup * steps), steps - 1)
        assert lr[-1] < 1.0001 / down
    else:
        assert (lr == multipliers(name, steps)).all()


def test_schedules_by_name() -> None:
    assert tuple(schedule.__name__ for schedule in schedules.ALL) == schedules.NAMES
    assert schedules.NAMES == ("constant", "inverse_sqrt", "warmup_cosine", "warmup_linear")


# ---- bad input

BAD = [
    (lambda: drift(0.9, 1.5, 10), "beta2 is out of range: got 1.5; expected [0, 1)"),
    (lambda: drift([0.9, math.nan], 0.5, 10), "beta1 is out of range: got nan"),
    (lambda: drift(0.9, 0.5, 1), "n is out of range: got 1; expected 2, 3, ... (drift"),
    (lambda: drift(0.9, 0.5, 10, a=0.0), "a is out of range: got 0.0; expected (0, inf)"),
    (lambda: critical_beta2(1.0, 10), "beta1 is out of range: got 1.0"),
    (lambda: critical_first_order(2), "n is out of range: got 2; expected 3, 4, ..."),
    (lambda: drift("x", 0.9, 10), "beta1 is not a number: got 'x' (drift"),
    (
        lambda: drift([0.1, 0.2, 0.3], [0.9, 0.8], 10),
        "The shapes of beta1 (3,), beta2 (2,) do not broadcast",
    ),
    (lambda: critical_beta2("x", 10), "beta1 is not a number: got 'x'"),
    (
        lambda: critical_beta2([0.5, 0.9], 10),
        "beta1 is not one number: got [0.5, 0.9]; expected a number in [0, 1)",
    ),
    (lambda: critical_beta2(0.9, 10.5), "n is out of range: got 10.5; expected 2, 3, ..."),
    (lambda: critical_beta2(0.9, math.nan), "n is out of range: got nan"),
    (lambda: influence([0.9, 0.5], 1), "beta is not one number: got [0.9, 0.5]"),
    (
        lambda: variance_about_momentum([1.0, 2.0], [0.5, 0.9]),
        "beta is not one number: got [0.5, 0.9]",
    ),
    (
        lambda: concentration([10, 20], 0.99, delta=[0.001] * 3),
        "The shapes of n (2,), beta2 (), delta (3,) do not",
    ),
    (lambda: multipliers("constant", "10"), "steps is out of range: got '10'"),
    (lambda: multipliers("constant", math.nan), "steps is out of range: got nan"),
    (lambda: multipliers("constant", 10.5), "steps is out of range: got 10.5"),
    (lambda: multipliers("warmup_linear", 10, "x"), "warmup is not a number: got 'x'"),
    (lambda: critical_with_replacement(-0.1, 10), "beta1 is out of range: got -0.1"),
    (
        lambda: memory_horizon(1.0),
        "beta is out of range: got 1.0; expected [0, 1) (memory_horizon). Try: beta=0.9",
    ),
    (lambda: half_life(-0.5), "beta is out of range: got -0.5; expected [0, 1) (half_life"),
    (
        lambda: beta_from_horizon(0.5),
        "horizon / per_step is out of range: got 0.5; expected [1, inf)",
    ),
    (
        lambda: beta_from_half_life(math.inf),
        "half_life is out of range: got inf; expected [0, inf)",
    ),
    (
        lambda: multipliers("cosine", 10),
        "Unknown schedule 'cosine'. Did you mean 'warmup_cosine'? Choose one of: constant, ",
    ),
    (lambda: multipliers("constant", 0), "steps is out of range: got 0; expected 1, 2, ..."),
    (
        lambda: multipliers("warmup_linear", 10, 1.0),
        "warmup is out of range: got 1.0; expected [0, 1)",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)


def test_exported_names() -> None:
    public = {
        name
        for name, value in vars(theory).items()
        if not (name.startswith("_") or inspect.ismodule(value))
    }
    assert set(theory.__all__) == public - {"explain_calls"}
