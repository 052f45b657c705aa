"""Watch a run: readings of Adam's state, alerts that name a cause, and remedies."""

from typing import Any

from betaplane.call_errors import explain_calls
from betaplane.monitor.alert import Alert
from betaplane.monitor.counterfactual import Replayed, replay
from betaplane.monitor.detectors import ALL, Detector
from betaplane.monitor.sinks import (
    Console,
    JsonLines,
    MLflow,
    Sink,
    TensorBoard,
    Trackio,
    Wandb,
    read_lines,
)
from betaplane.monitor.watch import watch
from betaplane.monitor.watcher import Watcher

__all__ = [
    "ALL", "Alert", "Console", "Detector", "JsonLines", "MLflow", "Replayed", "Sink", "TensorBoard", "Trackio", "Wandb",
    "Watcher", "read_lines", "replay", "watch",
]  # fmt: skip

explain_calls(__name__)


def __getattr__(name: str) -> Any:
    """Import the callbacks on first use, because their packages are large and optional."""
    if name in ("HuggingFaceWatch", "LightningWatch"):
        from betaplane.monitor import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
