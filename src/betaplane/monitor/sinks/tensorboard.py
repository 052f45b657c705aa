"""TensorBoard: readings as scalars, alerts as text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, import_package


class TensorBoard(Tracker):
    """Write scalars and alerts for `tensorboard --logdir runs`.

    Args:
        to: a folder, or the caller's SummaryWriter, which stays open.

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
        self.owns_writer = isinstance(to, (str, os.PathLike))
        self.writer: Any = to
        if self.owns_writer:
            module = import_package("torch.utils.tensorboard", "tensorboard")
            self.writer = module.SummaryWriter(to)

    def close(self) -> None:
        """Close the file, or flush the caller's writer."""
        self.writer.close() if self.owns_writer else self.writer.flush()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def alert(self, alert: Alert) -> None:
        """Write an alert as text."""
        self.writer.add_text("betaplane.alerts", str(alert), alert.step)
        self.writer.flush()
