"""Watches what Lightning trains."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from betaplane.monitor.callbacks.base import Client


class Events(Client):
    """A callback of Lightning: `Trainer(callbacks=[LightningWatch()])`, for automatic and manual
    optimization.

    The loss of a step is the sum of what went backward since the last one, which Lightning has divided by the number of
    batches that it accumulates.

    Args:
        options: as `betaplane.watch` has them, from `path` on.

    Example:
        >>> Events(every=20).options
        {'every': 20}
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.batches: list[Tensor] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch."""
        self.batches = []
        self.begin(trainer.optimizers, pl_module)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Keep a batch's loss."""
        self.batches.append(loss.detach().clone())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Hand on the loss of the batches since the last step."""
        if self.batches:
            self.lose(optimizer, sum(self.batches))
        self.batches = []

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop watching."""
        self.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stop watching: training has ended."""
        self.end()
