"""Whether the remedies that `watch` names work: on fresh seeds, with and without them.

`python -m benchmarks.remedies [SEEDS]`, about six minutes. A run with a planted fault is watched
until its end. The first alert whose remedy is a setting that a machine can apply (`Alert.remedy`)
is applied to a fresh seed of the same run, and the final loss is compared with those of the same
seed without the remedy and without the fault.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Adam, AdamW

import betaplane
from benchmarks.checkpoints import tasks

STEPS = 300
FINAL_LOSSES = 40  # their mean is the final loss
CLOSE = 7 / 6  # of the loss of the sound run
WORSE = 1.05  # times the loss without the remedy
OWN_OPTIONS = ("clip", "storage", "nonfinite")  # that torch's optimizers do not have
FRESH = 1000  # added to the seed


class Fault(NamedTuple):
    """A planted fault.

    Args:
        settings: of the faulty optimizer, other than the sound one's.
        lr: factor of lr by step; its schedule.
        gradients: changes the gradients of a step.
        state: changes the optimizer's state before a step.
        loss: factor of the loss by step.
    """

    settings: Mapping[str, Any] = {}
    lr: Callable[[int], float] = lambda step: 1.0
    gradients: Callable[[int, nn.Module], None] = lambda step, model: None
    state: Callable[[int, torch.optim.Optimizer], None] = lambda step, optimizer: None
    loss: Callable[[int], float] = lambda step: 1.0


SOUND = Fault()
LR = {
    tasks.classifier: 3e-3,
    tasks.regression: 3e-3,
    tasks.images: 3e-3,
    tasks.language: 1e-2,
    tasks.recommender: 1e-2,
}


def one_step(at: int, factor: float) -> Callable[[int], float]:
    """A factor at one step."""
    return lambda step: factor if step == at else 1.0


def nan_gradient(step: int, model: nn.Module) -> None:
    """One element of a gradient becomes NaN."""
    gradient = next(p.grad for p in model.parameters() if p.grad is not None)
    if step == 150:
        gradient.view(-1)[0] = math.nan


def reset_count(step: int, optimizer: torch.optim.Optimizer) -> None:
    """The moments are restored, and the step count is not."""
    if step == 150:
        for state in optimizer.state.values():
            state["step"].zero_()


def lose_moments(step: int, optimizer: torch.optim.Optimizer) -> None:
    """The step count is restored, and the moments are not."""
    if step == 150:
        for state in optimizer.state.values():
            state["exp_avg"].zero_()
            state["exp_avg_sq"].zero_()


FAULTS = {
    "lr 30 times larger": Fault({"lr": 30.0}),
    "lr 300 times larger": Fault({"lr": 300.0}),
    "lr raised 100 times at step 150": Fault(lr=lambda step: 100.0 if step >= 150 else 1.0),
    "lr 3,000 times smaller": Fault({"lr": 1 / 3000}),
    "lr near 0 from step 60": Fault(lr=lambda step: 1e-4 if step >= 60 else 1.0),
    "betas (0.95, 0.85)": Fault({"betas": (0.95, 0.85)}),
    "betas (0.999, 0.9)": Fault({"betas": (0.999, 0.9)}),
    "eps 0.1": Fault({"eps": 0.1}),
    "decay of 5% per step": Fault({"weight_decay": 0.05}),
    "loss 1e6 times larger at step 200": Fault(loss=one_step(200, 1e6)),
    "loss 1e6 times larger at step 20": Fault(loss=one_step(20, 1e6)),
    "NaN in a gradient": Fault(gradients=nan_gradient),
    "count reset": Fault(state=reset_count),
    "moments lost": Fault(state=lose_moments),
}


class Run:
    """One training run: a task, a fault, and the remedy of an alert."""

    def __init__(
        self, make: Any, fault: Fault, seed: int, alert: betaplane.Alert | None = None
    ) -> None:
        torch.manual_seed(seed)
        self.task, self.fault, self.alert = make(1), fault, alert
        self.remedy: Mapping[str, Any] = alert.remedy if alert else {}
        self.lr = LR[make] * fault.settings.get("lr", 1.0)
        self.optimizer = self._optimizer()
        self.losses: list[float] = []

    def _optimizer(self) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
        options |= {**self.fault.settings, "lr": self.lr}
        if "weight_decay" in self.fault.settings:
            options["weight_decay"] = self.fault.settings["weight_decay"] / self.lr
        names = ("eps", "weight_decay", *OWN_OPTIONS)
        options |= {name: self.remedy[name] for name in names if name in self.remedy}
        betas = enumerate(options["betas"], start=1)
        options["betas"] = tuple(self.remedy.get(f"beta{i}", beta) for i, beta in betas)
        own = any(name in self.remedy for name in OWN_OPTIONS)
        kind: Any = betaplane.AdamW if own else AdamW if options["weight_decay"] else Adam
        return kind(self.task.model.parameters(), **options)

    def train(self) -> float:
        """Train; returns the final loss, infinite if it is not finite."""
        for step in range(1, STEPS + 1):
            self.step(step)
        final = fmean(self.losses[-FINAL_LOSSES:])
        return final if math.isfinite(final) else math.inf

    def step(self, step: int, receive: Callable[[Any], None] = lambda loss: None) -> None:
        """Take one step; `receive(loss)` is called before the optimizer's."""
        self.optimizer.param_groups[0]["lr"] = self._lr(step)
        self.optimizer.zero_grad()
        loss = self.task.batch(self.task.model) * self.fault.loss(step)
        loss.backward()
        self.losses.append(loss.item())
        self.fault.gradients(step, self.task.model)
        self.fault.state(step, self.optimizer)
        if self.remedy.get("max_norm"):
            torch.nn.utils.clip_grad_norm_(self.task.model.parameters(), self.remedy["max_norm"])
        if "step" in self.remedy and self.alert and step == self.alert.step:
            for state in self.optimizer.state.values():
                state["step"].fill_(self.remedy["step"])
        receive(loss)
        if self.remedy.get("skip") != step:
            self.optimizer.step()

    def _lr(self, step: int) -> float:
        lr = self.lr * self.fault.lr(step)
        if "warmup" in self.remedy:
            lr *= min(1.0, step / self.remedy["warmup"])
        return self.remedy.get("lr", lr)


def alert_of(make: Any, fault: Fault, seed: int) -> betaplane.Alert | None:
    """The first alert with a remedy that can be applied, of a run with every step read."""
    run = Run(make, fault, seed)
    options = {"budget": math.inf, "console": False, "model": run.task.model}
    with betaplane.watch(run.optimizer, **options) as watcher:
        for step in range(1, STEPS + 1):
            run.step(step, watcher.loss)
    applicable = {"reinitialise", "decay"}
    usable = [x for x in watcher.alerts if x.remedy and applicable.isdisjoint(x.remedy)]
    return usable[0] if usable else None


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    outcomes = []
    for name, fault in FAULTS.items():
        for make in LR:
            for seed in range(int(arguments[0]) if arguments else 1):
                if outcome := judged(name, fault, make, seed):
                    outcomes.append(outcome)
    close, no_worse = (sum(outcome[i] for outcome in outcomes) for i in (0, 1))
    print(f"{close} of {len(outcomes)} remedies bring the loss within a seventh of the sound run's")
    print(f"{len(outcomes) - no_worse} of {len(outcomes)} make it worse")


def judged(name: str, fault: Fault, make: Any, seed: int) -> tuple[bool, bool] | None:
    """Whether the remedy brings the loss close to the sound run's, and makes it no worse.

    Returns:
        None if no alert names a remedy that can be applied, or if the fault costs nothing.
    """
    alert = alert_of(make, fault, seed)
    fresh = FRESH + seed
    sound, faulty = (Run(make, each, fresh).train() for each in (SOUND, fault))
    place = f"{name}, {make.__name__}, seed {seed}"
    if alert is None:
        print(f"  no remedy: {place}: sound {sound:.3g}, faulty {faulty:.3g}", flush=True)
        return None
    remedied = Run(make, fault, fresh, alert).train()
    close = remedied <= CLOSE * sound
    no_worse = remedied <= WORSE * max(faulty, sound)
    remark = "" if close and no_worse else "MISS" if no_worse else "WORSE"
    figures = f"sound {sound:.3g}, faulty {faulty:.3g}, remedied {remedied:.3g}"
    print(f"  {remark or 'good'}: {place}: {alert.cause} {alert.remedy}: {figures}", flush=True)
    return close, no_worse


if __name__ == "__main__":
    main(sys.argv[1:])
