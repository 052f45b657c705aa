"""GradientHistory: gradient norms of recent steps, and how gradients were produced and reset."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

from betaplane.monitor.lr_history import LrHistory

NORMS_REMEMBERED = 64
FIRST_NORMS = 16  # of a run, which are stored until its end
NO_GRADIENT = -1.0  # in place of a norm


class GradientHistory:
    """The gradient norms that `capture.gradient_norms.GradientNorms` measured.

    Example:
        >>> gradients = GradientHistory()
        >>> gradients.start(["w", "b"])
        >>> gradients.add(1, [3.0, 4.0], [0, 0])
        >>> gradients.add(2, [6.0, NO_GRADIENT], [0, -1])
        >>> [*gradients.totals], gradients.zero_steps
        ([(1, 5.0), (2, 6.0)], [0, 1])
    """

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.is_whole = True  # whether all parameters are measured; False if some are sharded
        self.is_matrix: list[bool] = []
        self.trained: list[bool] = []  # whether a layer requires a gradient
        self.totals: deque[tuple[int, float]] = deque(maxlen=NORMS_REMEMBERED)
        self.starting: list[float] = []  # the first 16 norms
        self.lrs = LrHistory()
        self.norms: list[float] = []  # of the last measured step, by layer
        self.zero_steps: list[int] = []  # measured steps in a row with no gradient or with zeros
        self.ever_nonzero: list[bool] = []  # whether a layer ever had a gradient that is not 0
        self.missing: list[bool] = []  # whether a layer has no gradient, not even zeros
        self.last_nonzero: list[int] = []  # the last step with a gradient that is not 0, by layer
        # measured steps in a row whose gradients were changed in place since the one before
        self.unreset = 0
        self.accumulated = 0  # of these, the last in a row that were changed exactly once per step
        self.step = 0  # the last measured step
        self.count = 0  # measured steps
        self._versions: Sequence[int] = []

    def start(self, layers: list[str], is_matrix: list[bool] | None = None) -> None:
        """Begin with these layers; layers with the same names as before keep their counts."""
        known = {name: i for i, name in enumerate(self.layers)}
        old = [known.get(name) for name in layers]
        self.zero_steps = [0 if i is None else self.zero_steps[i] for i in old]
        self.ever_nonzero = [False if i is None else self.ever_nonzero[i] for i in old]
        self.last_nonzero = [self.step if i is None else self.last_nonzero[i] for i in old]
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
        self.zero_steps = [
            0 if norm > 0 or norm != norm else silent + 1
            for norm, silent in zip(norms, self.zero_steps, strict=True)
        ]
        self.ever_nonzero = [
            reached or norm > 0 for norm, reached in zip(norms, self.ever_nonzero, strict=True)
        ]
        self.last_nonzero = [
            seen if silent else step
            for seen, silent in zip(self.last_nonzero, self.zero_steps, strict=True)
        ]
        self.totals.append((step, math.sqrt(sum(n * n for n in norms if not n < 0))))
        if len(self.starting) < FIRST_NORMS:
            self.starting.append(self.totals[-1][1])
        changes = [
            new - old for new, old in zip(versions, self._versions, strict=False) if new >= 0
        ]
        in_place = bool(changes) and all(change > 0 for change in changes)
        self.unreset = self.unreset + 1 if in_place else 0
        once = in_place and all(change == step - self.step for change in changes)
        self.accumulated = self.accumulated + 1 if once else 0
        self._versions, self.step = versions, step

    @property
    def lr_raised(self) -> bool:
        """Whether lr more than doubled between two of the steps whose norms are remembered."""
        return bool(self.totals) and self.lrs.was_raised(self.totals[0][0])

    @property
    def is_finite(self) -> bool:
        """Whether the last norms are finite."""
        return not self.totals or math.isfinite(self.totals[-1][1])

    @property
    def usual_norm(self) -> float:
        """The median of the finite norms remembered; nan if there are none."""
        return _median_of_finite([norm for _, norm in self.totals])

    @property
    def start_norm(self) -> float:
        """The median of the first norms of the run that are finite; nan if there are none."""
        return _median_of_finite(self.starting)


def _median_of_finite(norms: Sequence[float]) -> float:
    return median([norm for norm in norms if math.isfinite(norm)] or [math.nan])
