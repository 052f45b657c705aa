"""Watcher: decides at every optimizer step what to read and record, within the time budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from time import perf_counter, thread_time
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.actions import Act, Actions
from betaplane.monitor.alert import Alert
from betaplane.monitor.budget import Budgets
from betaplane.monitor.capture.adam_state import has_moments, is_resumed
from betaplane.monitor.capture.distributed import RankGroup, is_sharded
from betaplane.monitor.capture.gradient_norms import GradientNorms
from betaplane.monitor.capture.hooks import Hooks, clip_factor
from betaplane.monitor.capture.losses import Losses, is_loss
from betaplane.monitor.capture.probe import Probe
from betaplane.monitor.capture.weight_sample import WeightSample
from betaplane.monitor.diagnosis import Diagnosis
from betaplane.monitor.gradient_recorder import GradientRecorder
from betaplane.monitor.guard import guarded, warn_stopped
from betaplane.monitor.history import History
from betaplane.monitor.plan import STATS_EVERY, StepPlan, decide
from betaplane.monitor.quantities.aggregates import Total
from betaplane.monitor.quantities.sharpness import Sharpness, sharpness
from betaplane.monitor.reader import Reader
from betaplane.monitor.recorders.moment_recorder import RECORDED_STEPS, MomentRecorder
from betaplane.monitor.sinks import Sink, Sinks, describe_run
from betaplane.tensors.param_names import ParamNames, named_parameters

RETRY_AFTER_STEPS = 16  # if there was no time to record


class Watcher:
    """The result of `watch`: the alerts of a run so far; a context manager.

    Args:
        optimizer: the watched optimizer.
        every: steps between readings.
        budget: share of the run's time.
        sinks: creates the sinks of alerts and readings.
        names: names of parameters that have none in the optimizer.
        mute: ids of detectors that are not to run.
        model: the trained model, if it is known.
        start: steps of the run before the first one that is watched.
        act: actions on alerts, see `Actions`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        every: int,
        budget: float,
        sinks: Callable[[], list[Sink]],
        names: Mapping[Tensor, str] | None = None,
        mute: Collection[str] = (),
        model: torch.nn.Module | None = None,
        start: int = 0,
        act: Act = None,
    ) -> None:
        self.optimizer = optimizer
        self.every = every
        self.names = ParamNames(optimizer, names)
        self.ranks = RankGroup(((name, p) for p, name in self.names.items()), every)
        self.sinks = Sinks(sinks() if self.ranks.is_first else [])
        self._make_sinks = sinks
        on_cpu = all(p.device.type == "cpu" for p in self.names)
        self.now = thread_time if on_cpu else perf_counter
        self.budgets = Budgets(budget, self.now)
        self.history = History(step=start, start=start, resumed=is_resumed(optimizer))
        self.history.gradients.step = start
        self.history.probe = Probe(optimizer, self.names, model)
        self.gradient_norms = GradientNorms(optimizer, self.names, self.history.gradients)
        self.weight_sample = WeightSample([*self.names], self.history.weights)
        self.norms_measured = False  # whether the gradients of this step were measured
        self.reader = Reader(
            optimizer, self.names, self.ranks, self.history, lambda rows: self.sinks.readings(rows)
        )
        self.actions = Actions(act, optimizer, self.history)
        self.diagnosis = Diagnosis(
            self.history, lambda alert: self.sinks.alert(alert), mute, self.actions.on_alert
        )
        self.moment_recorder = MomentRecorder(optimizer, self.names)
        self.gradient_recorder = GradientRecorder(optimizer, self.ranks, self.history)
        self.losses = Losses(self.ranks, self._guard(self._receive_loss))
        self.plan = StepPlan()
        self.reads = has_moments(optimizer)  # False for SGD: losses and gradients only
        self.records_moments = self.reads  # False if moments cannot be recorded, so gradients are
        self.steps_to_record = 0  # before the budget is checked again
        self.sampling_seconds = 0.0  # of the samples before this step
        self.hooks = Hooks(optimizer, self._guard(self._before_step), self._guard(self._after_step))
        self._run = describe_run(optimizer, every, budget, self.names)
        self.sinks.start(self._run)

    def __repr__(self) -> str:
        counts = f"{len(self.alerts)} alerts by step {self.history.step}"
        return f"Watcher({type(self.optimizer).__name__}, every={self.every}: {counts})"

    def loss(self, value: float | Tensor) -> None:
        """Take the loss of a step, between `backward` and the optimizer's `step`.

        Args:
            value: a number or a tensor of one element. Causes that show in the loss are only found
                if it is given. If `step` gets a closure, its result is taken automatically.
        """
        self.losses.take(self.history.step + 1, value)

    def batch(self, indices: Iterable[Any] | Tensor) -> None:
        """Record which examples the coming step is computed from; its alerts list them.

        Args:
            indices: of the examples, in any numbering of yours; of several micro-batches, call it
                for each.
        """
        self.history.batches.add(self.history.step + 1, indices)

    def report(self) -> str:
        """All alerts, the likeliest cause first; one sentence if there are none."""
        return self.diagnosis.report()

    @property
    def alerts(self) -> list[Alert]:
        """The alerts so far."""
        return self.diagnosis.alerts

    @property
    def stop_requested(self) -> bool:
        """Whether an alert had the action "stop"."""
        return self.actions.stop_requested

    @property
    def cost(self) -> float:
        """The watcher's share of the run's time so far."""
        return self.budgets.spent / max(self.budgets.clock.seconds, 1e-9)

    def totals(self) -> list[Total]:
        """The quantities of the last reading, per parameter group and over all parameters."""
        return self.reader.totals()

    def sharpness(self, loss: Callable[[], Tensor], rounds: int = 20) -> Sharpness:
        """The preconditioned curvature over its limit; see `betaplane.monitor.quantities.sharpness`.

        Args:
            loss: computes the loss, (), with its graph; called once.
            rounds: Hessian-vector products, >= 1.
        """
        return sharpness(self.optimizer, loss, rounds)

    def close(self) -> None:
        """Stop watching; the optimizer keeps no trace of it."""
        self.hooks.close()
        self.losses.finish()
        self.sinks.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _guard(self, call: Callable[..., None]) -> Callable[..., None]:
        """A call whose errors stop watching with a warning, but never the run."""

        def stop(error: Exception) -> None:
            if self.ranks.collective:
                raise error  # the other ranks would wait for this one forever
            self.hooks.close()
            warn_stopped(error, self.history.step)

        return guarded(call, stop)

    def _before_step(self, loss: Any) -> None:
        """Plan the step once its gradients are ready; most steps need no more than that."""
        self.history.record_step()
        step = self.history.step
        if is_loss(loss) and self.losses.last_step < step:
            self.losses.take(step, loss)
        self.weight_sample.before_step(step)
        self.norms_measured = self.history.loss_spiked or self.budgets.gradients.allows()
        if self.norms_measured:
            with self.budgets.gradients.spending():
                self.gradient_norms.measure(step)
        if self.actions.enabled and self._is_skipped():
            return
        may_record = not self.records_moments or (
            step % RETRY_AFTER_STEPS == 0 and not self.steps_to_record
        )
        if self.is_due(step) or may_record or self.history.loss_spiked:
            with self.budgets.charging_rest():
                self._prepare()
        else:
            self.plan = StepPlan(False, self.steps_to_record > 0, step % STATS_EVERY == 0)

    def is_due(self, step: int) -> bool:
        """Whether a reading is scheduled at a step."""
        return step % self.every == 0 or self.history.watched == 1

    def _is_skipped(self) -> bool:
        """Judge the gradients before the step, take actions, and return whether it is skipped.

        A skipped step does not count, as those that a scaler skips.
        """
        if self.norms_measured:
            self.diagnosis.check("step")
            self.norms_measured = False
        skipped = self.actions.before_step()
        if skipped:
            self.history.step -= 1
            self.plan = StepPlan()
        return skipped

    @torch.no_grad()
    def _prepare(self) -> None:
        """Decide what to do at this step, and copy what the step may overwrite."""
        self.names.add_new()
        if self.history.watched == 1:
            self._start_collectives()
        self.plan = decide(self)
        if self.plan.record and not self.records_moments:
            self.steps_to_record -= 1
            with self.budgets.recording.spending():
                self.gradient_recorder.record([*self.reader.parameters()])
        if self.plan.read:
            begin = self.now()
            self.reader.sample_before()
            self.sampling_seconds = self.now() - begin
            self.budgets.reading.charge(self.sampling_seconds)

    def _after_step(self) -> None:
        """Carry out the plan."""
        self.budgets.clock.tick(begin := self.now())
        self.weight_sample.after_step()
        if self.plan.record and self.records_moments:
            self._record_moments()
            self.budgets.recording.finish_job(self.now() - begin)
        if self.plan.read or self.plan.look or not self.records_moments:
            with self.budgets.charging_rest():
                self._read_and_look()
        if self.norms_measured:
            with self.budgets.gradients.spending():
                self.diagnosis.check("step")
        if self.actions.enabled:
            self.actions.after_step()

    def _record_moments(self) -> None:
        """Record the moments; if that is impossible, record gradients from the next step on."""
        self.steps_to_record -= 1
        if self.steps_to_record == 0 and self.budgets.recording.allows(RECORDED_STEPS):
            self.steps_to_record = RECORDED_STEPS
        self.records_moments = self.moment_recorder.record(self.history.step)
        if not self.records_moments:
            self.steps_to_record = 0
            self.history.recordings = {}

    @torch.no_grad()
    def _read_and_look(self) -> None:
        factor = clip_factor(self.optimizer)
        self.gradient_recorder.scale_last(factor)
        if self._looks():
            with self.budgets.stats.spending():
                self.history.recordings = {**self.moment_recorder.tracks}
                self.history.add_step_stats(self.moment_recorder.new_stats())
        if self.plan.read:
            begin = self.now()
            self.reader.read(factor)
            self.diagnosis.check()
            self.budgets.reading.finish_job(self.now() - begin, self.sampling_seconds)

    def _looks(self) -> bool:
        """Whether to compute step statistics: with each reading, and otherwise if it is cheap."""
        cheap = self.plan.look and self.moment_recorder.on_cpu and self.budgets.stats.allows()
        return self.records_moments and (self.plan.read or cheap)

    def _start_collectives(self) -> None:
        """Use collectives if all ranks watch; otherwise each rank reports by itself."""
        collective = self.ranks.start_collectives()
        parameters = named_parameters(self.optimizer)
        self.records_moments = not (collective and any(is_sharded(p) for _, p, _ in parameters))
        if not collective and not self.ranks.is_first:
            self.sinks = Sinks(self._make_sinks())
            self.sinks.start(self._run)

    def _receive_loss(self, step: int, loss: float) -> None:
        begin = self.now()
        self.history.record_loss(loss, step)
        self.sinks.loss(step, loss)
        self.diagnosis.check("loss")
        self.budgets.loss_seconds += self.now() - begin
