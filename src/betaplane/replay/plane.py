"""Sums of Adam's updates on recorded gradients, over the whole (beta1, beta2) plane.

The moments separate: m depends on beta1 only, v on beta2 only. For each coordinate, the mean update
of all cells is one product of two matrices, (beta1, steps) times (steps, beta2). So is its mean
square.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from betaplane.replay.chunk import ChunkStatistics
from betaplane.replay.gradients import Gradients
from betaplane.replay.moments import MovingAverages

COORDINATES_PER_TASK = 128  # that one thread processes
COORDINATES_AT_ONCE = 32  # whose moments are in memory; they stay in a core's cache
WATCHED_COORDINATES = 256  # at most, among which the largest update is searched
MAX_THREADS = 8  # torch computes without Python's lock

Watch = Callable[[int, int], None]  # called with: finished coordinates, all coordinates


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the recorded coordinates of each layer, float64.

    u is the update m / (sqrt(v) + eps), without the learning rate.
    """

    dot: Tensor  # (layers, n1, n2), mean of u times mean gradient, gradient units
    square: Tensor  # (layers, n1, n2), square of the mean of u
    power: Tensor  # (layers, n1, n2), mean of the square of u
    # (layers, n1, n2), squared mean gradient if it and the mean of u differ in sign
    flipped: Tensor
    # (layers, n1, n2), largest |m| / sqrt(v) among the watched coordinates; nan if a layer has none
    largest: Tensor
    energy: Tensor  # (layers,), squared mean gradient
    noise: Tensor  # (layers,), variance of the gradient over steps
    spread: Tensor  # (layers, n2), standard deviation over mean, of sqrt(v) over steps
    below: Tensor  # (layers, n2), share of steps with sqrt(v) < eps

    def add(self, first: int, part: Sums) -> None:
        """Add the sums of some layers, the first of which has the index `first`."""
        for field in fields(Sums):
            added = getattr(part, field.name)
            total = getattr(self, field.name)[first : first + len(added)]
            if field.name == "largest":
                torch.maximum(total, added, out=total)
            else:
                total.add_(added)


def sums(
    stream: Gradients,
    beta1: Tensor,
    beta2: Tensor,
    eps: float,
    dtype: torch.dtype = torch.float32,
    watch: Watch = lambda done, of: None,
) -> Sums:
    """Run both moments over the stream and sum the terms of the quantities.

    A frozen stream is assumed to repeat forever: its moments are in their steady state, even if a
    horizon is longer than the recording. A live one starts at its first row with bias correction,
    and its first tenth is not counted. Memory is bounded by the chunk, not by the stream: a few
    hundred MB at 64 x 64.

    Args:
        stream: the recorded gradients.
        beta1: (n1,), float64, each in [0, 1).
        beta2: (n2,), float64, each in [0, 1).
        eps: added to sqrt(v), gradient units, >= 0; if eps = 0, the update is 0 while v is.
        dtype: of the moments and products; float64 is the reference.
        watch: called with the number of finished coordinates and of all.
    """
    task = _SumTask(stream, beta1, beta2, eps, dtype)
    totals = task.zeros(len(stream.layers))
    workers = max(1, min(MAX_THREADS, (os.cpu_count() or 1) // torch.get_num_threads()))
    starts = range(0, stream.coordinates, COORDINATES_PER_TASK)
    submitted = 2 * workers
    with ThreadPoolExecutor(workers) as pool:
        # a few at a time and in order, for bounded memory and reproducible sums
        for k in range(0, len(starts), submitted):
            for first_layer, part in pool.map(task.chunk, starts[k : k + submitted]):
                totals.add(first_layer, part)
            done = min((k + submitted) * COORDINATES_PER_TASK, stream.coordinates)
            watch(done, stream.coordinates)
    return replace(totals, largest=totals.largest.where(totals.largest.isfinite(), torch.nan))


class _SumTask:
    """The data that all chunks share."""

    def __init__(
        self, stream: Gradients, beta1: Tensor, beta2: Tensor, eps: float, dtype: torch.dtype
    ) -> None:
        self.stream = stream
        self.dtype = dtype
        self.eps = eps
        # the moments of a live stream are still filling up in its first tenth
        self.skip = 0 if stream.frozen else stream.steps // 10
        self.moments = (
            MovingAverages(beta1, stream.steps, stream.frozen, dtype),
            MovingAverages(beta2, stream.steps, stream.frozen, dtype),
        )
        self.owner = stream.owner
        self.scale = _rms_of_layers(stream)
        self.watch_every = -(-stream.coordinates // WATCHED_COORDINATES)

    def zeros(self, layers: int) -> Sums:
        """The sums of no coordinates."""
        n1, n2 = (moment.n for moment in self.moments)
        planes = torch.zeros(5, layers, n1, n2, dtype=torch.float64).unbind()
        dot, square, power, flipped, largest = planes
        energy, noise = torch.zeros(2, layers, dtype=torch.float64).unbind()
        spread, below = torch.zeros(2, layers, n2, dtype=torch.float64).unbind()
        largest.fill_(-torch.inf)
        return Sums(dot, square, power, flipped, largest, energy, noise, spread, below)

    def chunk(self, first: int) -> tuple[int, Sums]:
        """The sums of the coordinates from `first` on, as many as one task processes.

        Returns:
            The index of the first layer with a part in them, and the sums of the layers from there
            to the last such layer.
        """
        end = min(first + COORDINATES_PER_TASK, self.stream.coordinates)
        lowest, highest = int(self.owner[first]), int(self.owner[end - 1])
        totals = self.zeros(highest - lowest + 1)
        for start in range(first, end, COORDINATES_AT_ONCE):
            columns = range(start, min(start + COORDINATES_AT_ONCE, end))
            layers = self.owner[columns.start : columns.stop].unique_consecutive()
            for layer in layers.tolist():
                own = [i for i in columns if self.owner[i] == layer]
                totals.add(layer - lowest, self._one_layer(slice(own[0], own[-1] + 1)))
        return lowest, totals

    def _one_layer(self, columns: slice) -> Sums:
        """The sums of some coordinates of one layer."""
        scale = float(self.scale[columns.start])
        g = self.stream.values[:, columns].T.double() / scale
        watched = [i for i in range(len(g)) if (columns.start + i) % self.watch_every == 0]
        eps = g.new_full((len(g),), self.eps / scale).to(self.dtype)
        statistics = ChunkStatistics(g.to(self.dtype), self.moments, eps, watched, self.skip)
        return _sums(statistics, g[:, self.skip :], scale)


def _sums(chunk: ChunkStatistics, g: Tensor, scale: float) -> Sums:
    """The sums over the coordinates of a chunk, as of one layer.

    Args:
        chunk: statistics of the update.
        g: (c, counted steps), gradients in units of `scale`.
        scale: root mean square gradient of the layer.
    """
    n1_n2 = chunk.mean.shape[1:]
    mean = g.mean(dim=1)
    u = chunk.mean.double().flatten(1)
    dot = u * mean[:, None]
    energy = mean.square()
    unwatched = torch.full((1, *n1_n2), -torch.inf, dtype=torch.float64)

    def plane(total: Tensor) -> Tensor:
        return total.unflatten(-1, n1_n2)[None]

    return Sums(
        dot=plane(dot.sum(dim=0)) * scale,
        square=plane(u.square().sum(dim=0)),
        power=chunk.power.sum(dim=0).double()[None],
        flipped=plane(energy @ (dot < 0).double()) * scale**2,
        largest=chunk.largest.double().amax(dim=0)[None] if len(chunk.largest) else unwatched,
        energy=energy.sum()[None] * scale**2,
        noise=g.var(dim=1).sum()[None] * scale**2,
        spread=chunk.spread.sum(dim=0)[None],
        below=chunk.below.sum(dim=0)[None],
    )


def _rms_of_layers(stream: Gradients) -> Tensor:
    """The root mean square gradient of each coordinate's layer, (d,).

    In these units, all values of all cells are within the range of float32.
    """
    square = stream.values.double().square().mean(dim=0)
    layers = [len(stream.layers)]
    total = torch.zeros(layers, dtype=torch.float64).index_add_(0, stream.owner, square)
    count = torch.tensor([max(layer.sampled, 1) for layer in stream.layers])
    return (total / count).sqrt().clamp(min=1e-150)[stream.owner]
