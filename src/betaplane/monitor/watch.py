"""Watch a run: read Adam's state around its steps, name what goes wrong, say what would have averted it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any
from warnings import warn

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.monitor.alert import Alert
from betaplane.monitor.budget import Budget, Steps
from betaplane.monitor.counterfactual import replay
from betaplane.monitor.detectors import ALL, Detector, Finding
from betaplane.monitor.history import History, Rows
from betaplane.monitor.hooks import Hooks, clipped
from betaplane.monitor.keeper import STEPS, Keeper, Watched
from betaplane.monitor.look import Kept, kept, looked
from betaplane.monitor.losses import Losses, is_loss
from betaplane.monitor.ranks import Ranks, sharded
from betaplane.monitor.sharpness import Sharpness, sharpness
from betaplane.monitor.sinks import Console, JsonLines, Sink, Sinks, chosen, start_facts
from betaplane.monitor.sinks.choose import To
from betaplane.monitor.state import check, held, named, numbers, unwrapped
from betaplane.monitor.sweep import Taken, sweep
from betaplane.monitor.tape import Tape
from betaplane.monitor.totals import Total, totals

COORDINATES = 4096  # of a tensor that a reading looks at, at most
FEWEST = 64  # at least
TOGETHER = 32_768  # of all tensors, in between
SHARES = (0.25, 0.1, 0.25)  # of the budget, for readings, looks and the record; the rest for what is not seen from here
PAUSE = 16  # steps until it is asked again whether there is time to record
LOOK = 16  # steps of the tape that are looked at together
AGAIN = 1000  # steps before one cause is told again


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
        self.optimizer, self.every, self.names = optimizer, every, names
        self.ranks = Ranks(((name, p) for name, p, _ in named(optimizer, names)), every)
        self.sinks = Sinks(sinks() if self.ranks.first else [])
        self._sinks = sinks
        self.clock = Steps()
        self.readings, self.looks, self.rings = (Budget(share * budget, self.clock) for share in SHARES)
        self.history, self.tape = History(), Tape(optimizer, names)
        self._tapes, tensors = True, sum(len(group["params"]) for group in optimizer.param_groups)
        self._coordinates = min(COORDINATES, max(FEWEST, TOGETHER // tensors))
        self.alerts: list[Alert] = []
        self._told: dict[str, int] = {}
        self._kept: dict[str, Kept] = {}
        self._reads, self._busy, self._burst, self._opaque = False, False, 0, False
        self.keeper, self.losses = Keeper(optimizer, self.ranks, self.history), Losses(self.ranks, self._lose)
        self.hooks = Hooks(optimizer, self._pre, self._post)
        self._facts = start_facts(optimizer, every, budget, names)
        self.sinks.start(self._facts)

    def loss(self, value: float | Tensor) -> None:
        """Take the loss of a step, between `backward` and the optimizer's `step`.

        Args:
            value: a number or a tensor of one; causes that show in the loss are only named where it is given. What the
                closure of a step returns is taken by itself.
        """
        self.losses.take(self.history.step + 1, value)

    def report(self) -> str:
        """All alarms, the likeliest cause first; a sentence where there is none."""
        ranked = sorted(self.alerts, key=lambda alert: (alert.step, _ORDER[alert.cause]))
        return "\n".join(map(str, ranked)) or f"No alarm in {self.history.step} steps."

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
        return totals(self.history.last(), groups, decays)

    def sharpness(self, loss: Callable[[], Tensor], rounds: int = 20) -> Sharpness:
        """The curvature that Adam sees, over what it can stand; `betaplane.monitor.sharpness.sharpness` tells more.

        Args:
            loss: computes the loss, (), with its graph; called once.
            rounds: Hessian-vector products, >= 1.
        """
        return sharpness(self.optimizer, loss, rounds)

    def close(self) -> None:
        """Stop watching; the optimizer is as it was."""
        self.hooks.close()
        if not self.ranks.together:
            self.losses.hand_on()
        self.sinks.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pre(self, loss: Any) -> None:
        """Before a step, once its gradients are there: most steps ask for nothing here."""
        step = self.history.step = self.history.step + 1
        asks = not self._tapes or (step % PAUSE == 0 and not self._burst)
        self._busy = step % self.every == 0 or step == 1 or loss is not None or asks
        if self._busy:
            begin, spent = perf_counter(), self._spent
            self._ready(loss)
            self.rings.charge(perf_counter() - begin - (self._spent - spent))

    @torch.no_grad()
    def _ready(self, loss: Any) -> None:
        """Keep what the step may overwrite."""
        if is_loss(loss) and self.losses.last < self.history.step:
            self.losses.take(self.history.step, loss)
        if self.history.step == 1:
            self._settle()
        self._reads, keeps = self._agree()
        if self._burst == 0 and keeps:
            self._burst = STEPS
        if self._burst and not self._tapes:
            self._burst -= 1
            with self.rings.spending():
                self.keeper.keep([*self._watched()])
        if self._reads:
            with self.readings.spending():
                n = self._coordinates
                self._kept = {name: kept(self.optimizer, p, group, n, self.ranks) for name, p, group in self._watched()}

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
        """Put the moments on the tape; where some of them do not lie open, gradients are kept from now on instead."""
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
            with self.readings.spending():
                self._read(by)
                self._judge()

    def _looks(self) -> bool:
        """Whether to look at the tape: before each reading, and every few steps where that is cheap."""
        often = self.history.step % LOOK == 0 and self.tape.here and self.looks.allows()
        return self._tapes and (self._reads or often)

    @property
    def _spent(self) -> float:
        return self.readings.spent + self.looks.spent + self.rings.spent

    def _settle(self) -> None:
        """Go with the other processes if all of them watch; else tell by oneself, for the first may not be there."""
        together = self.ranks.settle()
        self._tapes = not (together and any(sharded(p) for _, p, _ in named(self.optimizer)))
        if not together and not self.ranks.first:
            self.sinks = Sinks(self._sinks())
            self.sinks.start(self._facts)

    def _agree(self) -> tuple[bool, bool]:
        """Whether to read, and to begin to keep gradients: as this process can, or all that go together."""
        step, every = self.history.step, self.every
        due = step == 1 or step % every == 0
        if not self.ranks.together:
            if due:
                self.losses.hand_on()
            return due and self.readings.allows(), not self._burst and self.rings.allows(STEPS)
        if not due:
            return False, False
        against = [not self.readings.allows(), not self.rings.allows(STEPS)]
        device = self.optimizer.param_groups[0]["params"][0].device
        reads, keeps = self.losses.agree(range(max(1, step - every + 1), step + 1), against, device)
        return reads, keeps and not self._burst

    def _lose(self, step: int, loss: float) -> None:
        self.history.lose(loss, step)
        self.sinks.loss(step, loss)

    def _watched(self) -> Iterable[Watched]:
        """The parameters that have a gradient; of one that is held in parts, another process may have it."""
        for name, p, group in named(self.optimizer, self.names):
            elsewhere = self.ranks.together and sharded(p)
            if p.grad is not None and p.grad.is_sparse:
                self._leave_out(f"gradients are sparse: {name}")
            elif p.numel() and (elsewhere or p.grad is not None):
                yield name, p, group

    def _read(self, by: float) -> None:
        """Every quantity of every tensor that was stepped, into the history and the sinks."""
        history, squares, taken = self.history, 0.0, []
        for name, p, group in named(self.optimizer, self.names):
            old = self._kept.get(name)
            if old is None:
                continue
            has = held(self.optimizer, p, group)
            if not has.readable and self.optimizer.state.get(p):
                self._leave_out(f"moments it cannot read: {name} ({has.kind})")
            now = numbers(group)
            look = looked(p, old, has, (now.beta1, now.beta2), self._coordinates, self.ranks)
            if not look.stepped:
                continue
            before = look.before._replace(g=look.before.g * by) if by != 1 else look.before
            taken.append(Taken(name, tuple(p.shape), now, before, look.x, look.m, look.v, look.t))
            if before.rows is not None:
                history.rows.setdefault(name, Rows(before.rows)).look(before.rows)
        for found in sweep(history.step, taken):
            history.take(found)
            squares += found.g_rms**2 * math.prod(found.shape)
        if now := history.now():
            self.sinks.readings([each._asdict() for each in now])
        history.norms.append((history.step, math.sqrt(squares)))

    def _leave_out(self, whose: str) -> None:
        """Tell once that there are tensors that nothing here can read."""
        if not self._opaque:
            self._opaque = True
            warn(f"watch leaves out tensors whose {whose}, and any like it", stacklevel=2)

    def _judge(self) -> None:
        """Ask every detector, and tell each cause once in a while."""
        for detector in ALL:
            told = self._told.get(detector.cause)
            if told is not None and self.history.step - told < AGAIN:
                continue
            finding = detector.find(self.history, detector.threshold)
            if finding is not None:
                self._told[detector.cause] = self.history.step
                self._tell(detector, finding)

    def _tell(self, detector: Detector, finding: Finding) -> None:
        replayed, row = self._replayed(finding.layer or self.history.loudest())
        alert = Alert(
            step=self.history.step,
            layer=finding.layer,
            cause=detector.cause,
            evidence=finding.evidence,
            why=detector.why,
            change=finding.change,
            averted=replayed,
            source=detector.source,
            remedy=finding.remedy,
            replayed=row,
        )
        self.alerts.append(alert)
        self.sinks.alert(alert)

    def _replayed(self, layer: str) -> tuple[str, dict[str, Any]]:
        """What a replay of a tensor's kept steps says, in words and as data; nothing where none are kept."""
        ring = self.history.rings.get(layer)
        past = ring.past() if ring is not None and ring.last == self.history.step else None
        found = replay(past) if past is not None else None
        if found is None:
            return "", {}
        return (str(found) if found.actual > 1 else ""), found.row(layer, self.history.step)


_ORDER = {detector.cause: i for i, detector in enumerate(ALL)}


def watch(
    optimizer: Optimizer,
    path: str | os.PathLike[str] | None = None,
    every: int = 10,
    budget: float = 0.02,
    console: bool = True,
    to: To = (),
    model: torch.nn.Module | None = None,
) -> Watcher:
    """Watch a torch optimizer that keeps Adam's moments: each alarm names step, layer, cause, evidence and remedy.

    Nothing that is trained is changed. Large tensors are read at up to 4,096 evenly spaced coordinates. Where several
    processes train one model, call it in each of them: they read at the same steps, figures are those of the whole
    tensors, and the first process tells.

    Args:
        optimizer: torch's, ours, or any other with exp_avg and exp_avg_sq in its state.
        path: a file of JSON lines for readings and alarms; None for none.
        every: steps from one reading to the next, >= 1.
        budget: the share of the run's time that watching may take, in (0, inf]; it measures itself and leaves readings
            out where they do not fit. inf for every one.
        console: whether alarms are written to standard error.
        to: "tensorboard", "wandb", "trackio", "mlflow", a Sink, or several of them.
        model: whose names the parameters are told by; the optimizer's own where None, or a parameter's place.

    Returns:
        A Watcher: `loss(value)` before each step, `alerts`, `report()`, `close()`.

    Raises:
        BadInput: for an optimizer without moments, a number out of range, a file that cannot be written, or a package
            that `to` needs and that is not installed.

    Source: each detector's own; see `betaplane.monitor.detectors.ALL`.

    Example:
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = torch.optim.Adam([p], betas=(0.9, 0.8))
        >>> with watch(optimizer, every=1, budget=float("inf"), console=False) as watcher:
        ...     p.square().sum().backward()
        ...     optimizer.step()
        >>> alert = watcher.alerts[0]
        >>> alert.cause, alert.change
        ('beta1^2 >= beta2', 'beta2=0.95, or beta1 < 0.8944')
    """
    optimizer = unwrapped(optimizer)
    check(optimizer)
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise BadInput("every is out of range", value=every, allowed="1, 2, 3, ...", where="watch", instead="every=10")
    if not budget > 0:
        raise BadInput("budget is out of range", value=budget, allowed="(0, inf]", where="watch", instead="budget=0.02")

    def sinks() -> list[Sink]:
        files: list[Sink] = [JsonLines(path)] if path is not None else []
        shown: list[Sink] = [Console()] if console else []
        return [*shown, *files, *chosen(to)]

    names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()} if model is not None else {}
    return Watcher(optimizer, every, budget, sinks, names)


__all__ = ["Watcher", "watch"]
