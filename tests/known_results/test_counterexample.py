"""Adam diverges in training at the critical beta2 of the closed form (Zhang et al. 2022,
arXiv:2208.09632).
"""

import math

import numpy as np
import pytest
from benchmarks.known_results.counterexample import (
    MONTE_CARLO,
    adam,
    boundaries,
    failing,
    far_field,
    random_order_boundary,
    speed,
)

from betaplane.maps import map_phases
from betaplane.maps.phase_map import FAILING
from betaplane.problems import counterexample
from betaplane.problems.problem import Order
from betaplane.replicas import Options, train_stacked
from betaplane.theory import critical_beta2, drift

BETA1S = (0.0, 0.5, 0.9)
FACTORS = (0.25, 0.5, 0.8, 0.95, 0.99, 1.01, 1.05, 1.25, 2.0)


@pytest.mark.parametrize("n", [10, 20])
def test_the_speed_of_adam_changes_sign_within_a_percent_of_the_critical_beta2(n):
    pairs = [
        (beta1, factor * (1 - critical_beta2(beta1, n))) for beta1 in BETA1S for factor in FACTORS
    ]
    speeds = speed(far_field(n, steps=8000), pairs)[:, 0]
    assert [v > 0 for v in speeds] == [factor > 1 for _ in BETA1S for factor in FACTORS]
    exact = [-float(drift(beta1, 1 - q, n)) / n for beta1, q in pairs]
    np.testing.assert_allclose(speeds, exact, atol=1e-5)  # the drift S is the speed


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10, 20, 50])
def test_the_boundary_of_training_agrees_with_the_critical_beta2(n):
    measured = boundaries(lambda pairs: speed(far_field(n), pairs)[:, 0], BETA1S)
    exact = [1 - critical_beta2(beta1, n) for beta1 in BETA1S]
    # nan if nothing diverges: n = 5, beta1 = 0.9
    np.testing.assert_allclose(measured, exact, rtol=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
def test_verdicts_of_the_default_problem_change_near_the_critical_beta2(n):
    """After 20,000 steps from x0 = 1, slow cells are on the wrong side; the drift falls with n."""
    measured = boundaries(lambda pairs: failing(counterexample(n), pairs), (0.5,))
    assert measured == pytest.approx([1 - critical_beta2(0.5, n)], rel=0.15)


@pytest.mark.parametrize("x0", [1.0, -5.0])
def test_both_kinds_of_divergence_have_the_speed_of_the_closed_form(x0):
    """From the right, x grows and the gradient stays 1/n; from the left, x decreases and the
    gradient explodes.
    """
    n, beta1, q = 10, 0.5, 0.5
    problem = counterexample(n, x0=x0, steps=5000)
    (outcome,) = train_stacked(problem, [adam(problem, beta1, q)], Options(early_stop=False))
    loss = outcome.curve.astype(float)
    times = np.arange(50, 5001, 50)
    distance = (
        -float(drift(beta1, 1 - q, n))
        / n
        * problem.lr
        * np.cumsum(1 / np.sqrt(np.arange(1, 5001)))[times - 1]
    )
    if x0 > -2:
        x = n * loss
        gradient = np.minimum(x + 2, 1) / n
        assert (gradient == 1 / n).all()
    else:
        x = -2 - np.sqrt(2 * n * loss + 3)
        gradient = (x + 2) / n
        assert (np.diff(gradient) < 0).all()
        assert gradient[-1] < 9 * (x0 + 2) / n
    assert distance[-1] > 25
    measured = math.copysign(1, x0) * (x[10:] - x[9])
    np.testing.assert_allclose(measured, distance[10:] - distance[9], rtol=0.01)


def test_independent_losses_need_the_largest_beta2_and_cyclic_losses_the_smallest():
    seeds: dict[Order, int] = {"cyclic": 1, "shuffle": 20, "replacement": 400}
    for beta1, q, leaves in [(0.0, 0.036, (False, False, True)), (0.9, 0.17, (False, True, True))]:
        for (order, many), left in zip(seeds.items(), leaves, strict=True):
            speeds = speed(far_field(10, order, steps=2000), [(beta1, q)], many)
            error = float(speeds.std()) / math.sqrt(many)
            assert speeds.mean() > 3 * error if left else speeds.mean() < -3 * error, (order, beta1)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "beta1", "order"), MONTE_CARLO)
def test_boundaries_of_random_orders_agree_with_simulated_averages(n, beta1, order):
    expected = MONTE_CARLO[n, beta1, order]
    assert random_order_boundary(n, beta1, order) == pytest.approx(expected, rel=0.1)


def far_from_the_boundary(diverges: np.ndarray) -> np.ndarray:
    """Cells that are, with all their neighbors, on one side of the boundary."""
    around = np.pad(diverges, 1, mode="edge")
    nx, ny = diverges.shape
    shifted = [around[i : i + nx, j : j + ny] for i in range(3) for j in range(3)]
    return np.all(shifted, axis=0) | ~np.any(shifted, axis=0)


@pytest.mark.parametrize(
    "how", [{"dense": True}, pytest.param({"dense": False}, marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("n", [10, pytest.param(20, marks=pytest.mark.slow)])
def test_a_map_agrees_with_the_closed_form(n, how):
    """Except within one cell of the boundary; convergence is proved only if beta1 < sqrt(beta2)."""
    phases = map_phases(
        counterexample(n), points=9, seeds=1, boundary_seeds=1, workers=0, search_lr=False, **how
    )
    beta1, beta2 = np.meshgrid(phases.x.values, phases.y.values, indexing="ij")
    diverges = drift(beta1, beta2, n) < 0
    counts = far_from_the_boundary(diverges) & (diverges | (beta1**2 < beta2))
    assert counts.sum() > 40
    assert diverges[counts].any()
    assert not diverges[counts].all()
    assert np.array_equal((phases.verdicts == FAILING)[counts], diverges[counts])
