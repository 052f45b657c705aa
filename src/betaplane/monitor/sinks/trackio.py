"""Trackio: readings as scalars, alerts as trackio alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.tracker import Tracker, import_package


class Trackio(Tracker):
    """Log scalars, and alerts as trackio's own.

    Args:
        run: a trackio run; by default the current run, or a new one of project "betaplane".

    Raises:
        BadInput: trackio is not installed.
    """

    def __init__(self, run: Any = None) -> None:
        super().__init__()
        trackio = import_package("trackio", "trackio")
        run = run or import_package("trackio.context_vars", "trackio").current_run.get()
        self.owns_run = run is None
        self.run = trackio.init(project="betaplane") if run is None else run

    def close(self) -> None:
        """Finish the run, unless it belongs to the caller."""
        if self.owns_run:
            self.run.finish()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def alert(self, alert: Alert) -> None:
        """Raise a trackio alert."""
        self.run.alert(title=f"step {alert.step}: {alert.cause}", text=str(alert))
