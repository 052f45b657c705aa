"""Streams of gradients for tests, and the plain loop that says what Adam does with them."""

from __future__ import annotations

import numpy as np
import torch

from betaplane.replay import Gradients, Layer


def stream(values: np.ndarray, **more) -> Gradients:
    """Columns as one layer."""
    columns = values.shape[1]
    return Gradients(
        torch.from_numpy(values), (Layer("x", (columns,), columns),), torch.arange(columns), **more
    )


def noisy(steps: int, columns: int, seed: int = 0) -> np.ndarray:
    """Skewed gradients of a positive mean, so that no sign is a matter of luck."""
    return np.random.default_rng(seed).gamma(0.5, 2.0, (steps, columns)) - 0.7


def slopes(n: int, order: str, steps: int, columns: int, seed: int = 0) -> np.ndarray:
    """Gradients of the counterexample with a = 1, each loss equally often: n once, -1 the other n -
    1 times.

    "shuffle": a new order each epoch. "replacement": any order of the whole column, which is as good as independent
    draws while horizons are much shorter than it; the mean is exact, so that a boundary has no error from it.
    """
    draw, epochs = np.random.default_rng(seed), steps // n
    found = np.full((epochs * n, columns), -1.0)
    for column in found.T:
        shuffled = np.arange(epochs) * n + draw.integers(0, n, epochs)
        column[
            shuffled if order == "shuffle" else draw.choice(len(column), epochs, replace=False)
        ] = n
    return found


def updates(
    g: np.ndarray,
    beta1: float,
    beta2: float,
    eps: float = 0.0,
    rounds: int = 1,
    corrected: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The updates m / (sqrt(v) + eps) and sqrt(v) over the last of so many rounds through g, in
    plain float64.
    """
    m, v, found, roots = np.zeros(g.shape[1]), np.zeros(g.shape[1]), [], []
    for t, row in enumerate(np.concatenate([g] * rounds), start=1):
        m, v = beta1 * m + (1 - beta1) * row, beta2 * v + (1 - beta2) * row**2
        m_hat, v_hat = (m / (1 - beta1**t), v / (1 - beta2**t)) if corrected else (m, v)
        found.append(m_hat / (np.sqrt(v_hat) + eps))
        roots.append(np.sqrt(v_hat))
    return np.array(found[-len(g) :]), np.array(roots[-len(g) :])
