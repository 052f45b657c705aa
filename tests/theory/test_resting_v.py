"""v at rest under any Hessian: against the closed form, trying all values, an optimum's conditions,
and RMSProp.
"""

from __future__ import annotations

import numpy as np
import pytest
from theory_checks import refuses

from betaplane.theory import resting_root_v, resting_root_v_of


def curved(d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A gradient (d,) and a positive definite Hessian (d, d)."""
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(d, d))
    return 0.01 * draw.normal(size=d), root @ root.T


def test_a_diagonal_hessian_has_the_closed_form() -> None:
    draw = np.random.default_rng(0)
    h, g = draw.uniform(0, 50, 6), draw.normal(size=6)
    np.testing.assert_allclose(
        resting_root_v_of(g, np.diag(h), 0.05), resting_root_v(g, h, 0.05), rtol=1e-6
    )


def test_two_coordinates_by_trying_all() -> None:
    H, slope, lr = np.array([[3.0, 1.0], [1.0, 1.0]]), np.array([0.2, 1.0]), 0.1
    p, q = np.meshgrid(np.linspace(1.51, 4, 2501), np.linspace(0.51, 3, 2501), indexing="ij")
    cost = p + q + slope[0] ** 2 / p + slope[1] ** 2 / q
    cost[(2 * p - 3) * (2 * q - 1) < 1] = np.inf
    at = np.unravel_index(cost.argmin(), cost.shape)
    ours = resting_root_v_of(lr * slope, H, lr) / lr
    assert ours.sum() + (slope**2 / ours).sum() == pytest.approx(cost.min(), rel=1e-3)
    # the bottom is flat along the constraint
    np.testing.assert_allclose(ours, [p[at], q[at]], rtol=0.02)


@pytest.mark.parametrize("d", [2, 5, 30])
def test_the_conditions_of_an_optimum(d: int) -> None:
    """1 - g^2 / (lr p)^2 = 2 diag S, S >= 0, S (2 P - H) = 0: what v has beyond g^2 comes from the
    unstable modes.
    """
    (g, H), lr = curved(d, seed=d), 0.05
    p = resting_root_v_of(g, H, lr) / lr
    values, modes = np.linalg.eigh(2 * np.diag(p) - H)
    assert values[0] >= 0
    idle = modes[:, values < 1e-5 * p.max()]
    assert idle.shape[1] >= 1
    excess = (1 - (g / (lr * p)) ** 2) / 2
    pairs = [(i, j) for i in range(idle.shape[1]) for j in range(i + 1)]
    products = np.array([idle[:, i] * idle[:, j] * (1 if i == j else 2) for i, j in pairs]).T
    found, *_ = np.linalg.lstsq(products, excess, rcond=None)
    np.testing.assert_allclose(products @ found, excess, atol=1e-4)
    weights = np.zeros((idle.shape[1],) * 2)
    for (i, j), weight in zip(pairs, found, strict=True):
        weights[i, j] = weights[j, i] = weight
    assert np.linalg.eigvalsh(weights)[0] > -1e-3


def test_rmsprop_itself() -> None:
    """Full batch on y' H y / 2, whose minimum recedes so that there is a mean gradient."""
    H, lr, beta2 = np.array([[3.0, 1.0], [1.0, 2.0]]), 0.01, 0.999
    y, v, pull, sums, steps = (
        np.array([0.004, -0.001]),
        np.full(2, 1e-4),
        0.3 * lr * np.array([1.0, -0.2]),
        [],
        60_000,
    )
    for step in range(steps):
        g = H @ y
        v = beta2 * v + (1 - beta2) * g * g
        y = y - lr * g / np.sqrt(v) - pull
        if step >= steps - 20_000:
            sums.append((g, v))
    mean, settled = (np.mean(each, axis=0) for each in zip(*sums, strict=True))
    np.testing.assert_allclose(np.sqrt(settled), resting_root_v_of(mean, H, lr), rtol=0.02)


def test_nothing_holds_v_up() -> None:
    np.testing.assert_array_equal(resting_root_v_of([0.0, 0.0], -np.eye(2), 0.1), 0.0)


def test_wrong_input_is_told() -> None:
    refuses(lambda: resting_root_v_of([1.0], np.eye(2), 0.1), "do not fit")
    refuses(lambda: resting_root_v_of([1.0, 1.0], [[1.0, 2.0], [0.0, 1.0]], 0.1), "not symmetric")
    refuses(lambda: resting_root_v_of([1.0], [[1.0]], 0.0), "lr")
