"""Save and resume the state of an unfinished stack, so that a killed process loses at most
seconds.
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

MIN_SAVE_INTERVAL = 1.0  # seconds of training between two saved states
MAX_SAVE_SHARE = 0.05  # of the time that is spent on saving
MAX_STATE_BYTES = 48 * 2**20  # larger states are not saved


class UnfinishedRuns(Protocol):
    """Storage for the state of one chunk of runs."""

    def load(self) -> bytes | None:
        """The last saved state, or None."""
        ...

    def save(self, state: bytes) -> None:
        """Replace the saved state."""
        ...


class Progress:
    """Saves the state of a stack at intervals while it is trained, and resumes from it."""

    def __init__(self, training: Training, storage: UnfinishedRuns | None) -> None:
        self.training, self.storage = training, storage
        self.next_save = time.monotonic() + MIN_SAVE_INTERVAL

    def resume(self) -> int:
        """Restore the saved state, if any; return the number of points of its curves."""
        saved = self.storage.load() if self.storage else None
        return restore(self.training, saved) if saved else 0

    def after(self, points: int) -> None:
        """Save the state after this number of points, if the interval is over."""
        start = time.monotonic()
        if self.storage is None or start < self.next_save or points == len(self.training.lengths):
            return
        state = snapshot(self.training, points)
        if len(state) <= MAX_STATE_BYTES:
            self.storage.save(state)
        end = time.monotonic()
        self.next_save = end + max(MIN_SAVE_INTERVAL, (end - start) / MAX_SAVE_SHARE)


def snapshot(training: Training, points: int) -> bytes:
    """The state, after this number of points, that the rest of the training depends on."""
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
    """Restore a state in a new training; return the number of points of its curves."""
    saved = torch.load(io.BytesIO(state), weights_only=True)
    alive, ended, curves, initial = saved["arrays"]
    stack = training.stack.select(alive)
    carried, spec = pytree.tree_flatten((stack.params, stack.buffers, stack.state))
    leaves = [new.to(old.device) for new, old in zip(saved["carried"], carried, strict=True)]
    stack.params, stack.buffers, stack.state = pytree.tree_unflatten(leaves, spec)
    training.stack = stack
    training.recorded.clear()
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
