"""Which examples make up each minibatch: a pure function of the seed, never of who else is running."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from betaplane.problems.problem import Order


def minibatches(n: int, batch_size: int, order: Order, seed: int, block: int) -> Iterator[Tensor]:
    """Yield, for ever, the examples of the next `block` minibatches: int64, shape (block,
    batch_size), in [0, n).

    "shuffle" takes every example once an epoch in a new order and drops the last incomplete minibatch;
    "replacement" draws each example independently; "cyclic" runs 0, 1, 2, ... round and round. The sequence of
    minibatches does not depend on `block`.

    Example:
        >>> next(minibatches(5, 2, "cyclic", seed=0, block=3)).tolist()
        [[0, 1], [2, 3], [4, 0]]
    """
    draws = {"shuffle": _shuffled, "replacement": _replaced, "cyclic": _cycled}[order](
        n, batch_size, seed
    )
    held = torch.empty(0, batch_size, dtype=torch.int64)
    while True:
        pieces = [held]
        while sum(map(len, pieces)) < block:
            pieces.append(next(draws))
        held = torch.cat(pieces)
        yield held[:block]
        held = held[block:]


def _shuffled(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    whole = n - n % batch_size
    while True:
        yield torch.randperm(n, generator=generator)[:whole].view(-1, batch_size)


def _replaced(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randint(n, (1024, batch_size), generator=generator)


def _cycled(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    del seed
    start = 0
    while True:
        yield (torch.arange(start, start + 1024 * batch_size) % n).view(-1, batch_size)
        start = (start + 1024 * batch_size) % n
