"""What recorded gradients do to Adam's update over the whole (beta1, beta2) plane: both moments once, then combined.

The moments separate: m depends on beta1 only, v on beta2 only. For each coordinate the mean update of all cells is one
product of two matrices, (beta1, steps) times (steps, beta2), and so is its mean square.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from betaplane.replay.gradients import Gradients
from betaplane.replay.moments import averages

CHUNK = 128  # coordinates whose moments are held at once
LOUD = 256  # coordinates among which the largest update is looked for
WORKERS = 8  # threads at most; torch computes outside Python's lock
TINY = 1e-30  # of v in units of the layer's mean square: below it, float32 would overflow

Watch = Callable[[int, int], None]  # coordinates done, of how many


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the recorded coordinates of each layer, float64; u is the update m / (sqrt(v) + eps), lr left out."""

    dot: Tensor  # (layers, n1, n2), mean of u times mean gradient, gradient units
    square: Tensor  # (layers, n1, n2), square of the mean of u
    power: Tensor  # (layers, n1, n2), mean of the square of u
    flipped: Tensor  # (layers, n1, n2), squared mean gradient where it and the mean of u differ in sign
    largest: Tensor  # (layers, n1, n2), largest |m| / sqrt(v), among `loud` coordinates; nan where a layer has none
    energy: Tensor  # (layers,), squared mean gradient
    noise: Tensor  # (layers,), variance of the gradient over steps
    spread: Tensor  # (layers, n2), standard deviation over mean, of sqrt(v) over steps
    below: Tensor  # (layers, n2), share of steps with sqrt(v) < eps


def sums(
    stream: Gradients,
    beta1: Tensor,
    beta2: Tensor,
    eps: float,
    dtype: torch.dtype = torch.float32,
    watch: Watch = lambda done, of: None,
) -> Sums:
    """Run both moments over the stream and sum what the quantities are made of.

    A frozen stream is taken to repeat for ever: its moments are in their steady state, also where a horizon is longer
    than the recording. A live one starts at its first row with bias correction, and its first tenth is not counted.
    Memory is bounded by the chunk, not by the stream: a few hundred MB at 64 x 64.

    Args:
        stream: the recorded gradients.
        beta1: (n1,), float64, each in [0, 1).
        beta2: (n2,), float64, each in [0, 1).
        eps: added to sqrt(v), gradient units, >= 0; where eps = 0, the update is 0 while v is.
        dtype: of the moments and products; float64 is the slow twin.
        watch: told how far it is.
    """
    totals = _Totals(stream, len(beta1), len(beta2))
    scale, loud = _scale(stream), _loud(stream)

    def chunk(first: int) -> _Chunk:
        here = slice(first, first + CHUNK)
        x = (stream.values[:, here].double() / scale[here]).to(dtype)
        made = _Chunk(stream, x, beta1, beta2, (eps / scale[here]).to(dtype), loud[here])
        made.run()
        return made

    workers = max(1, min(WORKERS, (os.cpu_count() or 1) // torch.get_num_threads()))
    starts = range(0, stream.coordinates, CHUNK)
    with ThreadPoolExecutor(workers) as pool:
        for k in range(0, len(starts), workers):  # a few at a time, in order: bounded memory, the same sums each time
            for first, made in zip(starts[k : k + workers], pool.map(chunk, starts[k : k + workers]), strict=True):
                totals.add(made, first)
                watch(min(first + CHUNK, stream.coordinates), stream.coordinates)
    return totals.sums()


class _Totals:
    """The sums of all chunks so far."""

    def __init__(self, stream: Gradients, n1: int, n2: int) -> None:
        layers = len(stream.layers)
        self.stream, self.owner = stream, stream.owner
        self.counted = stream.values[_skipped(stream) :].double()
        self.mean = self.counted.mean(dim=0)
        self.planes = torch.zeros(4, layers, n1, n2, dtype=torch.float64).unbind()
        self.rows = torch.zeros(2, layers, n2, dtype=torch.float64).unbind()
        self.largest = torch.full((layers, n1, n2), -torch.inf, dtype=torch.float64)

    def add(self, chunk: _Chunk, first: int) -> None:
        """Add a chunk's coordinates to the sums of their layers."""
        here = slice(first, first + CHUNK)
        owner, g = self.owner[here], self.mean[here, None, None]
        mean, power = chunk.mean.double(), chunk.power.double()
        dot = mean * g
        flipped = g.square().where(dot < 0, 0.0)
        for total, found in zip(self.planes, (dot, mean.square(), power, flipped), strict=True):
            total.index_add_(0, owner, found)
        for total, found in zip(self.rows, (chunk.spread, chunk.below), strict=True):
            total.index_add_(0, owner, found.double())
        for layer in owner[chunk.loud].unique():
            most = chunk.largest[owner[chunk.loud] == layer].amax(dim=0).double()
            self.largest[layer] = torch.maximum(self.largest[layer], most)

    def sums(self) -> Sums:
        """All of it by layer."""
        dot, square, power, flipped = self.planes
        spread, below = self.rows
        energy, noise = (self._by_layer(each) for each in (self.mean.square(), self.counted.var(dim=0)))
        largest = self.largest.where(self.largest.isfinite(), torch.nan)
        return Sums(dot, square, power, flipped, largest, energy, noise, spread, below)

    def _by_layer(self, each: Tensor) -> Tensor:
        return torch.zeros(len(self.stream.layers), dtype=torch.float64).index_add_(0, self.owner, each)


class _Chunk:
    """Some coordinates over all steps: their mean update, its mean square, and what sqrt(v) did."""

    def __init__(self, stream: Gradients, x: Tensor, beta1: Tensor, beta2: Tensor, eps: Tensor, loud: Tensor) -> None:
        self.x, self.betas, self.eps, self.loud = x, (beta1, beta2), eps, loud
        self.around, self.skip = stream.frozen, _skipped(stream)
        c, n1, n2 = x.shape[1], len(beta1), len(beta2)
        self.mean, self.power = x.new_zeros(c, n1, n2), x.new_zeros(c, n1, n2)
        self.largest = x.new_zeros(int(loud.sum()), n1, n2)
        self.below, self.first, self.second = (torch.zeros(c, n2, dtype=torch.float64) for _ in range(3))

    def run(self) -> None:
        """Go through the steps, block by block."""
        t = 0
        blocks = (averages(x, beta, self.around) for x, beta in zip((self.x, self.x**2), self.betas, strict=True))
        for m, v in zip(*blocks, strict=True):
            skip = max(0, self.skip - t)
            t += m.shape[1]
            if skip < m.shape[1]:
                self._combine(m[:, skip:], v[:, skip:])
        counted = t - self.skip
        for each in (self.mean, self.power, self.below, self.first, self.second):
            each /= counted
        spread = (self.second - self.first.square()).clamp_(min=0).sqrt_() / self.first
        self.spread = spread.nan_to_num_()

    def _combine(self, m: Tensor, v: Tensor) -> None:
        root = v.sqrt()
        self.below += (root < self.eps[:, None, None]).sum(dim=1)
        self.first += root.sum(dim=1)
        self.second += v.sum(dim=1)
        inverse = _inverse(v, root, self.eps)
        if len(self.largest):
            self._keep_largest(m[self.loud].abs_(), _inverse(v[self.loud], root[self.loud], 0.0 * self.eps[self.loud]))
        self.mean.baddbmm_(m.transpose(1, 2), inverse)
        self.power.baddbmm_(m.square().transpose(1, 2), inverse.square_())

    def _keep_largest(self, m: Tensor, inverse: Tensor) -> None:
        for i in range(m.shape[2]):
            found = (m[:, :, i, None] * inverse).amax(dim=1)
            self.largest[:, i] = torch.maximum(self.largest[:, i], found)


def _inverse(v: Tensor, root: Tensor, eps: Tensor) -> Tensor:
    """1 / (sqrt(v) + eps); 0 where v is too small to divide by and eps is 0."""
    inverse = (root + eps[:, None, None]).clamp_(min=TINY**0.5).reciprocal_()
    return inverse if bool((eps > 0).all()) else inverse.masked_fill_((v < TINY) & (eps[:, None, None] == 0), 0.0)


def _scale(stream: Gradients) -> Tensor:
    """The root mean square gradient of each coordinate's layer, (d,): in its units float32 has room for every cell."""
    square = stream.values.double().square().mean(dim=0)
    layers = [len(stream.layers)]
    total = torch.zeros(layers, dtype=torch.float64).index_add_(0, stream.owner, square)
    count = torch.tensor([max(layer.sampled, 1) for layer in stream.layers])
    return (total / count).sqrt().clamp(min=1e-150)[stream.owner]


def _loud(stream: Gradients) -> Tensor:
    """Which coordinates the largest update is looked for among, bool (d,): all, or every so manyth."""
    return torch.arange(stream.coordinates) % -(-stream.coordinates // LOUD) == 0


def _skipped(stream: Gradients) -> int:
    """Rows that are not counted: the first tenth of a live stream, where the moments are still filling."""
    return 0 if stream.frozen else stream.steps // 10
