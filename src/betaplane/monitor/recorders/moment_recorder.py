"""The moments of a few coordinates of every tensor after each of the last steps, from which their
gradients follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import M, V, local, numbers
from betaplane.monitor.quantities.step_stats import Settings, StepStats, lights
from betaplane.monitor.recorders.recorded_coordinates import RecordedCoordinates, is_open, slots
from betaplane.monitor.recorders.ring_buffer import RecordedSteps

STEPS = 64  # whose gradients are kept
AGAIN = 8  # steps until the optimizer is asked again what it holds, and its counts are read again
PLAIN = (torch.float32, torch.float64, torch.float16)  # what numpy knows


class MomentRecorder:
    """Copies a few coordinates of both moments after each step: gradients need not be touched, for
    m tells them.

    ```
    g_t = (m_t - beta1 m_{t-1}) / (1 - beta1)        as Adam took it: clipped, unscaled, with its sign
    ```

    A step that is missed, or after which v is not beta2 v + (1 - beta2) g^2, starts a tensor's record anew: what does
    not follow Adam's rule cannot be replayed by it.

    Args:
        optimizer: what is watched.
        names: of parameters that the optimizer has no names of.
        length: steps whose gradients are kept, >= 1.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = torch.optim.Adam([p])
        >>> tape = MomentRecorder(optimizer)
        >>> for step in (1, 2):
        ...     p.grad = torch.tensor([1.0, -2.0, 3.0]) * step
        ...     optimizer.step()
        ...     kept = tape.keep(step)
        >>> [[round(x, 4) for x in row] for row in tape.past(0).g.tolist()]
        [[1.0, -2.0, 3.0], [2.0, -4.0, 6.0]]
        >>> [round(light.correlation, 4) for light in tape.look()]
        [0.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, names: Mapping[Tensor, str] | None = None, length: int = STEPS
    ) -> None:
        self.optimizer, self.names, self.length = optimizer, names, length
        self.slots: list[RecordedCoordinates] = []
        self.tracks: dict[str, Track] = {}
        self.array: np.ndarray | None = None
        self.groups: list[Any] = []
        self.states, self.laid, self.moves = 0, 0, False
        self.last = self.began = self.seen = -1

    def keep(self, step: int) -> bool:
        """Take the moments after a step; False where there is a tensor whose moments do not lie
        open.
        """
        begins = step != self.last + 1 or self.last < 0
        if (
            begins or self.moves or step % AGAIN == 0 or step < self.laid + AGAIN
        ) and not self._same():
            self._lay()
            self.laid, begins = step, True
        if not self.slots:
            return False
        if begins:
            self._begin(step)
        self._copy(step % len(self.rows))
        self.last = step
        return len(self.slots) == self.states

    def look(self) -> list[StepStats]:
        """The light quantities of every step since the last look."""
        begin = max(self.began, self.last - self.length)
        if self.last <= max(self.seen, begin):
            return []
        first = max(self.seen - 1, begin)  # one step more, for the correlation
        found, broke = lights(self._between(first), first, self._counts(), self.settings)
        found = [light for light in found if light.step > self.seen]
        self.broke, self.seen = np.maximum(self.broke, broke), self.last
        return found

    def kept(self, i: int) -> int:
        """How many of the last steps' gradients are known of tensor i."""
        return max(0, min(self.last - max(self.began, int(self.broke[i])), self.length))

    def past(self, i: int) -> RecordedSteps | None:
        """The kept steps of tensor i, as far as its count reaches back; None where there are none."""
        slot, start = self.slots[i], int(self.settings.starts[i])
        count = self._count(slot)
        kept = min(self.kept(i), int(count))
        if kept < 1:
            return None
        m, v = torch.from_numpy(
            self._between(self.last - kept)[..., start : start + slot.n].copy()
        ).unbind(1)
        now = numbers(slot.group)
        g = (m[1:] - now.beta1 * m[:-1]) / (1 - now.beta1)
        return RecordedSteps(g, m[0], v[0], count - kept, now)

    @property
    def here(self) -> bool:
        """Whether looking need not wait for a device."""
        return self.array is not None

    @property
    def bytes(self) -> int:
        """What the record takes."""
        return self.rows.nbytes if self.slots else 0

    def _same(self) -> bool:
        """Whether the optimizer holds what it held, in the same groups with the same betas."""
        state = self.optimizer.state
        for i, slot in enumerate(self.slots):
            held = state.get(slot.p)
            if held is None:
                return False
            m, v = held.get(M), held.get(V)
            if (m is not slot.m or v is not slot.v) and not self._moved(i, m, v):
                return False
        return len(state) == self.states and self._groups() == self.groups

    def _groups(self) -> list[Any]:
        """The parameter groups, told apart where others are put in their place, and their betas."""
        return [(id(group), group.get("betas")) for group in self.optimizer.param_groups]

    def _moved(self, i: int, m: Any, v: Any) -> bool:
        """Follow moments that were put elsewhere, as rules do that write nothing in place."""
        old = self.slots[i]
        alike = is_open(m, v) and (m.shape, m.dtype, m.device) == (
            old.m.shape,
            old.m.dtype,
            old.m.device,
        )
        if not alike:
            return False
        self.slots[i], self.moves = old._replace(m=m, v=v), True
        self.views[i], self.views[len(self.slots) + i] = map(self._shown, self.slots[i].views())
        return True

    def _lay(self) -> None:
        """Choose coordinates, and make room for them."""
        self.slots = slots(self.optimizer, self.names, self.length)
        self.groups, self.states, self.last = self._groups(), len(self.optimizer.state), -1
        self.tracks = {slot.name: Track(self, i) for i, slot in enumerate(self.slots)}
        if not self.slots:
            return
        n, held = (
            [slot.n for slot in self.slots],
            [local(each) for slot in self.slots for each in (slot.m, slot.v)],
        )
        wide = torch.float64 if any(each.dtype == torch.float64 for each in held) else torch.float32
        self.rows = torch.zeros(self.length + 2, 2 * sum(n), dtype=wide, device=held[0].device)
        plain = held[0].device.type == "cpu" and all(each.dtype in PLAIN for each in held)
        self.array = self.rows.numpy() if plain else None
        m, v = zip(*(slot.views() for slot in self.slots), strict=True)
        self.views = [self._shown(view) for view in (*m, *v)]
        coarse = [slot.v.element_size() < 4 or slot.m.element_size() < 4 for slot in self.slots]
        known, dtype = (
            [numbers(slot.group) for slot in self.slots],
            np.float64 if wide == torch.float64 else np.float32,
        )
        self.settings = Settings.of([slot.name for slot in self.slots], n, known, coarse, dtype)

    def _shown(self, view: Tensor) -> Any:
        return view if self.array is None else view.numpy()

    def _begin(self, step: int) -> None:
        """Start a record: where this is the optimizer's first step, before it, when both moments
        were 0.
        """
        fresh = all(self._count(slot) == 1 for slot in self.slots)
        self.began = self.seen = step - 1 if fresh else step
        self.rows[self.began % len(self.rows)] = 0
        self.broke, self.asked = np.full(len(self.slots), -1), -AGAIN

    def _copy(self, at: int) -> None:
        if self.array is not None:
            np.concatenate(self.views, out=self.array[at], casting="same_kind")
        else:
            parts = self.rows[at].split([*self.settings.n.tolist()] * 2)
            torch._foreach_copy_(parts, self.views)  # pyright: ignore[reportPrivateImportUsage]

    def _between(self, first: int) -> np.ndarray:
        """The moments after step `first` and after each later one, (K + 1, 2, N)."""
        at = np.arange(first, self.last + 1) % len(self.rows)
        rows = (
            self.array[at]
            if self.array is not None
            else self.rows[torch.from_numpy(at)].cpu().numpy()
        )
        return rows.reshape(len(at), 2, -1)

    def _counts(self) -> np.ndarray:
        """The steps counted for each tensor, (T,); asked for now and then, for each answer is a
        tensor to read.
        """
        if self.last >= self.asked + AGAIN:
            self.t, self.asked = np.array([self._count(slot) for slot in self.slots]), self.last
        return self.t + (self.last - self.asked)

    def _count(self, slot: RecordedCoordinates) -> float:
        return float(self.optimizer.state[slot.p].get("step", slot.group.get("step", 0)))


class Track:
    """One tensor on a tape, as a ring.

    Args:
        tape: the record.
        i: the tensor's place in it.
    """

    def __init__(self, tape: MomentRecorder, i: int) -> None:
        self.tape, self.i = tape, i

    @property
    def last(self) -> int:
        """The last step that is kept."""
        return self.tape.last

    @property
    def full(self) -> bool:
        """Whether it keeps as many steps as it can."""
        return self.tape.kept(self.i) == self.tape.length

    def past(self) -> RecordedSteps | None:
        """What is kept; None where nothing is."""
        return self.tape.past(self.i)
