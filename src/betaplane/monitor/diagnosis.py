"""Diagnosis: runs every detector at each reading, and raises alerts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

from betaplane.monitor.alert import Alert
from betaplane.monitor.counterfactual import replay
from betaplane.monitor.detectors import ALL, Detector, Finding
from betaplane.monitor.detectors._statistics import MIN_SIDE
from betaplane.monitor.detectors.detector import LOSS, When
from betaplane.monitor.detectors.gradients import DATA_CHANGE
from betaplane.monitor.detectors.rate import EDGE_OF_STABILITY, LR_TOO_LARGE
from betaplane.monitor.detectors.second_moment import STALE_SECOND_MOMENT
from betaplane.monitor.detectors.state import STATE_CHANGED
from betaplane.monitor.detectors.steps import SHORT_WARMUP, WRONG_STEP_COUNT
from betaplane.monitor.history import History
from betaplane.text import plural

REPEAT_AFTER_STEPS = 1000  # before the same cause is reported again
# the update's size over Adam's, up to which (and down to its inverse) a replay by Adam's formula
# describes the optimizer
MAX_ADAM_RATIO = 1.25
STATE_FAULTS = (WRONG_STEP_COUNT.cause, STATE_CHANGED.cause)
# of such a fault, in a healthy run
CONSEQUENCES = (DATA_CHANGE, LR_TOO_LARGE, EDGE_OF_STABILITY, STALE_SECOND_MOMENT, SHORT_WARMUP)
CONSEQUENCE_STEPS = 64  # after a fault of the state, in which these are its consequences
OCCASIONS: tuple[When, ...] = ("loss", "step", "reading")
MIN_LOSSES = 2 * MIN_SIDE
ORDER = {detector.cause: i for i, detector in enumerate(ALL)}  # likelier causes first


class Diagnosis:
    """The alerts of a run.

    Args:
        history: what the detectors look back on.
        receive: receives each alert.
        mute: ids of the detectors that are not to run.
        act: takes an action on an alert and returns its name, or "".
    """

    def __init__(
        self,
        history: History,
        receive: Callable[[Alert], None],
        mute: Collection[str] = (),
        act: Callable[[Alert], str] = lambda alert: "",
    ) -> None:
        self.history = history
        self.receive = receive
        self.act = act
        self.detectors = {
            when: [
                (detector, detector.threshold) for detector in ALL if _runs(detector, when, mute)
            ]
            for when in OCCASIONS
        }
        self.alerts: list[Alert] = []
        self.reported_at: dict[str, int] = {}  # the last step at which a cause was reported

    def check(self, when: When = "reading") -> None:
        """Run the detectors of an occasion; report each cause at most once per 1,000 steps."""
        for detector, threshold in self.detectors[when]:
            if self.reported_at and (
                self._recently_reported(detector) or self._is_consequence(detector)
            ):
                continue
            finding = detector.find(self.history, threshold)
            if finding is not None:
                self.reported_at[detector.cause] = self.history.step
                alert = self._alert(detector, finding)
                alert = replace(alert, action=self.act(alert))
                self.alerts.append(alert)
                self.receive(alert)

    def _recently_reported(self, detector: Detector) -> bool:
        step = self.reported_at.get(detector.cause)
        return step is not None and self.history.step - step < REPEAT_AFTER_STEPS

    def _is_consequence(self, detector: Detector) -> bool:
        """Whether the detector's cause follows from a state fault reported a few steps before."""
        steps = [self.reported_at[cause] for cause in STATE_FAULTS if cause in self.reported_at]
        recent = any(self.history.step - step < CONSEQUENCE_STEPS for step in steps)
        return recent and detector in CONSEQUENCES

    def report(self) -> str:
        """All alerts, the likeliest cause first; one sentence if there are none."""
        ranked = sorted(self.alerts, key=lambda alert: (alert.step, ORDER[alert.cause]))
        return "\n".join([*(map(str, ranked) if ranked else [self._no_alert()]), *self.notes()])

    def notes(self) -> Iterator[str]:
        """Observations that may be mistakes, but may also be intended."""
        if self.history.probe is None:
            return
        frozen, share = self.history.probe.frozen()
        if frozen:
            yield (
                f"Note: {plural(len(frozen), 'parameter')} of the optimizer, {share:.0%} of its "
                f"elements, require no gradient ({', '.join(frozen[:3])}): nothing changes them."
            )
        unowned = self.history.probe.not_in_optimizer()
        if unowned:
            names = ", ".join(unowned[:3])
            yield (
                f"Note: {len(unowned)} parameters of the model have a gradient but are not in the "
                f"optimizer ({names}): nothing changes them."
            )

    def _no_alert(self) -> str:
        steps, read = self.history.watched, self.history.readings.steps_read
        text = f"No alert in {steps} steps, {read} of them read."
        reasons = [*self.not_judged()]
        return f"{text} Not judged: {'; '.join(reasons)}." if reasons else text

    def not_judged(self) -> Iterator[str]:
        """What could not be judged, and why."""
        history = self.history
        if not history.losses.total:
            yield "losses, none was given"
        elif history.losses.total < MIN_LOSSES:
            yield f"a lasting rise of the loss, which needs {MIN_LOSSES} losses"
        if not history.gradients.count and not history.readings.steps_read:
            yield "gradients, none was measured"
        if history.watched and not history.readings.steps_read:
            yield "moments, none was read"

    def _alert(self, detector: Detector, finding: Finding) -> Alert:
        layer = finding.layer or self.history.fastest_growing_layer()
        step = self.history.losses[-1][0] if detector.when == LOSS else self.history.step
        averted, replayed = self._replay(layer, finding.remedy)
        return Alert(
            step=step,
            layer=finding.layer,
            cause=detector.cause,
            evidence=finding.evidence,
            why=detector.why,
            change=finding.change,
            averted=averted,
            source=detector.source,
            remedy=finding.remedy,
            replayed=replayed,
            rule=detector.id,
            batch=self.history.batches.at(step),
        )

    def _replay(self, layer: str, remedy: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Replay a tensor's recorded steps, as text and as data; empty if none are recorded."""
        recording = self.history.recordings.get(layer)
        if not self._follows_adam(layer) or recording is None:
            return "", {}
        if recording.last_step != self.history.step:
            return "", {}
        recorded = recording.recorded()
        replayed = replay(recorded, remedy) if recorded is not None else None
        if replayed is None:
            return "", {}
        text = str(replayed) if replayed.actual > 1 else ""
        return text, replayed.row(layer, self.history.step)

    def _follows_adam(self, layer: str) -> bool:
        """Whether a tensor's last update had about the size of Adam's."""
        readings = self.history.readings.get(layer)
        if not readings:
            return True
        return 1 / MAX_ADAM_RATIO < readings[-1].adams < MAX_ADAM_RATIO


def _runs(detector: Detector, when: When, mute: Collection[str]) -> bool:
    """Whether a detector runs on an occasion."""
    return detector.when == when and detector.id not in mute
