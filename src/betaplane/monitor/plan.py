"""The plan of a step: whether a watcher reads or records it, within its time budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from betaplane.monitor.recorders.moment_recorder import RECORDED_STEPS

if TYPE_CHECKING:
    from betaplane.monitor.watcher import Watcher

MAX_BORROWED_READINGS = 4  # of steps whose loss is far above earlier ones
STATS_EVERY = 16  # recorded steps whose statistics are computed together


class StepPlan(NamedTuple):
    """What the watcher does around one step."""

    read: bool = False  # take a reading of every tensor
    record: bool = False  # record moments after the step, or gradients before it
    look: bool = False  # compute the statistics of the recorded steps, if that is cheap


def decide(watcher: Watcher) -> StepPlan:
    """The plan of a step; ranks that use collectives agree on it.

    Args:
        watcher: at the step.
    """
    step = watcher.history.step
    due = watcher.is_due(step)
    loss_spiked = watcher.history.loss_spiked
    if due and not watcher.ranks.collective:
        watcher.losses.flush()
    watcher.history.loss_spiked = False
    if not watcher.ranks.collective:
        read, start_recording = _decide_alone(watcher, due, loss_spiked)
    elif due:
        read, start_recording = _decide_together(watcher)
    else:
        read, start_recording = False, False
    read = read and watcher.reads
    if start_recording and not watcher.steps_to_record:
        watcher.steps_to_record = RECORDED_STEPS
    return StepPlan(read, watcher.steps_to_record > 0, step % STATS_EVERY == 0)


def _decide_alone(watcher: Watcher, due: bool, loss_spiked: bool) -> tuple[bool, bool]:
    """Whether to read, and whether to start recording."""
    if due:
        read = watcher.budgets.reading.allows()
    else:
        read = loss_spiked and watcher.budgets.reading.lends(MAX_BORROWED_READINGS)
        if read:
            watcher.history.readings.off_schedule.append(watcher.history.step)
    start_recording = not watcher.steps_to_record and watcher.budgets.recording.allows(
        RECORDED_STEPS
    )
    return read, start_recording


def _decide_together(watcher: Watcher) -> tuple[bool, bool]:
    """Whether all ranks can read, and whether all can start recording."""
    step = watcher.history.step
    readings, recordings = watcher.budgets.reading, watcher.budgets.recording
    objections = [not readings.allows(), not recordings.allows(RECORDED_STEPS)]
    device = watcher.optimizer.param_groups[0]["params"][0].device
    steps = range(max(1, step - watcher.every + 1), step + 1)
    read, start_recording = watcher.losses.exchange(steps, objections, device)
    return read, start_recording
