"""The state of a stack that is not trained to its end, so that a process that was killed costs
seconds at most.
"""

from __future__ import annotations

import io
import random
import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from betaplane.replicas.stacked import Training

PAUSE = 1.0  # seconds of training between two states that are saved
SHARE = 0.05  # of the time, at most, goes into saving
LARGEST = 48 * 2**20  # bytes of a state; larger ones are not saved


class UnfinishedRuns(Protocol):
    """A place for the state of one chunk of runs."""

    def load(self) -> bytes | None:
        """What was saved last, if anything."""
        ...

    def save(self, state: bytes) -> None:
        """Keep this state instead of the one before."""
        ...


class Progress:
    """Saves a stack from time to time while it is trained, and starts it where it was saved."""

    def __init__(self, training: Training, keeper: UnfinishedRuns | None) -> None:
        self.training, self.keeper = training, keeper
        self.next = time.monotonic() + PAUSE

    def resume(self) -> int:
        """Put the saved state into the training; returns the number of points its curves have."""
        saved = self.keeper.load() if self.keeper else None
        return restore(self.training, saved) if saved else 0

    def after(self, points: int) -> None:
        """Save, if it is time to, a training whose curves have so many points."""
        began = time.monotonic()
        if self.keeper is None or began < self.next or points == len(self.training.lengths):
            return
        state = snapshot(self.training, points)
        if len(state) <= LARGEST:
            self.keeper.save(state)
        now = time.monotonic()
        self.next = now + max(PAUSE, (now - began) / SHARE)


def snapshot(training: Training, points: int) -> bytes:
    """All that the rest of a training depends on, after so many points of its curves."""
    carried = pytree.tree_leaves(
        (training.stack.params, training.stack.buffers, training.stack.state)
    )
    arrays = training.alive, training.ended, training.curves, training.initial
    saved = {
        "points": points,
        "arrays": [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays],
        "carried": [leaf.detach().cpu() for leaf in carried],
        "generators": _generators(),
    }
    file = io.BytesIO()
    torch.save(saved, file)
    return file.getvalue()


def restore(training: Training, state: bytes) -> int:
    """Continue a training that was just made from such a state; returns the number of points its
    curves have.
    """
    saved = torch.load(io.BytesIO(state), weights_only=True)
    alive, ended, curves, initial = saved["arrays"]
    stack = training.stack.select(alive)
    carried, spec = pytree.tree_flatten((stack.params, stack.buffers, stack.state))
    leaves = [new.to(old.device) for new, old in zip(saved["carried"], carried, strict=True)]
    stack.params, stack.buffers, stack.state = pytree.tree_unflatten(leaves, spec)
    training.stack, training.step = stack, None
    training.alive, training.ended, training.curves, training.initial = (
        array.numpy() for array in (alive, ended, curves, initial)
    )
    _set_generators(saved["generators"])
    return saved["points"]


def _generators() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # pyright: ignore[reportAssignmentType]
    return {
        "torch": torch.get_rng_state(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "random": random.getstate(),
    }


def _set_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    random.setstate(states["random"])
