"""MLflow: readings as metrics, alerts as an artifact."""

from __future__ import annotations

import re
from collections.abc import Mapping

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, import_package

FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. :/]")  # in the name of a metric


class MLflow(Tracker):
    """Log metrics, and alerts in the run's artifact `betaplane/alerts.txt`.

    Args:
        run_id: of an MLflow run; by default the active run, or a new one.

    Raises:
        BadInput: mlflow is not installed.
    """

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__()
        self.mlflow = import_package("mlflow", "mlflow")
        run = None if run_id else self.mlflow.active_run()
        self.owns_run = not (run_id or run)
        self.run_id = run_id or (run or self.mlflow.start_run()).info.run_id
        self.alerts: list[str] = []

    def close(self) -> None:
        """End the run, unless it belongs to the caller."""
        if self.owns_run:
            self.mlflow.end_run()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        metrics = {FORBIDDEN.sub("_", name): value for name, value in values.items()}
        self.mlflow.log_metrics(metrics, step=step, run_id=self.run_id)

    def alert(self, alert: Alert) -> None:
        """Rewrite the artifact with all alerts."""
        self.alerts.append(str(alert))
        self.mlflow.log_text("\n".join(self.alerts), "betaplane/alerts.txt", run_id=self.run_id)
