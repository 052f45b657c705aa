"""HuggingFaceWatch: watch the optimizer of Hugging Face's Trainer."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from betaplane.monitor.callbacks.base import WatchCallback


class HuggingFaceWatch(WatchCallback):
    """A callback of Hugging Face's Trainer: `Trainer(..., callbacks=[HuggingFaceWatch()])`.

    The loss of a step combines the losses that the model returns for its batches, as the Trainer
    does: their sum if the model gets the number of items in all of them, otherwise their mean. If
    the model returns no loss, it is the loss that the Trainer logs.

    Args:
        options: the arguments of `betaplane.watch` from `path` on.

    Example:
        >>> HuggingFaceWatch(path="run.jsonl", every=20).options
        {'path': 'run.jsonl', 'every': 20}
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # losses of the step's batches, and whether they add up to that of the step
        self.batches: list[tuple[Tensor, bool]] = []
        self.optimizer: Any = None
        self.hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start watching."""
        model = kwargs["model"]
        self.optimizer = kwargs["optimizer"]
        self.start([self.optimizer], model, state.global_step)
        self._remove_hook()
        self.hook = model.register_forward_hook(self._after_forward, with_kwargs=True)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass on the loss of the batches since the last step."""
        if self.batches:
            loss = sum(
                loss if is_part else loss / len(self.batches) for loss, is_part in self.batches
            )
            self.record_loss(self.optimizer, loss)
        self.batches = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop training if an alert has the action "stop"."""
        if self.stop_requested:
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Use the logged loss if the model has returned none."""
        loss = (kwargs.get("logs") or {}).get("loss", math.nan)
        if not self.watchers or not isinstance(loss, float) or math.isnan(loss):
            return
        if not self.watcher.losses.last_step:
            self.watcher.history.record_loss(loss, self.watcher.history.step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop watching."""
        self._remove_hook()
        self.stop()

    def _after_forward(
        self, model: nn.Module, args: Any, kwargs: dict[str, Any], output: Any
    ) -> None:
        """Store the loss of one batch."""
        loss = _loss_of(output)
        if model.training and isinstance(loss, Tensor) and loss.requires_grad and loss.numel() == 1:
            is_part = kwargs.get("num_items_in_batch") is not None
            self.batches.append((loss.detach(), is_part))

    def _remove_hook(self) -> None:
        if self.hook is not None:
            self.hook.remove()
        self.hook = None
        self.batches = []


def _loss_of(output: Any) -> Any:
    """The loss in a model's output, which may be a tuple, a dict or an object."""
    if isinstance(output, (tuple, list)):
        return output[0] if output else None
    if isinstance(output, dict):
        return output.get("loss")
    return getattr(output, "loss", None)
