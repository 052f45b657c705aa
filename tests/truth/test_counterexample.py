"""Where training leaves for infinity is where the closed form says (Zhang et al. 2022,
arXiv:2208.09632).
"""

import math

import numpy as np
import pytest
from benchmarks.truth import MONTE_CARLO, adam, edges, failing, far, random_edge, speed

from betaplane.maps import map_phases
from betaplane.maps.phase_map import FAILING
from betaplane.problems import counterexample
from betaplane.problems.problem import Order
from betaplane.replicas import Options, train_stacked
from betaplane.theory import critical_beta2, drift

BETA1S = (0.0, 0.5, 0.9)
FACTORS = (0.25, 0.5, 0.8, 0.95, 0.99, 1.01, 1.05, 1.25, 2.0)


@pytest.mark.parametrize("n", [10, 20])
def test_adam_turns_within_a_percent_of_the_critical_beta2(n):
    pairs = [
        (beta1, factor * (1 - critical_beta2(beta1, n))) for beta1 in BETA1S for factor in FACTORS
    ]
    found = speed(far(n, steps=8000), pairs)[:, 0]
    assert [v > 0 for v in found] == [factor > 1 for _ in BETA1S for factor in FACTORS]
    exact = [-float(drift(beta1, 1 - q, n)) / n for beta1, q in pairs]
    np.testing.assert_allclose(found, exact, atol=1e-5)  # not its sign alone: S is the speed


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10, 20, 50])
def test_the_edge_that_training_finds_is_the_critical_beta2(n):
    found = edges(lambda pairs: speed(far(n), pairs)[:, 0], BETA1S)
    exact = [1 - critical_beta2(beta1, n) for beta1 in BETA1S]
    # nan where nothing diverges: n = 5, beta1 = 0.9
    np.testing.assert_allclose(found, exact, rtol=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
def test_verdicts_of_the_default_problem_turn_near_it(n):
    """20,000 steps from x0 = 1 leave slow cells on the wrong side; larger n drifts more slowly."""
    found = edges(lambda pairs: failing(counterexample(n), pairs), (0.5,))
    assert found == pytest.approx([1 - critical_beta2(0.5, n)], rel=0.15)


@pytest.mark.parametrize("x0", [1.0, -5.0])
def test_both_divergences(x0):
    """From the right the gradient stays 1/n while x grows; from the left x falls and the gradient
    explodes.
    """
    n, beta1, q = 10, 0.5, 0.5
    problem = counterexample(n, x0=x0, steps=5000)
    (found,) = train_stacked(problem, [adam(problem, beta1, q)], Options(early_stop=False))
    loss = found.curve.astype(float)
    times = np.arange(50, 5001, 50)
    way = (
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
    assert way[-1] > 25
    moved = math.copysign(1, x0) * (x[10:] - x[9])
    np.testing.assert_allclose(moved, way[10:] - way[9], rtol=0.01)


def test_order_matters():
    """Of cyclic, reshuffled and independent losses the first bear the smallest beta2 and the last
    the largest.
    """
    seeds: dict[Order, int] = {"cyclic": 1, "shuffle": 20, "replacement": 400}
    for beta1, q, leaves in [(0.0, 0.036, (False, False, True)), (0.9, 0.17, (False, True, True))]:
        for (order, many), left in zip(seeds.items(), leaves, strict=True):
            speeds = speed(far(10, order, steps=2000), [(beta1, q)], many)
            error = float(speeds.std()) / math.sqrt(many)
            assert speeds.mean() > 3 * error if left else speeds.mean() < -3 * error, (order, beta1)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "beta1", "order"), MONTE_CARLO)
def test_random_orders_turn_where_simulated_averages_do(n, beta1, order):
    assert random_edge(n, beta1, order) == pytest.approx(MONTE_CARLO[n, beta1, order], rel=0.1)


def far_from_the_boundary(diverges: np.ndarray) -> np.ndarray:
    """Cells all of whose neighbours, and themselves, are on one side."""
    around = np.pad(diverges, 1, mode="edge")
    nx, ny = diverges.shape
    shifted = [around[i : i + nx, j : j + ny] for i in range(3) for j in range(3)]
    return np.all(shifted, axis=0) | ~np.any(shifted, axis=0)


@pytest.mark.parametrize(
    "how", [{"dense": True}, pytest.param({"dense": False}, marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("n", [10, pytest.param(20, marks=pytest.mark.slow)])
def test_a_map_of_it_agrees_with_the_closed_form(n, how):
    """Except within a cell of the boundary; convergence is claimed where beta1 < sqrt(beta2)."""
    found = map_phases(counterexample(n), points=9, seeds=1, boundary_seeds=1, workers=0, **how)
    beta1, beta2 = np.meshgrid(found.x.values, found.y.values, indexing="ij")
    diverges = drift(beta1, beta2, n) < 0
    counts = far_from_the_boundary(diverges) & (diverges | (beta1**2 < beta2))
    assert counts.sum() > 40
    assert diverges[counts].any()
    assert not diverges[counts].all()
    assert np.array_equal((found.verdicts == FAILING)[counts], diverges[counts])
