"""What the callbacks have in common: one watcher for each optimizer, and the losses of the batches
of a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from betaplane.monitor.capture.adam_state import unwrapped
from betaplane.monitor.watch import watch
from betaplane.monitor.watcher import Watcher


class Client:
    """Takes what `betaplane.watch` takes, from `path` on; the optimizer is the trainer's.

    Args:
        options: as `betaplane.watch` has them; where there are several optimizers, the second writes "run-1.jsonl".
    """

    def __init__(self, **options: Any) -> None:
        self.options, self.watchers = options, []
        self.watchers: list[Watcher]

    @property
    def watcher(self) -> Watcher:
        """The first optimizer's watcher, once training has begun; its alarms stay after the end."""
        return self.watchers[0]

    def begin(self, optimizers: Iterable[Any], model: nn.Module) -> None:
        """Watch these, and nothing of before."""
        self.end()
        self.watchers = [
            watch(each, model=model, **self._options(i)) for i, each in enumerate(optimizers)
        ]

    def end(self) -> None:
        """Stop watching."""
        for watcher in self.watchers:
            watcher.close()

    def lose(self, optimizer: Any, loss: float | Tensor) -> None:
        """Hand the loss of a step to its optimizer's watcher."""
        for watcher in self.watchers:
            if watcher.optimizer is unwrapped(optimizer):
                watcher.loss(loss)

    def _options(self, i: int) -> dict[str, Any]:
        path = self.options.get("path")
        if path is None or i == 0:
            return self.options
        return {**self.options, "path": Path(path).with_stem(f"{Path(path).stem}-{i}")}
