"""Alarms and readings in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, needed


class TensorBoard(Tracker):
    """Scalars and alarms as text, for `tensorboard --logdir runs`.

    Args:
        to: a folder, or a SummaryWriter that is used and left open.

    Raises:
        BadInput: tensorboard is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     board = TensorBoard(folder)
        ...     board.loss(1, 0.5)
        ...     board.close()
        ...     len(os.listdir(folder))
        1
    """

    def __init__(self, to: str | os.PathLike[str] | Any = "runs") -> None:
        super().__init__()
        self.ours = isinstance(to, (str, os.PathLike))
        self.writer: Any = (
            to
            if not self.ours
            else needed("torch.utils.tensorboard", "tensorboard").SummaryWriter(to)
        )

    def close(self) -> None:
        """Close the file, or write out what was given to a writer of the caller's."""
        self.writer.close() if self.ours else self.writer.flush()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def _tell(self, alert: Alert) -> None:
        self.writer.add_text("betaplane.alarms", str(alert), alert.step)
        self.writer.flush()
