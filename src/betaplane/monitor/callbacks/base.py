"""WatchCallback: what the callbacks share, one watcher per optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from betaplane.monitor.capture.adam_state import unwrap
from betaplane.monitor.watch import watch
from betaplane.monitor.watcher import Watcher


class WatchCallback:
    """Watch the optimizers of a trainer.

    Args:
        options: the arguments of `betaplane.watch` from `path` on. If there are several
            optimizers, the second one writes to "run-1.jsonl".
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.watchers: list[Watcher] = []

    @property
    def watcher(self) -> Watcher:
        """The first optimizer's watcher, once training has started; it stays after the end."""
        return self.watchers[0]

    @property
    def stop_requested(self) -> bool:
        """Whether an alert had the action "stop"."""
        return any(watcher.stop_requested for watcher in self.watchers)

    def start(self, optimizers: Iterable[Any], model: nn.Module, steps: int = 0) -> None:
        """Watch these optimizers, and no earlier ones.

        Args:
            optimizers: of the trainer.
            model: the trained model.
            steps: that the run took before.
        """
        self.stop()
        self.watchers = [
            watch(optimizer, model=model, **{"start": steps, **self._options(i)})
            for i, optimizer in enumerate(optimizers)
        ]

    def stop(self) -> None:
        """Stop watching."""
        for watcher in self.watchers:
            watcher.close()

    def record_loss(self, optimizer: Any, loss: float | Tensor) -> None:
        """Pass the loss of a step to its optimizer's watcher."""
        for watcher in self.watchers:
            if watcher.optimizer is unwrap(optimizer):
                watcher.loss(loss)

    def _options(self, i: int) -> dict[str, Any]:
        path = self.options.get("path")
        if path is None or i == 0:
            return self.options
        return {**self.options, "path": Path(path).with_stem(f"{Path(path).stem}-{i}")}
