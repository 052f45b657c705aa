"""Adam at equal betas: v - m^2 is a moving variance, the step a signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import BadInput
from betaplane.theory._validation import BETA, ArgumentRange, check_arrays, check_floats


def variance_about_momentum(g: ArrayLike, beta: float) -> np.ndarray:
    r"""Adam's v - m^2 at beta1 = beta2 = beta, as a moving variance.

    ```
    v_k - m_k^2 = beta EMA[(m_{k-1} - g_k)^2]_k =: sigma_k^2
    m / sqrt(v) = sign(m) / sqrt(1 + sigma^2 / m^2)
    ```

    So with equal betas Adam's step is a sign times a function of the signal-to-noise ratio, and
    never above 1.

    Args:
        g: gradients in order along axis 0, (steps, ...).
        beta: decay of both moments, in [0, 1), which start at 0 and are not corrected.

    Returns:
        sigma^2 after each step, like g, gradient units squared, >= 0.

    Raises:
        BadInput: if beta is out of its range or g is no finite array with steps.

    Source: A. Orvieto, R. Gower, 2025, arXiv:2505.21829, Proposition 1.

    Example:
        >>> variance_about_momentum([1.0, -1.0], beta=0.5)
        array([0.25  , 0.6875])
    """
    (g,) = check_arrays("variance_about_momentum", g=(g, ArgumentRange("(-inf, inf)", 1.0)))
    (beta,) = check_floats("variance_about_momentum", beta=(beta, BETA))
    if g.ndim == 0:
        raise BadInput(
            "g has no steps",
            value=float(g),
            where="variance_about_momentum",
            instead="g=[1.0, -1.0]",
        )
    m, average, path = np.zeros(g.shape[1:]), np.zeros(g.shape[1:]), []
    for value in g:
        average = beta * average + (1 - beta) * np.square(m - value)
        m = beta * m + (1 - beta) * value
        path.append(beta * average)
    return np.array(path)
