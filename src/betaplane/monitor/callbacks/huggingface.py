"""Watches what Hugging Face's Trainer trains."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from betaplane.monitor.callbacks.base import Client


class Events(Client):
    """A callback of Hugging Face's Trainer: `Trainer(..., callbacks=[HuggingFaceWatch()])`.

    The loss of a step is what the model returns with its batches, taken together as the Trainer does: their sum where
    the model is told how many items all of them have, else their mean. Where the model returns no loss, it is what the
    Trainer logs.

    Args:
        options: as `betaplane.watch` has them, from `path` on.

    Example:
        >>> Events(path="run.jsonl", every=20).options
        {'path': 'run.jsonl', 'every': 20}
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # losses, and whether each is a part of the step's
        self.batches: list[tuple[Tensor, bool]] = []
        self.optimizer: Any = None
        self.hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch."""
        model, self.optimizer = kwargs["model"], kwargs["optimizer"]
        self.begin([self.optimizer], model)
        self._unhook()
        self.hook = model.register_forward_hook(self._batch, with_kwargs=True)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Hand on the loss of the batches since the last step."""
        if self.batches:
            loss = sum((loss if part else loss / len(self.batches)) for loss, part in self.batches)
            self.lose(self.optimizer, loss)
        self.batches = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the logged loss where the model has returned none."""
        loss = (kwargs.get("logs") or {}).get("loss", math.nan)
        if (
            self.watchers
            and not self.watcher.losses.last
            and isinstance(loss, float)
            and not math.isnan(loss)
        ):
            self.watcher.history.lose(loss, self.watcher.history.step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop watching."""
        self._unhook()
        self.end()

    def _batch(self, model: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Keep the loss of one batch."""
        if isinstance(output, (tuple, list)):
            loss = output[0] if output else None
        else:
            loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if model.training and isinstance(loss, Tensor) and loss.requires_grad and loss.numel() == 1:
            self.batches.append((loss.detach(), kwargs.get("num_items_in_batch") is not None))

    def _unhook(self) -> None:
        if self.hook is not None:
            self.hook.remove()
        self.hook, self.batches = None, []
