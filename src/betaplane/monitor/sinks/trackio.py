"""Alarms and readings in trackio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, needed


class Trackio(Tracker):
    """Scalars, and alarms as trackio's alerts.

    Args:
        run: a run of trackio; None for the one that is open, or a new one of project "betaplane".

    Raises:
        BadInput: trackio is not installed.
    """

    def __init__(self, run: Any = None) -> None:
        super().__init__()
        trackio = needed("trackio", "trackio")
        run = run or needed("trackio.context_vars", "trackio").current_run.get()
        self.ours = run is None
        self.run = trackio.init(project="betaplane") if run is None else run

    def close(self) -> None:
        """Finish the run, if it is not the caller's."""
        if self.ours:
            self.run.finish()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def _tell(self, alert: Alert) -> None:
        self.run.alert(title=f"step {alert.step}: {alert.cause}", text=str(alert))
