"""Alarms and readings in MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, needed

FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. :/]")  # in a metric's name


class MLflow(Tracker):
    """Metrics, and alarms in the run's artifact `betaplane/alarms.txt`.

    Args:
        run_id: of an MLflow run; None for the one that is open, or a new one.

    Raises:
        BadInput: mlflow is not installed.
    """

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__()
        self.mlflow = needed("mlflow", "mlflow")
        run = None if run_id else self.mlflow.active_run()
        self.ours = not (run_id or run)
        self.run_id = run_id or (run or self.mlflow.start_run()).info.run_id
        self.alarms: list[str] = []

    def close(self) -> None:
        """End the run, if it is not the caller's."""
        if self.ours:
            self.mlflow.end_run()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        metrics = {FORBIDDEN.sub("_", name): value for name, value in values.items()}
        self.mlflow.log_metrics(metrics, step=step, run_id=self.run_id)

    def _tell(self, alert: Alert) -> None:
        self.alarms.append(str(alert))
        self.mlflow.log_text("\n".join(self.alarms), "betaplane/alarms.txt", run_id=self.run_id)
