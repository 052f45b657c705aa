"""Recorder of the moments of a few elements per tensor after each of the last steps.

The gradients of these steps follow from the moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import M, V, step_values
from betaplane.monitor.quantities.step_stats import RecordSettings, StepStats, step_stats
from betaplane.monitor.recorders.recorded_coordinates import (
    RecordedCoordinates,
    are_plain,
    choose_coordinates,
)
from betaplane.monitor.recorders.ring_buffer import RecordedSteps
from betaplane.tensors.dtensor import local_tensor

RECORDED_STEPS = 64  # whose gradients can be recomputed
CHECK_EVERY = 8  # steps between checks of the optimizer's state and step counts
NUMPY_DTYPES = (torch.float32, torch.float64, torch.float16)


class MomentRecorder:
    """Copy a few elements of both moments after each step; gradients are recomputed from m.

    ```
    g_t = (m_t - beta1 m_{t-1}) / (1 - beta1)        as Adam used it: clipped, unscaled, with its sign
    ```

    A tensor's record restarts after a missed step, and after a step whose v is not
    beta2 v + (1 - beta2) g^2: Adam's rule cannot replay such a step.

    Args:
        optimizer: owns the moments.
        names: names of parameters that have none in the optimizer.
        length: steps whose gradients can be recomputed, >= 1.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = torch.optim.Adam([p])
        >>> recorder = MomentRecorder(optimizer)
        >>> for step in (1, 2):
        ...     p.grad = torch.tensor([1.0, -2.0, 3.0]) * step
        ...     optimizer.step()
        ...     complete = recorder.record(step)
        >>> [[round(x, 4) for x in row] for row in recorder.recorded(0).g.tolist()]
        [[1.0, -2.0, 3.0], [2.0, -4.0, 6.0]]
        >>> [round(stats.correlation, 4) for stats in recorder.new_stats()]
        [0.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        names: Mapping[Tensor, str] | None = None,
        length: int = RECORDED_STEPS,
    ) -> None:
        self.optimizer = optimizer
        self.names = names
        self.length = length
        self.coordinates: list[RecordedCoordinates] = []
        self.tracks: dict[str, Track] = {}
        self.array: np.ndarray | None = None  # the rows as numpy sees them, if it can
        self.group_keys: list[Any] = []
        self.state_count = 0
        self.allocated_at = 0  # step
        self.replaces_moments = (
            False  # the optimizer stores new tensors instead of in-place updates
        )
        self.last_step = self.first_row = self.stats_until = -1

    def record(self, step: int) -> bool:
        """Record the moments after a step; False if some moments are not plain dense tensors."""
        restart = step != self.last_step + 1 or self.last_step < 0
        check = (
            restart
            or self.replaces_moments
            or step % CHECK_EVERY == 0
            or step < self.allocated_at + CHECK_EVERY
        )
        if check and not self._state_unchanged():
            self._allocate()
            self.allocated_at = step
            restart = True
        if not self.coordinates:
            return False
        if restart:
            self._restart(step)
        self._copy_to(step % len(self.rows))
        self.last_step = step
        return len(self.coordinates) == self.state_count

    def new_stats(self) -> list[StepStats]:
        """The statistics of every step since the last call."""
        start = max(self.first_row, self.last_step - self.length)
        if self.last_step <= max(self.stats_until, start):
            return []
        first = max(self.stats_until - 1, start)  # one more step, for the correlation
        stats, broken_at = step_stats(self._rows_from(first), first, self._counts(), self.settings)
        stats = [step for step in stats if step.step > self.stats_until]
        self.broken_at = np.maximum(self.broken_at, broken_at)
        self.stats_until = self.last_step
        return stats

    def steps_recorded(self, i: int) -> int:
        """The number of last steps whose gradients are known for tensor i."""
        first = max(self.first_row, int(self.broken_at[i]))
        return max(0, min(self.last_step - first, self.length))

    def recorded(self, i: int) -> RecordedSteps | None:
        """The recorded steps of tensor i, at most as many as its step count; None if there are none."""
        coordinates, start = self.coordinates[i], int(self.settings.starts[i])
        count = self._count(coordinates)
        steps = min(self.steps_recorded(i), int(count))
        if steps < 1:
            return None
        rows = self._rows_from(self.last_step - steps)[..., start : start + coordinates.n]
        m, v = torch.from_numpy(rows.copy()).unbind(1)
        values = step_values(coordinates.group)
        g = (m[1:] - values.beta1 * m[:-1]) / (1 - values.beta1)
        return RecordedSteps(g, m[0], v[0], count - steps, values)

    @property
    def on_cpu(self) -> bool:
        """Whether statistics need no synchronization with a device."""
        return self.array is not None

    @property
    def nbytes(self) -> int:
        """Size of the record, bytes."""
        return self.rows.nbytes if self.coordinates else 0

    def _state_unchanged(self) -> bool:
        """Whether the optimizer has the same moments, groups and betas as at the last check."""
        state = self.optimizer.state
        for i, coordinates in enumerate(self.coordinates):
            param_state = state.get(coordinates.p)
            if param_state is None:
                return False
            m, v = param_state.get(M), param_state.get(V)
            replaced = m is not coordinates.m or v is not coordinates.v
            if replaced and not self._follow(i, m, v):
                return False
        return len(state) == self.state_count and self._group_keys() == self.group_keys

    def _group_keys(self) -> list[Any]:
        """The identity of each parameter group, and its betas."""
        return [(id(group), group.get("betas")) for group in self.optimizer.param_groups]

    def _follow(self, i: int, m: Any, v: Any) -> bool:
        """Switch to the new tensors of an optimizer that does not update its state in place."""
        old = self.coordinates[i]
        if not are_plain(m, v):
            return False
        if (m.shape, m.dtype, m.device) != (old.m.shape, old.m.dtype, old.m.device):
            return False
        self.coordinates[i] = old._replace(m=m, v=v)
        self.replaces_moments = True
        m_view, v_view = self.coordinates[i].views()
        self.views[i] = self._as_stored(m_view)
        self.views[len(self.coordinates) + i] = self._as_stored(v_view)
        return True

    def _allocate(self) -> None:
        """Choose the elements, and allocate the record."""
        chosen = choose_coordinates(self.optimizer, self.names, self.length)
        self.coordinates = chosen
        self.group_keys = self._group_keys()
        self.state_count = len(self.optimizer.state)
        self.last_step = -1
        self.tracks = {tensor.name: Track(self, i) for i, tensor in enumerate(chosen)}
        if not chosen:
            return
        sizes = [tensor.n for tensor in chosen]
        moments = [local_tensor(moment) for tensor in chosen for moment in (tensor.m, tensor.v)]
        wide = any(moment.dtype == torch.float64 for moment in moments)
        device = moments[0].device
        self.rows = torch.zeros(
            self.length + 2,
            2 * sum(sizes),
            dtype=torch.float64 if wide else torch.float32,
            device=device,
        )
        numpy_copies = device.type == "cpu" and all(m.dtype in NUMPY_DTYPES for m in moments)
        self.array = self.rows.numpy() if numpy_copies else None
        m_views, v_views = zip(*(tensor.views() for tensor in chosen), strict=True)
        self.views = [self._as_stored(view) for view in (*m_views, *v_views)]
        self.settings = RecordSettings.of(
            names=[tensor.name for tensor in chosen],
            n=sizes,
            values=[step_values(tensor.group) for tensor in chosen],
            coarse=[
                tensor.v.element_size() < 4 or tensor.m.element_size() < 4 for tensor in chosen
            ],
            dtype=np.float64 if wide else np.float32,
        )

    def _as_stored(self, view: Tensor) -> Any:
        return view if self.array is None else view.numpy()

    def _restart(self, step: int) -> None:
        """Start a record; at the optimizer's first step it includes the zero moments before it."""
        fresh = all(self._count(tensor) == 1 for tensor in self.coordinates)
        self.first_row = self.stats_until = step - 1 if fresh else step
        self.rows[self.first_row % len(self.rows)] = 0
        self.broken_at = np.full(len(self.coordinates), -1)
        self.counted_at = -CHECK_EVERY

    def _copy_to(self, row: int) -> None:
        if self.array is not None:
            np.concatenate(self.views, out=self.array[row], casting="same_kind")
        else:
            parts = self.rows[row].split([*self.settings.n.tolist()] * 2)
            torch._foreach_copy_(parts, self.views)  # pyright: ignore[reportPrivateImportUsage]

    def _rows_from(self, first: int) -> np.ndarray:
        """The moments after step `first` and after each later step, (K + 1, 2, N)."""
        indices = np.arange(first, self.last_step + 1) % len(self.rows)
        return self._read_rows(indices).reshape(len(indices), 2, -1)

    def _read_rows(self, indices: np.ndarray) -> np.ndarray:
        if self.array is not None:
            return self.array[indices]
        return self.rows[torch.from_numpy(indices)].cpu().numpy()

    def _counts(self) -> np.ndarray:
        """The step count of each tensor, (T,); read rarely, because each one is a tensor."""
        if self.last_step >= self.counted_at + CHECK_EVERY:
            self.t = np.array([self._count(tensor) for tensor in self.coordinates])
            self.counted_at = self.last_step
        return self.t + (self.last_step - self.counted_at)

    def _count(self, tensor: RecordedCoordinates) -> float:
        return float(self.optimizer.state[tensor.p].get("step", tensor.group.get("step", 0)))


class Track:
    """One tensor of a MomentRecorder, with the interface of a RingBuffer.

    Args:
        recorder: the recorder.
        i: the tensor's index in it.
    """

    def __init__(self, recorder: MomentRecorder, i: int) -> None:
        self.recorder = recorder
        self.i = i

    @property
    def last_step(self) -> int:
        """The last recorded step."""
        return self.recorder.last_step

    @property
    def full(self) -> bool:
        """Whether the maximum number of steps is recorded."""
        return self.recorder.steps_recorded(self.i) == self.recorder.length

    def recorded(self) -> RecordedSteps | None:
        """The recorded steps; None if there are none."""
        return self.recorder.recorded(self.i)
