"""Alarms and readings in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, needed

STEP = "betaplane.step"
COLUMNS = ("step", "layer", "cause", "evidence", "change", "averted")


class Wandb(Tracker):
    """Scalars over the step `betaplane.step`, alarms as a table.

    In a run of the caller's, the values go with what the caller logs next, so that its steps stay
    as they are.

    Args:
        run: a run of wandb; None for the one that is open, or a new one of project "betaplane".

    Raises:
        BadInput: wandb is not installed.
    """

    def __init__(self, run: Any = None) -> None:
        super().__init__()
        self.wandb = needed("wandb", "wandb")
        run = run or self.wandb.run
        self.ours = run is None
        self.run = self.wandb.init(project="betaplane") if run is None else run
        self.run.define_metric(STEP, hidden=True)
        self.run.define_metric("betaplane.*", step_metric=STEP)
        self.alarms: list[list[Any]] = []

    def close(self) -> None:
        """Finish the run, if it is not the caller's."""
        if self.ours:
            self.run.finish()

    def _write(self, values: Mapping[str, Any], step: int) -> None:
        self.run.log({**values, STEP: step}, commit=self.ours)

    def _tell(self, alert: Alert) -> None:
        self.alarms.append([getattr(alert, column) for column in COLUMNS])
        table = self.wandb.Table(columns=list(COLUMNS), data=self.alarms)
        self._write({"betaplane.alarms": table}, alert.step)
