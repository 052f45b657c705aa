"""PulseHistory: the gradient norms of the last steps, and which tensors have none."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

PULSES_REMEMBERED = 64
NO_GRADIENT = -1.0  # in place of a norm


class PulseHistory:
    """The gradient norms that `capture.pulse.Pulse` measured.

    Example:
        >>> pulses = PulseHistory()
        >>> pulses.start(["w", "b"])
        >>> pulses.add(1, [3.0, 4.0], [0, 0])
        >>> pulses.add(2, [6.0, NO_GRADIENT], [0, -1])
        >>> [*pulses.totals], pulses.silent
        ([(1, 5.0), (2, 6.0)], [0, 1])
    """

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.is_whole = True  # whether all parameters are measured; False if some are sharded
        self.is_matrix: list[bool] = []
        self.trained: list[bool] = []  # whether a layer requires a gradient
        self.totals: deque[tuple[int, float]] = deque(maxlen=PULSES_REMEMBERED)
        self.lrs: deque[float] = deque(maxlen=PULSES_REMEMBERED)  # the largest of all groups
        self.norms: list[float] = []  # of the last pulse, by layer
        self.silent: list[int] = []  # pulses in a row without a gradient, or with zeros
        self.reached: list[bool] = []  # whether a layer ever had a gradient that is not 0
        self.missing: list[bool] = []  # whether a layer had no gradient at all at the last pulse
        self.seen: list[int] = []  # the last step with a gradient that is not 0, by layer
        self.kept: int = 0  # pulses in a row whose gradients were changed in place since the last
        self.added: int = 0  # pulses in a row whose gradients were changed once per step since
        self.step = 0  # of the last pulse
        self.count = 0
        self._versions: Sequence[int] = []

    def start(self, layers: list[str], is_matrix: list[bool] | None = None) -> None:
        """Begin with these layers; those that were known before keep what is known of them."""
        known = {name: i for i, name in enumerate(self.layers)}
        old = [known.get(name) for name in layers]
        self.silent = [0 if i is None else self.silent[i] for i in old]
        self.reached = [False if i is None else self.reached[i] for i in old]
        self.seen = [self.step if i is None else self.seen[i] for i in old]
        self.layers = layers
        self.is_matrix = is_matrix or [True] * len(layers)
        self.trained = [True] * len(layers)
        self._versions = []

    def add(self, step: int, norms: list[float], versions: Sequence[int]) -> None:
        """Add the norms of a step.

        Args:
            step: steps watched.
            norms: gradient norm by layer, NO_GRADIENT if there is none.
            versions: how often each gradient was changed in place, -1 if there is none.
        """
        self.count += 1
        self.norms = norms
        self.missing = [norm < 0 for norm in norms]
        self.silent = [
            0 if norm > 0 or norm != norm else silent + 1
            for norm, silent in zip(norms, self.silent, strict=True)
        ]
        self.reached = [
            reached or norm > 0 for norm, reached in zip(norms, self.reached, strict=True)
        ]
        self.seen = [
            seen if silent else step for seen, silent in zip(self.seen, self.silent, strict=True)
        ]
        self.totals.append((step, math.sqrt(sum(n * n for n in norms if not n < 0))))
        changes = [
            new - old for new, old in zip(versions, self._versions, strict=False) if new >= 0
        ]
        was_kept = bool(changes) and all(change > 0 for change in changes)
        self.kept = self.kept + 1 if was_kept else 0
        once = was_kept and all(change == step - self.step for change in changes)
        self.added = self.added + 1 if once else 0
        self._versions, self.step = versions, step

    @property
    def lr_raised(self) -> bool:
        """Whether lr more than doubled from an earlier to a later pulse of those remembered."""
        least = math.inf
        for lr in self.lrs:
            if lr > 2 * least:
                return True
            least = min(least, lr)
        return False

    @property
    def is_finite(self) -> bool:
        """Whether the last norms are finite."""
        return not self.totals or math.isfinite(self.totals[-1][1])

    @property
    def usual_norm(self) -> float:
        """The median of the finite norms remembered; nan if there are none."""
        return median([norm for _, norm in self.totals if math.isfinite(norm)] or [math.nan])
