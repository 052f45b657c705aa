"""Watch a run: read Adam's state around its steps, name what goes wrong, say what would have averted it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.monitor.alert import Alert
from betaplane.monitor.budget import Budget
from betaplane.monitor.counterfactual import replay
from betaplane.monitor.detectors import ALL, Detector, Finding
from betaplane.monitor.history import History, Rows, Swing
from betaplane.monitor.quantities import cosine
from betaplane.monitor.reading import Before, read
from betaplane.monitor.ring import Ring
from betaplane.monitor.sample import strided, touched_rows
from betaplane.monitor.sinks import Console, JsonLines, Sink, Sinks, chosen, start_facts
from betaplane.monitor.sinks.choose import To
from betaplane.monitor.state import check, held, local, named, numbers

COORDINATES = 65_536  # of a tensor that a reading looks at
SAMPLE = 64  # of a tensor in the ring
STEPS = 64  # in the ring
AGAIN = 1000  # steps before one cause is told again


class Watcher:
    """What `watch` returns: the alarms of a run so far; a context manager.

    Args:
        optimizer: what is watched.
        every: steps from one reading to the next.
        budget: share of the run's time.
        sinks: where alarms and readings go.
    """

    def __init__(self, optimizer: Optimizer, every: int, budget: float, sinks: list[Sink]) -> None:
        self.optimizer, self.every, self.sinks = optimizer, every, Sinks(sinks)
        self.readings, self.rings, self.history = Budget(budget / 2), Budget(budget / 2), History()
        self.alerts: list[Alert] = []
        self._told: dict[str, int] = {}
        self._before: dict[str, Before] = {}
        self._last: Tensor | None = None
        self._last_step, self._reads, self._burst = 0, False, 0
        before, after = optimizer.register_step_pre_hook(self._pre), optimizer.register_step_post_hook(self._post)
        self._hooks = [before, after]
        self.sinks.start(start_facts(optimizer, every, budget))

    def loss(self, value: float | Tensor) -> None:
        """Take the loss of a step, between `backward` and the optimizer's `step`.

        Args:
            value: a number or a tensor of one; causes that show in the loss are only named where it is given.
        """
        number = float(value.detach() if isinstance(value, Tensor) else value)
        self.history.lose(number)
        self.sinks.loss(self.history.step + 1, number)

    def report(self) -> str:
        """All alarms, the likeliest cause first; a sentence where there is none."""
        ranked = sorted(self.alerts, key=lambda alert: (alert.step, _ORDER[alert.cause]))
        return "\n".join(map(str, ranked)) or f"No alarm in {self.history.step} steps."

    @property
    def cost(self) -> float:
        """Watching's share of the time since it began."""
        return (self.readings.spent + self.rings.spent) / max(self.readings.elapsed, 1e-9)

    def close(self) -> None:
        """Stop watching; the optimizer is as it was."""
        for hook in self._hooks:
            hook.remove()
        self.sinks.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @torch.no_grad()
    def _pre(self, *_: Any) -> None:
        """Before a step: keep what the step may overwrite."""
        self.history.step += 1
        due = self.history.step == 1 or self.history.step % self.every == 0
        self._reads = due and self.readings.allows()
        if self._burst or self.rings.allows(STEPS):
            self._burst = (self._burst or STEPS) - 1
            with self.rings.spending():
                self._keep()
        if self._reads:
            with self.readings.spending():
                self._before = {name: self._kept(p, group) for name, p, group in self._watched()}

    @torch.no_grad()
    def _post(self, *_: Any) -> None:
        """After a step: read, judge, tell."""
        if self._reads:
            with self.readings.spending():
                self._read()
                self._judge()

    def _watched(self) -> Iterable[tuple[str, Tensor, Any]]:
        for name, p, group in named(self.optimizer):
            if p.grad is not None and not p.grad.is_sparse and p.numel():
                yield name, p, group

    def _kept(self, p: Tensor, group: Any) -> Before:
        has = held(self.optimizer, p, group)
        v = strided(has.v, COORDINATES).clone() if has.readable and has.v is not None else None
        g = local(p.grad)
        return Before(strided(g, COORDINATES).clone(), v, has.t, touched_rows(g), has.rounds_at_random)

    def _keep(self) -> None:
        """Put this step's gradients into the rings, and correlate them with the last step's."""
        history, found = self.history, []
        for name, p, group in self._watched():
            g = strided(local(p.grad), SAMPLE).float().clone()
            found.append(g)
            ring = history.rings.setdefault(name, Ring(STEPS))
            ring.keep(history.step, g, self._start(ring, p, group, g), numbers(group))
        flat = torch.cat(found) if found else torch.zeros(0)
        if self._last is not None and self._last_step == history.step - 1 and self._last.shape == flat.shape:
            history.swings.append(Swing(history.step, cosine(flat, self._last), float(flat.norm())))
        self._last, self._last_step = flat, history.step

    def _start(self, ring: Ring, p: Tensor, group: Any, g: Tensor) -> tuple[Tensor, Tensor, float]:
        """The moments that a ring starts from; what it holds already where it goes on."""
        if ring.last == self.history.step - 1 and ring.gradients and ring.numbers[1:3] == numbers(group)[1:3]:
            return ring.m, ring.v, ring.t
        has = held(self.optimizer, p, group)
        if not has.readable or has.m is None or has.v is None:
            return torch.zeros_like(g), torch.zeros_like(g), 0.0
        return strided(has.m, SAMPLE).float().clone(), strided(has.v, SAMPLE).float().clone(), has.t

    def _read(self) -> None:
        """Every quantity of every tensor, into the history and the sinks."""
        history, squares = self.history, 0.0
        for name, p, group in named(self.optimizer):
            has = held(self.optimizer, p, group)
            before = self._before.get(name)
            if before is None or has.m is None or has.v is None or not has.readable:
                continue
            x, m, v = (strided(each, COORDINATES) for each in (local(p), has.m, has.v))
            found = read(name, history.step, tuple(p.shape), numbers(group), before, x, m, v, has.t)
            history.take(found)
            if before.rows is not None:
                history.rows.setdefault(name, Rows(before.rows)).look(before.rows)
            squares += found.g_rms**2 * p.numel()
        if now := history.now():
            self.sinks.readings([each._asdict() for each in now])
        history.norms.append((history.step, math.sqrt(squares)))

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
) -> Watcher:
    """Watch a torch optimizer that keeps Adam's moments: each alarm names step, layer, cause, evidence and remedy.

    Nothing that is trained is changed. Large tensors are read at 65,536 evenly spaced coordinates; where several
    processes train, each watches its own part.

    Args:
        optimizer: torch's, ours, or any other with exp_avg and exp_avg_sq in its state.
        path: a file of JSON lines for readings and alarms; None for none.
        every: steps from one reading to the next, >= 1.
        budget: the share of the run's time that watching may take, in (0, inf]; it measures itself and leaves readings
            out where they do not fit. inf for every one.
        console: whether alarms are written to standard error.
        to: "tensorboard", "wandb", "trackio", "mlflow", a Sink, or several of them.

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
    check(optimizer)
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise BadInput("every is out of range", value=every, allowed="1, 2, 3, ...", where="watch", instead="every=10")
    if not budget > 0:
        raise BadInput("budget is out of range", value=budget, allowed="(0, inf]", where="watch", instead="budget=0.02")
    files: list[Sink] = [JsonLines(path)] if path is not None else []
    shown: list[Sink] = [Console()] if console else []
    return Watcher(optimizer, every, budget, [*shown, *files, *chosen(to)])


__all__ = ["Watcher", "watch"]
