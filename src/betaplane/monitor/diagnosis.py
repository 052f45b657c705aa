"""Asks every detector at each reading, and makes an alarm of what one finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.counterfactual import replay
from betaplane.monitor.detectors import ALL, Detector, Finding
from betaplane.monitor.detectors.gradients import CHANGED
from betaplane.monitor.detectors.rate import EDGE, TOO_LARGE
from betaplane.monitor.detectors.second_moment import STALE
from betaplane.monitor.detectors.state import CHANGED_STATE
from betaplane.monitor.detectors.steps import MISCOUNTED, RUSHED
from betaplane.monitor.history import History

AGAIN = 1000  # steps before one cause is told again
ADAMS = 1.25  # times the size of Adam's update, within which a step was Adam's
FAULTS = (MISCOUNTED.cause, CHANGED_STATE.cause)  # of the state
FOLLOWS = (CHANGED, TOO_LARGE, EDGE, STALE, RUSHED)  # what they make of a healthy run
EXPLAINED = 64  # steps after one of them in which these are taken to follow from it
ORDER = {detector.cause: i for i, detector in enumerate(ALL)}  # the likelier cause first


class Diagnosis:
    """The alarms of a run.

    Args:
        history: what detectors look back on.
        tell: takes each alarm.
    """

    def __init__(self, history: History, tell: Callable[[Alert], None]) -> None:
        self.history, self.tell = history, tell
        self.alerts: list[Alert] = []
        self.told: dict[str, int] = {}  # cause, and the step it was told at

    def ask(self) -> None:
        """Ask every detector, and tell each cause once in a while."""
        for detector in ALL:
            told = self.told.get(detector.cause)
            if (told is not None and self.history.step - told < AGAIN) or self._explained(detector):
                continue
            finding = detector.find(self.history, detector.threshold)
            if finding is not None:
                self.told[detector.cause] = self.history.step
                self.alerts.append(self._alert(detector, finding))
                self.tell(self.alerts[-1])

    def _explained(self, detector: Detector) -> bool:
        """Whether what the detector would find follows from a fault of the state that was told a
        few steps before.
        """
        faults = [self.told[cause] for cause in FAULTS if cause in self.told]
        return detector in FOLLOWS and any(self.history.step - step < EXPLAINED for step in faults)

    def report(self) -> str:
        """All alarms, the likeliest cause first; a sentence where there is none."""
        ranked = sorted(self.alerts, key=lambda alert: (alert.step, ORDER[alert.cause]))
        return "\n".join(map(str, ranked)) or self._silence()

    def _silence(self) -> str:
        """What was looked at without an alarm."""
        steps, read = self.history.step, self.history.read
        return f"No alarm in {steps} steps, {read} of them read."

    def _alert(self, detector: Detector, finding: Finding) -> Alert:
        averted, replayed = self._replayed(finding.layer or self.history.loudest(), finding.remedy)
        return Alert(
            step=self.history.step,
            layer=finding.layer,
            cause=detector.cause,
            evidence=finding.evidence,
            why=detector.why,
            change=finding.change,
            averted=averted,
            source=detector.source,
            remedy=finding.remedy,
            replayed=replayed,
        )

    def _replayed(self, layer: str, remedy: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """What a replay of a tensor's kept steps says, in words and as data; nothing where none are
        kept.
        """
        ring, read = self.history.rings.get(layer), self.history.readings.get(layer)
        if read and not 1 / ADAMS < read[-1].adams < ADAMS:
            return "", {}  # no replay by Adam's formula tells of another
        past = ring.past() if ring is not None and ring.last == self.history.step else None
        found = replay(past, remedy) if past is not None else None
        if found is None:
            return "", {}
        return (str(found) if found.actual > 1 else ""), found.row(layer, self.history.step)
