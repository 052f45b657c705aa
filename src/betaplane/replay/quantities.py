"""What the replayed update is like in every cell of the plane, for the whole model and for each
layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from betaplane.replay.gradients import Gradients
from betaplane.replay.plane import Sums
from betaplane.theory.bounds import update_bound


@dataclass(frozen=True, eq=False)
class Quantities:
    """Of the update u = m / (sqrt(v) + eps), lr left out, and the mean gradient g; arrays float64."""

    # (n1, n2), between mean update and mean gradient, in [-1, 1]; 1 is steepest descent
    cosine: np.ndarray
    # (n1, n2), share of |g|^2 where mean update and mean gradient differ in sign, in [0, 1]
    flipped: np.ndarray
    rms: np.ndarray  # (n1, n2), root mean square of u: a step's size in units of lr
    signal: np.ndarray  # (n1, n2), |mean of u|^2 over the variance of u
    # (n1, n2), largest |m| / sqrt(v) seen; nan where no coordinate of the layer was looked at
    largest: np.ndarray
    # (n1, n2), its supremum over all gradients (theory.update_bound); inf where there is none
    bound: np.ndarray
    # (n1, n2), see `cost`; inf where the mean update points uphill, nan where there is no gradient
    cost: np.ndarray
    spread: np.ndarray  # (n2,), coefficient of variation of sqrt(v) over steps; to 1e-3 in float32
    below: np.ndarray  # (n2,), share of coordinates and steps with sqrt(v) < eps, in [0, 1]
    noise: float  # variance of the gradient over |g|^2: 1 / its signal-to-noise ratio


@dataclass(frozen=True, eq=False)
class Replay:
    """Recorded gradients run through Adam's moments over the (beta1, beta2) plane."""

    stream: Gradients = field(repr=False)
    beta1: np.ndarray  # (n1,), ascending, each in [0, 1)
    beta2: np.ndarray  # (n2,), ascending, each in [0, 1)
    eps: float  # gradient units
    whole: Quantities = field(repr=False)  # of the model: layers weighted by their size
    layers: Mapping[str, Quantities] = field(repr=False)  # by name

    @property
    def resolved(self) -> bool:
        """Whether the mean gradient stands out from the noise of a mean over so many rows, were
        they independent.
        """
        return self.whole.noise < self.stream.steps


def cost(dot: np.ndarray, power: np.ndarray) -> np.ndarray:
    r"""How much of the learning rate noise takes away, against a v that stands still: 1 is none,
    inf is all.

    A step's expected change of the loss f is, to second order,

    ```
    -lr  g . E[u]  +  lr^2 / 2  E[u H u]
    ```

    so the lr at which noise eats what the mean gains is proportional to g . E[u] / E|u|^2. The cost is that ratio at
    the same beta1 in the limit beta2 -> 1 (v constant), over that ratio here: the factor by which lr has to be smaller
    to gain as much a step. Where g . E[u] <= 0 no lr helps.

    Args:
        dot: (..., n2 + 1), E[u] . g; the last column is the limit beta2 -> 1.
        power: like dot, E|u|^2.

    Returns:
        Array (..., n2), > 0; inf where the mean update points uphill, nan where there is no gradient.

    Source: the expansion of f; H enters as a multiple of the identity, the rest is a heuristic
        judged by trained maps.

    Example:
        >>> cost(np.array([1.0, 0.5, -0.1, 1.0]), np.array([1.0, 2.0, 1.0, 1.0]))
        array([ 1.,  4., inf])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        room = dot / power
        relative = room[..., -1:] / room[..., :-1]
    return np.where(power[..., -1:] == 0, np.nan, np.where(dot[..., :-1] > 0, relative, np.inf))


def quantities(
    sums: Sums, stream: Gradients, beta1: np.ndarray, beta2: np.ndarray
) -> tuple[Quantities, dict]:
    """The quantities of the whole model and of each layer, from sums whose last beta2 is the limit
    beta2 -> 1.
    """
    bound = np.asarray(update_bound(beta1[:, None], beta2))
    each = [
        _of(sums, np.array([i]), stream, bound)
        for i, layer in enumerate(stream.layers)
        if layer.sampled
    ]
    names = [layer.name for layer in stream.layers if layer.sampled]
    return _of(sums, np.arange(len(stream.layers)), stream, bound), dict(
        zip(names, each, strict=True)
    )


def _of(sums: Sums, rows: np.ndarray, stream: Gradients, bound: np.ndarray) -> Quantities:
    """Quantities of some layers together; a coordinate counts for as many as it stands for."""
    weights = stream.weights.numpy()[rows]
    size = sum(stream.layers[i].size for i in rows)

    def total(part: Tensor) -> np.ndarray:
        return np.tensordot(weights, part.numpy()[rows], axes=1)

    dot, square, power, flipped = (
        total(each) for each in (sums.dot, sums.square, sums.power, sums.flipped)
    )
    energy, noise = total(sums.energy), total(sums.noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = dot / np.sqrt(square * energy)
        signal = square / np.maximum(power - square, 0.0)
        share, ratio = flipped / energy, float(np.divide(noise, energy))
    loud = sums.largest.numpy()[rows]
    largest = np.fmax.reduce(loud, axis=0)
    every = slice(None, -1)  # without the limit
    return Quantities(
        cosine[:, every], share[:, every], np.sqrt(power / size)[:, every], signal[:, every], largest[:, every], bound,
        cost(dot, power), (total(sums.spread) / size)[every], (total(sums.below) / size)[every], ratio,
    )  # fmt: skip
