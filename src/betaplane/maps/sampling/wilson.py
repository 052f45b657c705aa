"""The Wilson score interval of a probability of failure."""

from __future__ import annotations

import math

from betaplane.errors import BadInput

Z95 = 1.959963984540054  # 97.5% quantile of the normal distribution


def wilson(fails: int, trials: int) -> tuple[float, float]:
    """The 95% interval of P(fail) after so many failures in so many runs (Wilson 1927, the score
    interval).

        center = (p + z^2 / 2n) / (1 + z^2 / n),   half = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)

    Args:
        fails: number of failed runs, in 0 .. trials.
        trials: number of runs; the interval of none is (0, 1).

    Raises:
        BadInput: there are more failures than runs, or a negative number of them.

    Source: E. B. Wilson, 1927, "Probable inference, the law of succession, and statistical
        inference".

    Example:
        >>> [round(end, 4) for end in wilson(2, 4)], [round(end, 4) for end in wilson(0, 4)], wilson(0, 0)
        ([0.15, 0.85], [0.0, 0.4899], (0.0, 1.0))
    """
    if not 0 <= fails <= trials:
        raise BadInput(
            "There are more failures than runs",
            value=(fails, trials),
            allowed="0 <= fails <= trials",
        )
    if trials == 0:
        return 0.0, 1.0
    p = fails / trials
    z2 = Z95**2 / trials
    center = p + z2 / 2
    half = math.sqrt(z2 * (p * (1 - p) + z2 / 4))
    return max(0.0, (center - half) / (1 + z2)), min(1.0, (center + half) / (1 + z2))
