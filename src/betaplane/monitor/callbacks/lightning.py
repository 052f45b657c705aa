"""LightningWatch: watch the optimizers of a Lightning Trainer."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from betaplane.monitor.callbacks.base import WatchCallback


class LightningWatch(WatchCallback):
    """A callback of Lightning: `Trainer(callbacks=[LightningWatch()])`.

    It supports automatic and manual optimization. The loss of a step is the sum of the losses of
    all backward passes since the last step; Lightning divides each by the number of accumulated
    batches.

    Args:
        options: the arguments of `betaplane.watch` from `path` on.

    Example:
        >>> LightningWatch(every=20).options
        {'every': 20}
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.batches: list[Tensor] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching."""
        self.batches = []
        optimizers = trainer.optimizers
        self.start(optimizers, pl_module, trainer.global_step // max(len(optimizers), 1))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Store a batch's loss."""
        self.batches.append(loss.detach().clone())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Pass on the loss of the batches since the last step."""
        if self.batches:
            self.record_loss(optimizer, sum(self.batches))
        self.batches = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Stop training if an alert has the action "stop"."""
        if self.stop_requested:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop watching."""
        self.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stop watching, because training has ended."""
        self.stop()
