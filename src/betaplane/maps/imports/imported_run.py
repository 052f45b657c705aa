"""One run of a finished sweep, and its record in a store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from betaplane.maps.store.run_record import Record, run_key
from betaplane.replicas import final_value

ENGINE = "imported"  # of the records
# the names of these settings in other tools
SYNONYMS = {
    "learning_rate": "lr",
    "learningrate": "lr",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "adam_epsilon": "eps",
    "epsilon": "eps",
    "wd": "weight_decay",
    "batchsize": "batch_size",
    "per_device_train_batch_size": "batch_size",
}


@dataclass(frozen=True)
class ImportedRun:
    """One run: its settings and its losses, in the order of training."""

    settings: Mapping[str, float]
    losses: tuple[float, ...] = field(repr=False)  # only the final one if `is_final`
    seed: int = 0
    is_final: bool = False  # the losses are the final loss alone
    origin: str = ""  # its name in the sweep

    def record(self, initial: float | None) -> Record:
        """The record in a store.

        Args:
            initial: the loss before training, for runs of which only the final loss is known.
        """
        curve = np.array(self.losses, np.float32)
        first = math.nan if initial is None else initial
        parts = {"losses": [repr(loss) for loss in self.losses], "origin": self.origin}
        return Record(
            key=run_key(self.settings, self.seed, len(self.losses), imported=parts),
            settings={"rule": "Adam", **self.settings},
            seed=self.seed,
            steps=len(self.losses),
            initial=first if self.is_final else self.losses[0],
            final=final_value(curve),
            curve=curve,
            engine=ENGINE,
        )


def numeric_settings(settings: Mapping[str, Any]) -> dict[str, float]:
    """The settings that are finite numbers, by the names that maps use; a pair of betas becomes two.

    Example:
        >>> numeric_settings({"optim.lr": "1e-3", "betas": [0.9, 0.95], "model": "gpt2", "nested": True})
        {'lr': 0.001, 'beta1': 0.9, 'beta2': 0.95}
    """
    named: dict[str, float] = {}
    for name, value in settings.items():
        short = str(name).rpartition(".")[2].rpartition("/")[2].strip().replace("-", "_")
        short = SYNONYMS.get(short.lower(), short)
        if short == "betas" and (pair := _pair(value)):
            named |= {"beta1": pair[0], "beta2": pair[1]}
        elif (number := as_number(value)) is not None:
            named[short] = number
    return {name: value for name, value in named.items() if math.isfinite(value)}


def as_number(value: Any) -> float | None:
    """A value as a float; None if it is no number.

    Example:
        >>> as_number("1e-3"), as_number(True), as_number("nan"), as_number("adam")
        (0.001, None, nan, None)
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _pair(value: Any) -> tuple[float, float] | None:
    parts: Iterable[Any] = value.strip("()[] ").split(",") if isinstance(value, str) else value
    try:
        first, second = (float(part) for part in parts)
    except (TypeError, ValueError):
        return None
    return first, second
