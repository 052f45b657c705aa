"""Seed, read and restore the global random generators of Python, NumPy and torch together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class GeneratorStates(NamedTuple):
    """The states of the global generators, which determine the next random numbers."""

    python: tuple
    numpy: tuple
    torch: Tensor  # uint8
    cuda: tuple[Tensor, ...] = ()  # one per device, if CUDA is in use

    def differences(self, other: GeneratorStates) -> list[str]:
        """The generators that differ between two states, of "torch", "NumPy", "random"."""
        cuda = all(torch.equal(a, b) for a, b in zip(self.cuda, other.cuda, strict=False))
        numpy = all(np.array_equal(a, b) for a, b in zip(self.numpy, other.numpy, strict=True))
        same = {
            "torch": cuda and torch.equal(self.torch, other.torch),
            "NumPy": numpy,
            "random": self.python == other.python,
        }
        return [name for name, equal in same.items() if not equal]


def generator_states() -> GeneratorStates:
    """The current states."""
    cuda = tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else ()
    numpy: Any = np.random.get_state(legacy=True)
    return GeneratorStates(random.getstate(), numpy, torch.get_rng_state(), cuda)


def set_generators(states: GeneratorStates) -> None:
    """Continue from these states."""
    random.setstate(states.python)
    np.random.set_state(states.numpy)
    torch.set_rng_state(states.torch)
    if states.cuda:
        torch.cuda.set_rng_state_all(states.cuda)


def seed_generators(seed: int) -> None:
    """Seed all three generators.

    The states are those of `random.seed`, `numpy.random.seed` and `torch.manual_seed`; it takes a
    tenth of the time.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def preserve_generators() -> Iterator[None]:
    """Restore the generators' states at the end of the block."""
    before = generator_states()
    try:
        yield
    finally:
        set_generators(before)
