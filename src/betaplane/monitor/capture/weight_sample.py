"""WeightSample: a few weights, read if they changed between two steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betaplane.monitor.weight_history import WeightHistory

MAX_TENSORS = 4  # the largest
ELEMENTS = 4  # of each
DTYPES = (torch.float32, torch.float64)  # in fewer bits weights may return by chance


class WeightSample:
    """Notices that weights were changed between two steps, and reads 16 of them.

    Only weights on the CPU are read: on a device each read would wait for it. A change is noticed
    by the version of the largest tensor, which `load_state_dict` and other functions in place
    raise, and by the address of its memory.

    Args:
        parameters: the parameters of the optimizer.
        history: receives the weights before a step, if they changed since the last one.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(3, 5))
        >>> sample = WeightSample([weight], WeightHistory())
        >>> sample.before_step(1)
        >>> sample.after_step()
        >>> sample.has_changed(), sample.read() == bytes(16)
        (False, True)
        >>> with torch.no_grad():
        ...     _ = weight.fill_(1.0)
        >>> sample.has_changed(), sample.read() == bytes(16)
        (True, False)
    """

    def __init__(self, parameters: Sequence[Tensor], history: WeightHistory) -> None:
        self.history = history
        usable = [p for p in parameters if _is_readable(p)]
        self.tensors = sorted(usable, key=Tensor.numel)[-MAX_TENSORS:]
        self.addresses: list[int] = []
        self.views: list[Any] = []
        self.state = (-1, -1)  # version and address of the largest tensor after the last step
        self.changed = False  # whether weights were changed before this step

    def before_step(self, step: int) -> None:
        """Read the weights, if they were changed since the last step."""
        self.changed = self.has_changed()
        if self.changed:
            self.history.add(step, self.read())

    def after_step(self) -> None:
        """Remember the state of the weights."""
        if self.changed:
            self.history.leave(self.read())
        if self.tensors:
            self.state = self.tensors[-1]._version, self.tensors[-1].data_ptr()

    def has_changed(self) -> bool:
        """Whether the weights may have changed since the last step; True before the first."""
        if not self.tensors:
            return False
        return self.state != (self.tensors[-1]._version, self.tensors[-1].data_ptr())

    def read(self) -> bytes:
        """The sampled weights; nothing if no tensor can be read."""
        if self.addresses != [p.data_ptr() for p in self.tensors]:  # `p.data` was replaced
            self._make_views()
        return b"".join(view[::step].tobytes() for view, step in self.views)

    def _make_views(self) -> None:
        self.tensors = [p for p in self.tensors if _is_readable(p)]
        self.addresses = [p.data_ptr() for p in self.tensors]
        flat = [p.detach().view(-1).numpy() for p in self.tensors]
        self.views = [(view, _stride(len(view))) for view in flat]


def _is_readable(p: Tensor) -> bool:
    return (
        type(p.data) is Tensor
        and p.layout is torch.strided
        and p.device.type == "cpu"
        and p.dtype in DTYPES
        and p.is_contiguous()
        and p.numel() > 0
    )


def _stride(n: int) -> int:
    """A stride that takes at most four of n elements, of different columns."""
    return int(np.ceil(n / ELEMENTS)) if n > ELEMENTS else 1
