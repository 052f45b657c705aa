"""Wandb: readings as scalars, alerts as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, import_package

STEP = "betaplane.step"
COLUMNS = ("step", "layer", "cause", "evidence", "change", "averted")


class Wandb(Tracker):
    """Log scalars over the step `betaplane.step`, and alerts as a table.

    In a run of the caller's, values are committed with the caller's next log call, so that its
    step count does not change.

    Args:
        run: a wandb run; by default the active run, or a new one of project "betaplane".

    Raises:
        BadInput: wandb is not installed.
    """

    def __init__(self, run: Any = None) -> None:
        super().__init__()
        self.wandb = import_package("wandb", "wandb")
        run = run or self.wandb.run
        self.owns_run = run is None
        self.run = self.wandb.init(project="betaplane") if run is None else run
        self.run.define_metric(STEP, hidden=True)
        self.run.define_metric("betaplane.*", step_metric=STEP)
        self.rows: list[list[Any]] = []

    def close(self) -> None:
        """Finish the run, unless it belongs to the caller."""
        if self.owns_run:
            self.run.finish()

    def _write(self, values: Mapping[str, Any], step: int) -> None:
        self.run.log({**values, STEP: step}, commit=self.owns_run)

    def alert(self, alert: Alert) -> None:
        """Log the table of all alerts."""
        self.rows.append([getattr(alert, column) for column in COLUMNS])
        table = self.wandb.Table(columns=list(COLUMNS), data=self.rows)
        self._write({"betaplane.alerts": table}, alert.step)
