"""Quantities of the replayed update in every cell of the plane, for the whole model and for each
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
    """Quantities of the update u = m / (sqrt(v) + eps), without lr, and the mean gradient g.

    Arrays are float64.
    """

    # (n1, n2), between mean update and mean gradient, in [-1, 1]; 1 is steepest descent
    cosine: np.ndarray
    # (n1, n2), share of |g|^2 in coordinates whose mean update and mean gradient differ in sign, in
    # [0, 1]
    flipped: np.ndarray
    rms: np.ndarray  # (n1, n2), root mean square of u: the size of a step in units of lr
    signal: np.ndarray  # (n1, n2), |mean of u|^2 over the variance of u
    # (n1, n2), largest observed |m| / sqrt(v); nan if no coordinate of the layer was watched
    largest: np.ndarray
    # (n1, n2), its supremum over all gradients (theory.update_bound); inf if it is unbounded
    bound: np.ndarray
    # (n1, n2), see `cost`; inf if the mean update points uphill, nan if there is no gradient
    cost: np.ndarray
    spread: (
        np.ndarray
    )  # (n2,), coefficient of variation of sqrt(v) over steps; accurate to 1e-3 in float32
    below: np.ndarray  # (n2,), share of coordinates and steps with sqrt(v) < eps, in [0, 1]
    noise: float  # variance of the gradient over |g|^2: 1 / its signal-to-noise ratio


@dataclass(frozen=True, eq=False)
class Replay:
    """The result of running recorded gradients through Adam's moments over the (beta1, beta2) plane."""

    stream: Gradients = field(repr=False)
    beta1: np.ndarray  # (n1,), ascending, each in [0, 1)
    beta2: np.ndarray  # (n2,), ascending, each in [0, 1)
    eps: float  # gradient units
    whole: Quantities = field(repr=False)  # of the model: layers weighted by their size
    layers: Mapping[str, Quantities] = field(repr=False)  # by name

    @property
    def resolved(self) -> bool:
        """Whether the mean gradient is larger than its own sampling error, assuming independent rows."""
        return self.whole.noise < self.stream.steps


def cost(dot: np.ndarray, power: np.ndarray) -> np.ndarray:
    r"""The factor by which noise lowers the usable learning rate, relative to a constant v: 1 is no
    loss, inf means that no learning rate helps.

    The expected change of the loss f in a step is, to second order,

    ```
    -lr  g . E[u]  +  lr^2 / 2  E[u H u]
    ```

    so the lr at which the noise cancels the gain of the mean is proportional to g . E[u] / E|u|^2.
    The cost is this ratio at the same beta1 in the limit beta2 -> 1 (v constant), divided by this
    ratio here: the factor by which lr must be smaller for the same gain per step. If g . E[u] <= 0,
    no lr helps.

    Args:
        dot: (..., n2 + 1), E[u] . g; the last column is the limit beta2 -> 1.
        power: same shape, E|u|^2.

    Returns:
        Array (..., n2), > 0; inf if the mean update points uphill, nan if there is no gradient.

    Source: the expansion of f, with H a multiple of the identity; the rest is a heuristic that was
        evaluated on trained maps.

    Example:
        >>> cost(np.array([1.0, 0.5, -0.1, 1.0]), np.array([1.0, 2.0, 1.0, 1.0]))
        array([ 1.,  4., inf])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        usable_lr = dot / power
        relative = usable_lr[..., -1:] / usable_lr[..., :-1]
    return np.where(power[..., -1:] == 0, np.nan, np.where(dot[..., :-1] > 0, relative, np.inf))


def quantities(
    sums: Sums, stream: Gradients, beta1: np.ndarray, beta2: np.ndarray
) -> tuple[Quantities, dict[str, Quantities]]:
    """The quantities of the whole model and of each layer.

    Args:
        sums: of `plane.sums`; their last beta2 is the limit beta2 -> 1.
        stream: the recorded gradients.
        beta1: (n1,).
        beta2: (n2,), without the limit.
    """
    bound = np.asarray(update_bound(beta1[:, None], beta2))
    layers = {
        layer.name: _of_layers(sums, np.array([i]), stream, bound)
        for i, layer in enumerate(stream.layers)
        if layer.sampled
    }
    return _of_layers(sums, np.arange(len(stream.layers)), stream, bound), layers


def _of_layers(sums: Sums, indices: np.ndarray, stream: Gradients, bound: np.ndarray) -> Quantities:
    """Quantities of some layers together; each coordinate is weighted by the number it represents."""
    weights = stream.weights.numpy()[indices]
    size = sum(stream.layers[i].size for i in indices)

    def total(part: Tensor) -> np.ndarray:
        return np.tensordot(weights, part.numpy()[indices], axes=1)

    dot, square, power = total(sums.dot), total(sums.square), total(sums.power)
    energy, noise = total(sums.energy), total(sums.noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = dot / np.sqrt(square * energy)
        signal = square / np.maximum(power - square, 0.0)
        flipped = total(sums.flipped) / energy
        noise_ratio = float(np.divide(noise, energy))
    largest = np.fmax.reduce(sums.largest.numpy()[indices], axis=0)
    without_limit = slice(None, -1)
    return Quantities(
        cosine=cosine[:, without_limit],
        flipped=flipped[:, without_limit],
        rms=np.sqrt(power / size)[:, without_limit],
        signal=signal[:, without_limit],
        largest=largest[:, without_limit],
        bound=bound,
        cost=cost(dot, power),
        spread=(total(sums.spread) / size)[without_limit],
        below=(total(sums.below) / size)[without_limit],
        noise=noise_ratio,
    )
