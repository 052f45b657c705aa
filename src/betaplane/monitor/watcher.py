"""Around an optimizer's steps: what to keep, when to read and look, as far as the budget allows."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any
from warnings import warn

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.alert import Alert
from betaplane.monitor.budget import Budget, Steps
from betaplane.monitor.capture.adam_state import Names, named
from betaplane.monitor.capture.distributed import RankGroup, sharded
from betaplane.monitor.capture.hooks import Hooks, clipped
from betaplane.monitor.capture.losses import Losses, is_loss
from betaplane.monitor.diagnosis import Diagnosis
from betaplane.monitor.gradient_recorder import STEPS, GradientRecorder
from betaplane.monitor.history import History
from betaplane.monitor.quantities.aggregates import Total, totals
from betaplane.monitor.quantities.sharpness import Sharpness, sharpness
from betaplane.monitor.reader import Reader
from betaplane.monitor.recorders.moment_recorder import MomentRecorder
from betaplane.monitor.sinks import Sink, Sinks, start_facts

# of the budget, for readings, looks and the record; the rest for what is not seen from here
SHARES = (0.25, 0.05, 0.1)
PAUSE = 16  # steps until it is asked again whether there is time to record
LENT = 4  # readings on credit, of steps whose loss is far above those before
LOOK = 16  # steps of the tape that are looked at together


class Watcher:
    """What `watch` returns: the alarms of a run so far; a context manager.

    Args:
        optimizer: what is watched.
        every: steps from one reading to the next.
        budget: share of the run's time.
        sinks: makes what alarms and readings go to.
        names: of parameters that the optimizer has no names of.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        every: int,
        budget: float,
        sinks: Callable[[], list[Sink]],
        names: Mapping[Tensor, str] | None = None,
    ) -> None:
        self.optimizer, self.every, self.names = optimizer, every, Names(optimizer, names)
        self.ranks = RankGroup(((name, p) for p, name in self.names.items()), every)
        self.sinks = Sinks(sinks() if self.ranks.first else [])
        self._sinks = sinks
        self.clock = Steps()
        self.readings, self.looks, self.rings = (
            Budget(share * budget, self.clock) for share in SHARES
        )
        self.history, self.tape = History(), MomentRecorder(optimizer, self.names)
        self.reader = Reader(
            optimizer, self.names, self.ranks, self.history, lambda rows: self.sinks.readings(rows)
        )
        self.judge = Diagnosis(self.history, lambda alert: self.sinks.alert(alert))
        self._tapes, self._reads, self._busy, self._burst = True, False, False, 0
        self._kept = 0.0  # seconds that keeping samples took
        self.keeper, self.losses = (
            GradientRecorder(optimizer, self.ranks, self.history),
            Losses(self.ranks, self._lose),
        )
        self.hooks = Hooks(optimizer, self._safe(self._pre), self._safe(self._post))
        self._facts = start_facts(optimizer, every, budget, self.names)
        self.sinks.start(self._facts)

    def __repr__(self) -> str:
        counts = f"{len(self.judge.alerts)} alerts by step {self.history.step}"
        return f"Watcher({type(self.optimizer).__name__}, every={self.every}: {counts})"

    def loss(self, value: float | Tensor) -> None:
        """Take the loss of a step, between `backward` and the optimizer's `step`.

        Args:
            value: a number or a tensor of one; causes that show in the loss are only named where it is given. What the
                closure of a step returns is taken by itself.
        """
        self.losses.take(self.history.step + 1, value)

    def report(self) -> str:
        """All alarms, the likeliest cause first; a sentence where there is none."""
        return self.judge.report()

    @property
    def alerts(self) -> list[Alert]:
        """The alarms so far."""
        return self.judge.alerts

    @property
    def cost(self) -> float:
        """Watching's share of the time since it began."""
        return self._spent / max(self.readings.elapsed, 1e-9)

    def totals(self) -> list[Total]:
        """The figures of the last reading: of each parameter group, and of all parameters."""
        places, decays = {}, {}
        for i, group in enumerate(self.optimizer.param_groups):
            decays[i] = float(group.get("weight_decay", 0.0))
            places |= dict.fromkeys(group["params"], i)
        groups = {name: places[p] for name, p, _ in named(self.optimizer, self.names)}
        return totals(
            [reading for reading in self.history.last() if reading.layer in groups], groups, decays
        )

    def sharpness(self, loss: Callable[[], Tensor], rounds: int = 20) -> Sharpness:
        """Return the preconditioned curvature over its limit; see
        `betaplane.monitor.quantities.sharpness`.

        Args:
            loss: computes the loss, (), with its graph; called once.
            rounds: Hessian-vector products, >= 1.
        """
        return sharpness(self.optimizer, loss, rounds)

    def close(self) -> None:
        """Stop watching; the optimizer is as it was."""
        self.hooks.close()
        self.losses.end()
        self.sinks.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _safe(self, call: Callable[..., None]) -> Callable[..., None]:
        """A call that never ends the run it watches: where it fails, watching stops, and a warning
        says why.
        """

        def safe(*args: Any) -> None:
            try:
                call(*args)
            except Exception as error:
                if self.ranks.together:
                    raise  # the other processes would wait for this one for ever
                self.hooks.close()
                at = traceback.extract_tb(error.__traceback__)[-1]
                told = (
                    f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
                )
                warn(
                    f"watching stopped at step {self.history.step}, training goes on. {told}",
                    stacklevel=2,
                )

        return safe

    def _pre(self, loss: Any) -> None:
        """Before a step, once its gradients are there: most steps ask for nothing here."""
        step = self.history.step = self.history.step + 1
        if is_loss(loss) and self.losses.last < step:
            self.losses.take(step, loss)
        asks = not self._tapes or (step % PAUSE == 0 and not self._burst)
        self._busy = step % self.every == 0 or step == 1 or asks or self.history.startled
        if self._busy:
            begin, spent = perf_counter(), self._spent
            self._ready()
            self.rings.charge(perf_counter() - begin - (self._spent - spent))

    @torch.no_grad()
    def _ready(self) -> None:
        """Keep what the step may overwrite."""
        self.names.grow()
        if self.history.step == 1:
            self._settle()
        self._reads, keeps = self._agree()
        if self._burst == 0 and keeps:
            self._burst = STEPS
        if self._burst and not self._tapes:
            self._burst -= 1
            with self.rings.spending():
                self.keeper.keep([*self.reader.watched()])
        if self._reads:
            begin = perf_counter()
            self.reader.keep()
            self._kept = perf_counter() - begin
            self.readings.charge(self._kept)

    def _post(self) -> None:
        """After a step: record, and where it is time look, read, judge and tell."""
        begin, spent = perf_counter(), self._spent
        self.clock.tick(begin)
        if self._burst and self._tapes:
            self._record()
            self.rings.took(perf_counter() - begin)
        if self._busy or self.history.step % LOOK == 0:
            self._end()
            self.rings.charge(perf_counter() - begin - (self._spent - spent))

    def _record(self) -> None:
        """Put the moments on the tape; where some of them do not lie open, gradients are kept from
        now on instead.
        """
        self._burst -= 1
        if self._burst == 0 and self.rings.allows(STEPS):
            self._burst = STEPS
        self._tapes = self.tape.keep(self.history.step)
        if not self._tapes:
            self._burst, self.history.rings = 0, {}

    @torch.no_grad()
    def _end(self) -> None:
        by = clipped(self.optimizer)
        self.keeper.multiply(by)
        if self._looks():
            with self.looks.spending():
                self.history.rings = self.tape.tracks
                self.history.shine(self.tape.look())
        if self._reads:
            self._reads = False
            begin = perf_counter()
            self.reader.read(by)
            self.judge.ask()
            self.readings.took(perf_counter() - begin, self._kept)

    def _looks(self) -> bool:
        """Whether to look at the tape: before each reading, and every few steps where that is
        cheap.
        """
        often = self.history.step % LOOK == 0 and self.tape.here and self.looks.allows()
        return self._tapes and (self._reads or often)

    @property
    def _spent(self) -> float:
        return self.readings.spent + self.looks.spent + self.rings.spent

    def _settle(self) -> None:
        """Go with the other processes if all of them watch; else tell by oneself, for the first may
        not be there.
        """
        together = self.ranks.settle()
        self._tapes = not (together and any(sharded(p) for _, p, _ in named(self.optimizer)))
        if not together and not self.ranks.first:
            self.sinks = Sinks(self._sinks())
            self.sinks.start(self._facts)

    def _agree(self) -> tuple[bool, bool]:
        """Whether to read, and to begin to keep gradients: as this process can, or all that go
        together.
        """
        step, every = self.history.step, self.every
        due = step == 1 or step % every == 0
        startled = self.history.startled
        if due and not self.ranks.together:
            self.losses.hand_on()
        self.history.startled = False
        if not self.ranks.together:
            reads = self.readings.allows() if due else startled and self.readings.lends(LENT)
            if reads and not due:
                self.history.chosen.append(step)
            return reads, not self._burst and self.rings.allows(STEPS)
        if not due:
            return False, False
        against = [not self.readings.allows(), not self.rings.allows(STEPS)]
        device = self.optimizer.param_groups[0]["params"][0].device
        reads, keeps = self.losses.agree(range(max(1, step - every + 1), step + 1), against, device)
        return reads, keeps and not self._burst

    def _lose(self, step: int, loss: float) -> None:
        self.history.lose(loss, step)
        self.sinks.loss(step, loss)
