"""Replay recorded gradients through Adam's moments over the whole (beta1, beta2) plane."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from betaplane.errors import BadInput, expect, expect_function
from betaplane.replay.batch import with_batch_size
from betaplane.replay.gradients import Gradients
from betaplane.replay.plane import sums
from betaplane.replay.quantities import Replay, quantities
from betaplane.replay.store import load
from betaplane.theory._validation import BETA, NOT_NEGATIVE, check_arrays

LIMIT_BETA2 = 1 - 1e-9  # represents beta2 -> 1: in a repeated stream, v is then constant
DEFAULT_POINTS = 64
Watch = Callable[[int, int], None]  # called with: finished coordinates, all coordinates


def horizons(longest: float, points: int = DEFAULT_POINTS) -> np.ndarray:
    """Betas from 0, evenly spaced in the logarithm of the memory horizon 1 / (1 - beta), rounded to
    4 digits of 1 - beta.

    The values nearest to 0.9, 0.99, ... are set to exactly these common settings.

    Args:
        longest: the largest horizon, in steps, > 1.
        points: number of betas, >= 2.

    Example:
        >>> horizons(1000, 4).tolist(), horizons(100, 8).tolist()
        ([0.0, 0.9, 0.99, 0.999], [0.0, 0.4821, 0.7317, 0.8611, 0.9, 0.96272, 0.98069, 0.99])
    """
    q = np.geomspace(1.0, 1.0 / longest, points)
    for decade in range(int(np.log10(longest) + 1e-9) + 1 if points > 2 * np.log10(longest) else 0):
        q[np.argmin(np.abs(np.log10(q) + decade))] = 10.0**-decade
    return np.array([float(f"{1 - float(f'{each:.4g}'):.12g}") for each in q])


def replay_gradients(
    source: Gradients | str | Path,
    beta1: ArrayLike | None = None,
    beta2: ArrayLike | None = None,
    *,
    eps: float = 1e-8,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    watch: Watch = lambda done, of: None,
) -> Replay:
    r"""Compute Adam's update over the whole (beta1, beta2) plane, from recorded gradients alone.

    ```
    m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2,   u = m / (sqrt(v) + eps)
    ```

    Convergence proofs require that E[u] at frozen weights points down the gradient. A frozen stream
    is assumed to repeat forever, with its moments in their steady state, so E[u] is exact for the
    recorded minibatches. Horizons much longer than the recording act like the recording's length. A
    live stream is run from its first row with bias correction, and its first tenth is not counted.
    Its mean gradient is a mean over moving weights, and the difference between its two ends counts
    as noise.

    Args:
        source: recorded gradients, or the path of their file.
        beta1: (n1,), ascending, each in [0, 1); by default 64 horizons from 1 to 100.
        beta2: (n2,), in the same form; by default 64 horizons from 1 to 10,000.
        eps: added to sqrt(v), gradient units, >= 0.
        batch_size: predict for this batch size; see `with_batch_size`.
        dtype: of the moments and products: float32, or float64 for the reference.
        watch: called with the number of finished coordinates and of all.

    Returns:
        The quantities of every cell, of the model and of each layer.

    Raises:
        BadInput: the file is not a recording, a number is out of range, or all gradients are zero.

    Source: the moments: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1. E[m / sqrt(v)] as the
    criterion: Y. Zhang et al., 2022, arXiv:2208.09632; Y. Zhang et al., 2026, arXiv:2603.02092.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay.record_problem import record_problem
        >>> replay = replay_gradients(record_problem(counterexample(n=10), steps=10), [0.0], [0.5, 0.95, 0.96, 0.99])
        >>> replay.whole.cosine
        array([[-1., -1.,  1.,  1.]])
    """
    expect(source, (Gradients, str, Path), "source", 'replay_gradients("grads.safetensors")')
    expect_function(watch, "watch", "watch=print", "replay_gradients", takes=2)
    stream = source if isinstance(source, Gradients) else load(source)
    stream = stream if batch_size is None else with_batch_size(stream, batch_size)
    rows, columns = _ascending("beta1", beta1, 100), _ascending("beta2", beta2, 10_000)
    check_arrays("replay_gradients", eps=(eps, NOT_NEGATIVE))
    if not bool(stream.values.any()):
        raise BadInput(
            "The recorded gradients are all zero",
            value=0.0,
            allowed="at least one nonzero element",
            where="replay_gradients",
            instead="a recording from before the minimum was reached",
        )
    with_limit = torch.from_numpy(np.append(columns, LIMIT_BETA2))
    totals = sums(stream, torch.from_numpy(rows), with_limit, eps, dtype, watch)
    whole, layers = quantities(totals, stream, rows, columns)
    return Replay(stream, rows, columns, eps, whole, layers)


def _ascending(name: str, beta: ArrayLike | None, longest: float) -> np.ndarray:
    beta = horizons(longest) if beta is None else beta
    (betas,) = check_arrays("replay_gradients", **{name: (beta, BETA)})
    if betas.ndim != 1 or not len(betas) or not (np.diff(betas) > 0).all():
        raise BadInput(
            f"{name} is not an ascending list of betas",
            value=betas.tolist(),
            allowed="shape (n,), each larger than the one before",
            where="replay_gradients",
            instead=f"{name}=[0.0, 0.9, 0.99]",
        )
    return betas
