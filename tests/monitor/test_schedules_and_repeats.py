"""Causes that schedules, clipping, decay and repetition show, in small training runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from betaplane.monitor import Watcher, watch
from betaplane.monitor.capture.weight_sample import WeightSample
from betaplane.monitor.lr_history import LrHistory
from betaplane.monitor.weight_history import STEPS_REMEMBERED, WeightHistory

Optimizer = torch.optim.Optimizer


class Run:
    """A watched regression; its parts can be replaced, and `before` runs before each step."""

    def __init__(
        self, make: Callable[..., Optimizer] = torch.optim.AdamW, **options: float
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
        self.optimizer = make(self.model.parameters(), **{"lr": 1e-2, **options})
        self.true = torch.randn(8, 1)
        self.before: Callable[[int], None] = lambda step: None
        self.batch: Callable[[int], Tensor] = lambda step: torch.randn(32, 8)
        self.clip = math.inf

    def train(self, steps: int) -> Watcher:
        with watch(self.optimizer, console=False, every=5, budget=math.inf) as watcher:
            for step in range(1, steps + 1):
                self.before(step)
                x = self.batch(step)
                self.optimizer.zero_grad()
                loss = (self.model(x) - torch.sin(2 * x @ self.true)).square().mean()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
                watcher.loss(loss)
                self.optimizer.step()
        return watcher


def causes(watcher: Watcher) -> set[str]:
    return {alert.cause for alert in watcher.alerts}


def set_lr(run: Run, lr_at: Callable[[int], float]) -> None:
    def before(step: int) -> None:
        run.optimizer.param_groups[0]["lr"] = lr_at(step)

    run.before = before


def test_learning_rate_that_is_raised_too_far_is_named_with_the_better_one():
    run = Run()
    set_lr(run, lambda step: 1e-2 if step <= 200 else 3.0)
    alerts = {alert.cause: alert for alert in run.train(320).alerts}
    assert alerts["learning rate raised too far"].remedy == {"lr": 0.01}
    assert alerts["learning rate raised too far"].step > 200


@pytest.mark.parametrize(
    "lr_at",
    [
        lambda step: 1e-2 * min(1.0, step / 100),
        lambda step: 1e-2 * (0.51 + 0.49 * math.cos(math.pi * (step % 80) / 80)),
        lambda step: 1e-2 if step <= 150 else 3e-2,
    ],
    ids=["warmup", "restarts", "a third step"],
)
def test_schedules_that_raise_the_learning_rate_are_not_faults(lr_at: Callable[[int], float]):
    run = Run()
    set_lr(run, lr_at)
    assert causes(run.train(320)) == set()


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_ended_schedule_is_named_for_any_optimizer(make: Callable[..., Optimizer]):
    run = Run(make)
    set_lr(run, lambda step: 1e-2 * 0.1 ** (step // 20))
    assert "learning rate near zero" in causes(run.train(200))


def test_lr_history_knows_the_lr_of_a_step_within_a_tenth():
    lrs = LrHistory()
    assert (math.isnan(lrs.at(1)), lrs.last_step_above(0.0), lrs.was_raised(0)) == (True, 0, False)
    for step in range(1, 1001):
        lrs.add(step, 1e-3 * step)
    lrs.add(1001, math.nan)
    assert len(lrs.changes) < 80
    for step in (1, 10, 77, 500, 1000):
        assert lrs.at(step) == pytest.approx(1e-3 * step, rel=0.1)
    assert (lrs.last, lrs.last_step, lrs.was_raised(400), lrs.was_raised(600)) == (
        1.0,
        1000,
        True,
        False,
    )
    lrs.add(1002, 0.0)
    lrs.add(1003, 1.1)
    assert not lrs.was_raised(600)  # 0 is no learning rate


def test_weights_that_are_restored_again_and_again_are_named():
    run = Run()
    saved = copy.deepcopy(run.model.state_dict())

    def reload(step: int) -> None:
        if step % 20 == 1:
            run.model.load_state_dict(saved)

    run.before = reload
    alert = min(run.train(100).alerts, key=lambda alert: alert.step)
    assert (alert.step, alert.cause) == (41, "weights restored repeatedly")
    assert "before steps 1, 21, 41," in alert.evidence


def test_one_return_and_averages_for_evaluation_are_not_faults():
    run = Run()
    saved = copy.deepcopy(run.model.state_dict())

    def swap(step: int) -> None:
        if step == 60:
            saved.update(copy.deepcopy(run.model.state_dict()))
        if step == 90:
            run.model.load_state_dict(saved)
        if step % 25 == 0:
            now = copy.deepcopy(run.model.state_dict())
            run.model.load_state_dict({key: value / 2 for key, value in now.items()})
            run.model.load_state_dict(now)

    run.before = swap
    assert causes(run.train(200)) == set()


def test_weights_that_nothing_changes_did_not_return():
    """Clamping weights in every step, while the learning rate is 0, changes nothing."""
    run = Run(torch.optim.SGD, lr=0.0)

    def clamp(step: int) -> None:
        with torch.no_grad():
            for p in run.model.parameters():
                p.clamp_(-10, 10)

    run.before = clamp
    assert "weights restored repeatedly" not in causes(run.train(60))


def test_weights_are_sampled_also_after_their_data_is_replaced():
    weight, bias = nn.Parameter(torch.arange(12.0).view(3, 4)), nn.Parameter(torch.ones(2))
    sample = WeightSample(
        [weight, bias, nn.Parameter(torch.ones(3, dtype=torch.bfloat16))], WeightHistory()
    )
    first = sample.read()
    assert sorted(torch.frombuffer(bytearray(first), dtype=torch.float32).tolist()) == [
        0.0, 1.0, 1.0, 3.0, 6.0, 9.0,
    ]  # fmt: skip
    weight.data = weight.data + 1
    assert sample.read() != first
    weight.data = torch.arange(12.0).view(4, 3).T.contiguous().T  # cannot be viewed as a vector
    assert len(sample.read()) == 8
    assert WeightSample([], WeightHistory()).read() == b""


def test_weight_history_forgets_old_steps_and_ignores_short_cycles():
    weights = WeightHistory()
    for step in range(1, 31):
        weights.add(step, b"ab"[step % 2 :][:1])
    assert weights.returns[1] - weights.returns[0] >= 4
    weights = WeightHistory()
    for step in range(3 * STEPS_REMEMBERED):
        weights.add(step, str(step % (STEPS_REMEMBERED + 1)).encode())
    assert weights.returns == []
    assert len(weights.hashes) == STEPS_REMEMBERED


def test_clipping_that_stops_sgd_is_named():
    run = Run(torch.optim.SGD)
    run.clip = 1e-4
    assert causes(run.train(160)) == {"gradients clipped too much"}


@pytest.mark.parametrize(("make", "clip"), [(torch.optim.SGD, 0.5), (torch.optim.AdamW, 1e-4)])
def test_clipping_at_every_step_is_no_fault_if_the_loss_falls(
    make: Callable[..., Optimizer], clip: float
):
    run = Run(make, lr=0.1 if make is torch.optim.SGD else 1e-2)
    run.clip = clip
    assert causes(run.train(300)) == set()


def test_minibatch_that_no_longer_changes_is_named():
    run = Run(lr=1e-3)
    fixed = torch.randn(32, 8)
    run.batch = lambda step: torch.randn(32, 8) if step <= 60 else fixed
    watcher = run.train(240)
    assert "same data at every step" in causes(watcher)
    assert min(alert.step for alert in watcher.alerts) > 60


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_full_batch_is_no_fault(make: Callable[..., Optimizer]):
    run = Run(make, lr=1e-3 if make is torch.optim.AdamW else 0.05)
    fixed = torch.randn(256, 8)
    run.batch = lambda step: fixed
    assert causes(run.train(240)) == set()


def test_decay_that_lets_nothing_be_learned_is_named():
    assert "weight decay too strong" in causes(Run(lr=2e-3, weight_decay=10.0).train(260))


def test_weights_that_a_penalty_removes_are_named():
    watcher = Run(torch.optim.Adam, weight_decay=1.0).train(260)
    assert "weights vanish" in causes(watcher)


def test_frozen_parameters_are_noted():
    run = Run()
    assert "Note" not in run.train(3).report()
    run.model[0].requires_grad_(False)
    report = run.train(3).report()
    assert "Note: 2 parameters of the optimizer, 90% of its elements, require no gradient" in report
