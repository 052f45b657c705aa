"""WeightHistory: whether the weights return to exactly those of an earlier step."""

from __future__ import annotations

import numpy as np

STEPS_REMEMBERED = 4096
MIN_STEPS = 4  # between two steps with the same weights; a shorter cycle may be an oscillation


class WeightHistory:
    """The hashes of the sampled weights after the last 4,096 changes between two steps.

    Example:
        >>> weights = WeightHistory()
        >>> for step, sample in enumerate("abcdeabcdea", start=1):
        ...     weights.add(step, sample.encode())
        >>> weights.returns
        [1, 6, 11]
    """

    def __init__(self) -> None:
        self.hashes = np.zeros(64, np.int64)  # a ring, which grows to STEPS_REMEMBERED
        self.steps = np.zeros(64, np.int64)
        self.count = 0
        self.newest = 0  # hash of the newest sample, before or after a step
        self.returns: list[int] = []  # the last steps found before which the weights were equal

    def add(self, step: int, sample: bytes) -> None:
        """Add the weights before a step; an empty sample is ignored."""
        key = hash(sample)
        if not sample or key == self.newest:
            return
        self.newest = key
        used = min(self.count, len(self.hashes))
        equal = self.hashes[:used] == key
        if equal.any():
            self.returns = (
                _apart([*np.sort(self.steps[:used][equal]).tolist(), step]) or self.returns
            )
        self._append(key, step)

    def leave(self, sample: bytes) -> None:
        """Remember the weights after a step, so that its return to those before is noticed."""
        self.newest = hash(sample)

    def _append(self, key: int, step: int) -> None:
        if self.count == len(self.hashes) < STEPS_REMEMBERED:
            self.hashes = np.concatenate([self.hashes, np.zeros_like(self.hashes)])
            self.steps = np.concatenate([self.steps, np.zeros_like(self.steps)])
        place = self.count % len(self.hashes)
        self.hashes[place], self.steps[place] = key, step
        self.count += 1


def _apart(steps: list[int]) -> list[int]:
    """The steps that follow the one before by at least MIN_STEPS; empty if only one is left."""
    chosen = steps[:1]
    chosen += [step for step in steps[1:] if step - chosen[-1] >= MIN_STEPS]
    return chosen if len(chosen) > 1 else []
