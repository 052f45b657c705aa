"""Resolve the argument `to` of `watch`: names of trackers to sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from betaplane.errors import unknown
from betaplane.monitor.sinks.mlflow import MLflow
from betaplane.monitor.sinks.sink import Sink
from betaplane.monitor.sinks.tensorboard import TensorBoard
from betaplane.monitor.sinks.trackio import Trackio
from betaplane.monitor.sinks.wandb import Wandb

TRACKERS: dict[str, Callable[[], Sink]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
    "mlflow": MLflow,
}

To = str | Sink | Iterable[str | Sink]


def resolve_sinks(to: To) -> list[Sink]:
    """The sinks for a name, a sink, or several of either.

    Args:
        to: "tensorboard", "wandb", "trackio", "mlflow", or a Sink.

    Raises:
        BadInput: a name is unknown, or its package is not installed.

    Example:
        >>> resolve_sinks(())
        []
    """
    items = [to] if isinstance(to, (str, Sink)) else to
    return [item if isinstance(item, Sink) else _tracker(item) for item in items]


def _tracker(name: str) -> Sink:
    if not isinstance(name, str) or name not in TRACKERS:
        raise unknown("sink", name, TRACKERS, where="to", instead='to="{}"')
    return TRACKERS[name]()
