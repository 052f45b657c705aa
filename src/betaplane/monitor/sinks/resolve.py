"""From the words that `watch` takes to sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from betaplane.errors import BadInput, nearest
from betaplane.monitor.sinks.mlflow import MLflow
from betaplane.monitor.sinks.sink import Sink
from betaplane.monitor.sinks.tensorboard import TensorBoard
from betaplane.monitor.sinks.trackio import Trackio
from betaplane.monitor.sinks.wandb import Wandb

KNOWN: dict[str, Callable[[], Sink]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
    "mlflow": MLflow,
}

To = str | Sink | Iterable[str | Sink]


def chosen(to: To) -> list[Sink]:
    """Sinks from a word, a sink, or several of either.

    Args:
        to: "tensorboard", "wandb", "trackio", "mlflow", or a Sink.

    Raises:
        BadInput: a word that names none, or whose package is not installed.

    Example:
        >>> chosen(())
        []
    """
    several = [to] if isinstance(to, (str, Sink)) else to
    return [each if isinstance(each, Sink) else _named(each) for each in several]


def _named(word: str) -> Sink:
    if not isinstance(word, str) or word not in KNOWN:
        allowed, near = f"{', '.join(KNOWN)}, or a Sink", nearest(str(word), KNOWN, "tensorboard")
        raise BadInput(
            "There is no such sink", value=word, allowed=allowed, where="to", instead=f'to="{near}"'
        )
    return KNOWN[word]()
