"""What recorded gradients do to Adam's update over the whole (beta1, beta2) plane: both moments
once, then combined.

The moments separate: m depends on beta1 only, v on beta2 only. For each coordinate the mean update
of all cells is one product of two matrices, (beta1, steps) times (steps, beta2), and so is its mean
square.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from betaplane.replay.chunk import Piece
from betaplane.replay.gradients import Gradients
from betaplane.replay.moments import Averages

CHUNK = 128  # coordinates a thread takes at once
HELD = 32  # of them whose moments are held at once: they stay in a core's cache
LOUD = 256  # coordinates among which the largest update is looked for
WORKERS = 8  # threads at most; torch computes outside Python's lock

Watch = Callable[[int, int], None]  # coordinates done, of how many


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the recorded coordinates of each layer, float64; u is the update m / (sqrt(v) +
    eps), lr left out.
    """

    dot: Tensor  # (layers, n1, n2), mean of u times mean gradient, gradient units
    square: Tensor  # (layers, n1, n2), square of the mean of u
    power: Tensor  # (layers, n1, n2), mean of the square of u
    # (layers, n1, n2), squared mean gradient where it and the mean of u differ in sign
    flipped: Tensor
    # (layers, n1, n2), largest |m| / sqrt(v), among `loud` coordinates; nan where a layer has none
    largest: Tensor
    energy: Tensor  # (layers,), squared mean gradient
    noise: Tensor  # (layers,), variance of the gradient over steps
    spread: Tensor  # (layers, n2), standard deviation over mean, of sqrt(v) over steps
    below: Tensor  # (layers, n2), share of steps with sqrt(v) < eps

    def add(self, first: int, part: Sums) -> None:
        """Add the sums of some layers, the first of which has the number `first`."""
        for name in (each.name for each in fields(Sums)):
            here, found = getattr(self, name), getattr(part, name)
            here = here[first : first + len(found)]
            torch.maximum(here, found, out=here) if name == "largest" else here.add_(found)


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
    plan, d = _Plan(stream, beta1, beta2, eps, dtype), stream.coordinates
    totals = plan.nothing(len(stream.layers))
    workers = max(1, min(WORKERS, (os.cpu_count() or 1) // torch.get_num_threads()))
    starts, at_once = range(0, d, CHUNK), 2 * workers
    with ThreadPoolExecutor(workers) as pool:
        # a few at a time, in order: bounded memory, the same sums each time
        for k in range(0, len(starts), at_once):
            for made in pool.map(plan.chunk, starts[k : k + at_once]):
                totals.add(*made)
            watch(min((k + at_once) * CHUNK, d), d)
    return replace(totals, largest=totals.largest.where(totals.largest.isfinite(), torch.nan))


class _Plan:
    """What all chunks share."""

    def __init__(
        self, stream: Gradients, beta1: Tensor, beta2: Tensor, eps: float, dtype: torch.dtype
    ) -> None:
        self.stream, self.dtype, self.eps = stream, dtype, eps
        # a live stream's moments are still filling
        self.skip = 0 if stream.frozen else stream.steps // 10
        m, v = (Averages(beta, stream.steps, stream.frozen, dtype) for beta in (beta1, beta2))
        self.moments = m, v
        self.owner, self.scale = stream.owner, _scale(stream)
        self.every = -(-stream.coordinates // LOUD)

    def nothing(self, layers: int) -> Sums:
        """The sums of no coordinates."""
        n1, n2 = (each.n for each in self.moments)
        dot, square, power, flipped, largest = torch.zeros(
            5, layers, n1, n2, dtype=torch.float64
        ).unbind()
        energy, noise = torch.zeros(2, layers, dtype=torch.float64).unbind()
        spread, below = torch.zeros(2, layers, n2, dtype=torch.float64).unbind()
        return Sums(
            dot, square, power, flipped, largest.fill_(-torch.inf), energy, noise, spread, below
        )

    def chunk(self, first: int) -> tuple[int, Sums]:
        """The number of the first layer that has a part in a chunk of coordinates, and the sums of
        those that have.
        """
        last = min(first + CHUNK, self.stream.coordinates)
        lowest, highest = int(self.owner[first]), int(self.owner[last - 1])
        found = self.nothing(highest - lowest + 1)
        for start in range(first, last, HELD):
            here = range(start, min(start + HELD, last))
            for layer in self.owner[here.start : here.stop].unique_consecutive().tolist():
                mine = [i for i in here if self.owner[i] == layer]
                found.add(layer - lowest, self._piece(slice(mine[0], mine[-1] + 1)))
        return lowest, found

    def _piece(self, here: slice) -> Sums:
        """The sums of some coordinates of one layer."""
        scale = float(self.scale[here.start])
        g = self.stream.values[:, here].T.double() / scale
        loud = [i for i in range(len(g)) if (here.start + i) % self.every == 0]
        eps = g.new_full((len(g),), self.eps / scale).to(self.dtype)
        return _sums(
            Piece(g.to(self.dtype), self.moments, eps, loud, self.skip), g[:, self.skip :], scale
        )


def _sums(piece: Piece, g: Tensor, scale: float) -> Sums:
    """The sums of a piece over its coordinates, as of one layer; g (c, counted steps) in units of
    `scale`.
    """
    mean, u = g.mean(dim=1), piece.mean.double().flatten(1)
    dot, energy = u * mean[:, None], mean.square()
    nowhere = torch.full((1, *piece.mean.shape[1:]), -torch.inf, dtype=torch.float64)

    def plane(each: Tensor) -> Tensor:
        return each.unflatten(-1, piece.mean.shape[1:])[None]

    return Sums(
        dot=plane(dot.sum(dim=0)) * scale,
        square=plane(u.square().sum(dim=0)),
        power=piece.power.sum(dim=0).double()[None],
        flipped=plane(energy @ (dot < 0).double()) * scale**2,
        largest=piece.largest.double().amax(dim=0)[None] if len(piece.largest) else nowhere,
        energy=energy.sum()[None] * scale**2,
        noise=g.var(dim=1).sum()[None] * scale**2,
        spread=piece.spread.sum(dim=0)[None],
        below=piece.below.sum(dim=0)[None],
    )


def _scale(stream: Gradients) -> Tensor:
    """The root mean square gradient of each coordinate's layer, (d,): in its units float32 has room
    for every cell.
    """
    square = stream.values.double().square().mean(dim=0)
    layers = [len(stream.layers)]
    total = torch.zeros(layers, dtype=torch.float64).index_add_(0, stream.owner, square)
    count = torch.tensor([max(layer.sampled, 1) for layer in stream.layers])
    return (total / count).sqrt().clamp(min=1e-150)[stream.owner]
