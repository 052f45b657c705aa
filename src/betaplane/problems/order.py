"""The examples of each minibatch, as a pure function of the seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

Order = Literal["shuffle", "replacement", "cyclic"]
ORDERS: tuple[Order, ...] = ("shuffle", "replacement", "cyclic")


def minibatches(n: int, batch_size: int, order: Order, seed: int, block: int) -> Iterator[Tensor]:
    """Yield, without end, the examples of the next `block` minibatches: int64, shape (block,
    batch_size), in [0, n).

    "shuffle" takes every example once per epoch, in a new order, and drops the last incomplete
    minibatch. "replacement" draws each example independently. "cyclic" repeats 0, 1, ..., n - 1.
    The sequence of minibatches does not depend on `block`.

    Example:
        >>> next(minibatches(5, 2, "cyclic", seed=0, block=3)).tolist()
        [[0, 1], [2, 3], [4, 0]]
    """
    draw = {"shuffle": _shuffle, "replacement": _with_replacement, "cyclic": _cycle}[order]
    draws = draw(n, batch_size, seed)
    drawn = torch.empty(0, batch_size, dtype=torch.int64)  # not yet yielded
    while True:
        pieces, count = [drawn], len(drawn)
        while count < block:
            pieces.append(next(draws))
            count += len(pieces[-1])
        drawn = torch.cat(pieces)
        yield drawn[:block]
        drawn = drawn[block:]


def _shuffle(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    whole = n - n % batch_size
    while n == 1:  # every order is the same
        yield torch.zeros(1024, 1, dtype=torch.int64)
    while True:
        yield torch.randperm(n, generator=generator)[:whole].view(-1, batch_size)


def _with_replacement(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randint(n, (1024, batch_size), generator=generator)


def _cycle(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    del seed
    start = 0
    while True:
        yield (torch.arange(start, start + 1024 * batch_size) % n).view(-1, batch_size)
        start = (start + 1024 * batch_size) % n
