"""History of a watched run: what the detectors can look back on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from betaplane.monitor.batches import Batches
from betaplane.monitor.capture.probe import Probe
from betaplane.monitor.gradient_history import GradientHistory
from betaplane.monitor.loss_history import LossHistory
from betaplane.monitor.quantities.reading import Reading
from betaplane.monitor.quantities.step_stats import StepStats
from betaplane.monitor.reading_history import ReadingHistory
from betaplane.monitor.recorders.moment_recorder import Track
from betaplane.monitor.recorders.ring_buffer import RecordedSteps, RingBuffer
from betaplane.monitor.weight_history import WeightHistory

STEPS_REMEMBERED = 64  # step statistics and gradient correlations


class GradientCorrelation(NamedTuple):
    """How the recorded gradients of one step relate to those of the step before."""

    step: int
    correlation: float  # in [-1, 1]
    norm: float  # gradient units


@dataclass
class History:
    """Readings, losses and recorded steps of a run."""

    step: int = 0  # the last step, counted from the beginning of the run
    start: int = 0  # steps that were taken before watching
    readings: ReadingHistory = field(default_factory=ReadingHistory)
    losses: LossHistory = field(default_factory=LossHistory)
    gradients: GradientHistory = field(default_factory=GradientHistory)
    weights: WeightHistory = field(default_factory=WeightHistory)
    probe: Probe | None = None  # checks on demand; None in a history without an optimizer
    resumed: bool = False  # whether the optimizer had counted steps before it was watched
    waiting_losses: int = 0  # since the last optimizer step
    losses_per_step: int = 0  # the largest number before any step so far, if steps were taken
    batches: Batches = field(default_factory=Batches)
    loss_spiked: bool = False  # the last loss is far above those before it
    recordings: dict[str, RingBuffer | Track] = field(default_factory=dict)  # by layer
    correlations: deque[GradientCorrelation] = field(
        default_factory=lambda: deque(maxlen=STEPS_REMEMBERED)
    )
    step_stats: deque[StepStats] = field(default_factory=lambda: deque(maxlen=STEPS_REMEMBERED))

    @property
    def watched(self) -> int:
        """Steps watched."""
        return self.step - self.start

    def record_loss(self, loss: float, step: int | None = None) -> None:
        """Record the loss of a step; without a step, of the next one."""
        step = self.step + 1 if step is None else step
        outlier = self.losses.record(step, loss)
        self.waiting_losses += 1
        self.loss_spiked = outlier and step >= self.step  # a late loss must not cause a reading

    def record_step(self) -> None:
        """Count a step that the optimizer is about to take."""
        self.step += 1
        self.losses_per_step = max(self.losses_per_step, self.waiting_losses)
        self.waiting_losses = 0

    def add_step_stats(self, stats: list[StepStats]) -> None:
        """Add the statistics of some steps, with the correlations of their gradients."""
        self.step_stats += stats
        self.correlations += [
            GradientCorrelation(step.step, step.correlation, step.norm) for step in stats
        ]

    def current_readings(self) -> list[Reading]:
        """The readings of this step."""
        return self.readings.at(self.step)

    def fastest_growing_layer(self) -> str:
        """The tensor whose gradients grew most over the recorded steps; "" if none are recorded."""
        growth = {}
        for layer, recording in self.recordings.items():
            recorded = recording.recorded() if recording.last_step == self.step else None
            if recorded is not None and len(recorded.g) > 1:
                sizes = recorded.g.square().mean(1).nan_to_num()
                half = len(sizes) // 2
                growth[layer] = float(sizes[half:].max() / sizes[:half].mean().clamp_min(1e-30))
        return max(growth, key=growth.__getitem__, default="")

    def full_recordings(self) -> Iterator[tuple[str, RecordedSteps]]:
        """The recorded steps of each tensor with a full, finite recording that ends at this step."""
        for layer, recording in self.recordings.items():
            if recording.last_step == self.step and recording.full:
                recorded = recording.recorded()
                if recorded is not None and bool(recorded.g.isfinite().all()):
                    yield layer, recorded
