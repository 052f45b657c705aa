"""Causes that appear between two readings, and runs that only resemble a cause."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from betaplane.monitor import Watcher, watch
from betaplane.monitor.loss_history import LOSSES_REMEMBERED
from betaplane.monitor.quantities.reading_buffer import ReadingBuffer

Before = Callable[[int, torch.optim.Optimizer], None]


def nothing(step: int, optimizer: torch.optim.Optimizer) -> None:
    """Change nothing."""


def regression(
    steps: int,
    before: Before = nothing,
    feed: Callable[[int, Tensor], Tensor] = lambda step, x: x,
    every: int = 10,
    budget: float = math.inf,
    tell: bool = True,
    **options,
) -> Watcher:
    """A linear map learned from batches of 32, watched every tenth step."""
    torch.manual_seed(0)
    model, true = nn.Linear(16, 4), torch.randn(16, 4)
    optimizer = torch.optim.AdamW(
        model.parameters(), **{"lr": 1e-2, "weight_decay": 0.0, **options}
    )
    with watch(optimizer, every=every, budget=budget, console=False, model=model) as watcher:
        for step in range(1, steps + 1):
            before(step, optimizer)
            x = torch.randn(32, 16)
            loss = (model(feed(step, x)) - x @ true - 0.5 * torch.randn(32, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            if tell:
                watcher.loss(loss)
            optimizer.step()
    return watcher


def causes(watcher: Watcher) -> list[tuple[int, str]]:
    return [(alert.step, alert.cause) for alert in watcher.alerts]


@pytest.mark.parametrize("at", [640, 641, 645, 649])
def test_data_change_is_reported_at_its_step_with_any_schedule(at: int):
    watcher = regression(700, feed=lambda step, x: 12 * x if step == at else x)
    assert causes(watcher)[0] == (at, "sudden data change")


def test_data_change_is_read_although_the_budget_is_used_up():
    watcher = regression(645, feed=lambda step, x: 12 * x if step == 641 else x, budget=1e-9)
    assert {
        reading.step for readings in watcher.history.readings.values() for reading in readings
    } == {1, 641}


def test_without_losses_only_scheduled_steps_are_read():
    watcher = regression(655, feed=lambda step, x: 12 * x if step == 641 else x, tell=False)
    assert {step for step, _ in watcher.history.readings.gradient_norms} == {
        10 * i for i in range(2, 66)
    }


def test_raised_lr_is_reported_before_the_loss_exceeds_its_start():
    def raised(step: int, optimizer: torch.optim.Optimizer) -> None:
        optimizer.param_groups[0]["lr"] = 1e-2 if step < 1001 else 3.0

    watcher = regression(1100, raised)
    alert = watcher.alerts[0]
    assert (alert.step, alert.cause) == (1004, "learning rate too large")
    assert watcher.history.losses.first > 10
    assert "before lr was raised" in alert.evidence


def test_emptied_moments_are_reported_although_the_count_continues():
    def emptied(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 504:
            for param_state in optimizer.state.values():
                param_state["exp_avg"].zero_(), param_state["exp_avg_sq"].zero_()

    watcher = regression(520, emptied, tell=False)
    assert causes(watcher)[0] == (510, "step count wrong")
    assert "while the count continued to 510" in watcher.alerts[0].evidence


def state_changed(
    at: int, change: Callable[[dict[str, Any]], object], first_only: bool = False
) -> Callable:
    """A change of the optimizer state of every tensor, or of the first."""

    def act(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == at:
            for param_state in [*optimizer.state.values()][: 1 if first_only else None]:
                change(param_state)

    return act


def zero_v(param_state: dict[str, Any]) -> None:
    param_state["exp_avg_sq"].zero_()


def zero_both(param_state: dict[str, Any]) -> None:
    param_state["exp_avg"].zero_(), param_state["exp_avg_sq"].zero_()


def scaled(name: str, by: float) -> Callable[[dict[str, Any]], object]:
    return lambda param_state: param_state[name].mul_(by)


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("at", [101, 104])
@pytest.mark.parametrize(
    ("change", "first_only", "cause"),
    [
        (zero_v, False, "step count wrong"),
        (zero_v, True, "optimizer state changed"),
        (zero_both, True, "optimizer state changed"),
        (scaled("exp_avg_sq", 1e-4), False, "step count wrong"),
        (scaled("exp_avg_sq", 1e-4), True, "optimizer state changed"),
    ],
)
def test_damaged_second_moment_is_a_changed_state(every, at, change, first_only, cause):
    watcher = regression(at + 40, state_changed(at, change, first_only), every=every)
    step, first = causes(watcher)[0]
    assert first == cause
    assert at <= step <= at + 10
    follow = ("sudden data change", "stale second moment", "learning rate too large")
    assert not [each for each in causes(watcher) if each[1] in follow]


@pytest.mark.parametrize(("name", "by"), [("exp_avg_sq", 100.0), ("exp_avg", 1000.0)])
def test_scaled_moment_is_found_at_the_next_step(name: str, by: float):
    watcher = regression(140, state_changed(104, scaled(name, by)), every=1)
    assert causes(watcher)[0] == (104, "optimizer state changed")


def test_older_state_with_its_count_raises_no_alert():
    kept: dict[int, dict[str, torch.Tensor]] = {}

    def restored(step: int, optimizer: torch.optim.Optimizer) -> None:
        for i, param_state in enumerate(optimizer.state.values()):
            if step == 50:
                kept[i] = {name: value.clone() for name, value in param_state.items()}
            if step == 104:
                for name, value in kept[i].items():
                    param_state[name].copy_(value)

    assert causes(regression(160, restored, every=1)) == []


def test_count_that_restarts_is_reported():
    def restarted(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 504:
            for param_state in optimizer.state.values():
                param_state["step"].zero_()

    watcher = regression(520, restarted, tell=False)
    assert causes(watcher)[0] == (510, "step count wrong")
    assert "the count fell from 500 to 7" in watcher.alerts[0].evidence
    assert watcher.alerts[0].remedy == {"step": 509}


def count_moved(at: int, to: float, first_only: bool = False) -> Callable:
    """Set the count without changing the moments."""

    def move(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == at:
            for param_state in [*optimizer.state.values()][: 1 if first_only else None]:
                param_state["step"].fill_(to)

    return move


@pytest.mark.parametrize(
    ("at", "to"), [(12, 1000.0), (24, 1e4), (44, 1e6), (305, 8000.0), (304, 20.0)]
)
def test_count_that_does_not_match_its_moments_is_reported(at: int, to: float):
    watcher = regression(at + 60, count_moved(at, to), tell=False)
    step = at + 10 - at % 10
    assert causes(watcher)[0] == (step, "step count wrong")
    assert watcher.alerts[0].remedy == {"step": step - 1}
    assert watcher.alerts[0].layer == ""
    assert f"v_hat is too {'small' if to > at else 'large'}" in watcher.alerts[0].evidence


def test_wrong_count_of_one_tensor_names_it():
    alert = regression(60, count_moved(24, 1e4, first_only=True), tell=False).alerts[0]
    assert (alert.step, alert.cause) == (30, "step count wrong")
    assert alert.layer


@pytest.mark.parametrize("to", [3000.0, 2e5])
def test_count_jump_without_effect_raises_no_alert(to: float):
    assert causes(regression(2560, count_moved(2504, to), tell=False)) == []


def test_later_checkpoint_raises_no_alert():
    from copy import deepcopy

    later: list = []

    def kept(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 800:
            weights = [p.detach().clone() for p in optimizer.param_groups[0]["params"]]
            later.append((weights, deepcopy(optimizer.state_dict())))

    def loaded(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 24:
            optimizer.load_state_dict(later[0][1])
            with torch.no_grad():
                for p, weights in zip(
                    optimizer.param_groups[0]["params"], later[0][0], strict=True
                ):
                    p.copy_(weights)

    regression(801, kept)
    assert "step count wrong" not in [
        cause for _, cause in causes(regression(120, loaded, tell=False))
    ]


def test_reset_of_moments_and_count_raises_no_alert():
    def anew(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 504:
            optimizer.state.clear()

    assert causes(regression(600, anew, tell=False)) == []


def test_older_checkpoint_raises_no_alert():
    kept: list[dict] = []

    def back(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 404:
            kept.append(
                {
                    i: {k: x.clone() for k, x in param_state.items()}
                    for i, param_state in enumerate(optimizer.state.values())
                }
            )
        if step == 504:
            for param_state, old in zip(optimizer.state.values(), kept[0].values(), strict=True):
                for key, x in old.items():
                    param_state[key].copy_(x)

    assert causes(regression(600, back, tell=False)) == []


def frozen(optimizer_of: Callable, steps: int, silent_from: int) -> Watcher:
    """A first layer whose gradient is exactly 0 from some step on."""
    torch.manual_seed(0)
    model, true = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4)), torch.randn(16, 4)
    optimizer = optimizer_of(model.parameters())
    with watch(optimizer, every=2, budget=math.inf, console=False, model=model) as watcher:
        for step in range(steps):
            x = torch.randn(32, 16)
            loss = (model(x) - x @ true).square().mean()
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            if step >= silent_from:
                model[0].weight.grad.zero_(), model[0].bias.grad.zero_()
            watcher.loss(loss)
            optimizer.step()
    return watcher


def test_frozen_layer_is_neither_dead_nor_below_eps():
    watcher = frozen(lambda p: torch.optim.Adam(p, 1e-2, betas=(0.8, 0.9)), 600, 150)
    assert (
        next(reading.root_rms for reading in watcher.history.readings.latest()) < 1e-8
    )  # v faded below eps
    assert [cause for _, cause in causes(watcher)] == ["no gradient"]


@pytest.mark.parametrize(("decay", "alarms"), [("none", 0), ("constant", 1), ("with lr", 0)])
def test_drift_needs_decay_that_does_not_fall_with_lr(decay: str, alarms: int):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64, bias=False), nn.BatchNorm1d(64), nn.Linear(64, 4))
    size = {"none": 0.0, "constant": 1.0, "with lr": 1.0}[decay]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=size)
    true, steps = torch.randn(16, 4), 1500
    with watch(optimizer, budget=math.inf, console=False, model=model) as watcher:
        for step in range(steps):
            share = 1 - step / steps
            optimizer.param_groups[0]["lr"] = 1e-2 * share
            optimizer.param_groups[0]["weight_decay"] = size * (
                share if decay == "with lr" else 1.0
            )
            x = torch.randn(32, 16)
            optimizer.zero_grad()
            (model(x) - x @ true).square().mean().backward()
            optimizer.step()
    drift = [cause for _, cause in causes(watcher) if cause == "weight norm drift"]
    assert bool(drift) == bool(alarms)


def test_falling_loss_is_no_short_warmup():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), torch.randn(4096, 64)
    y = torch.where(torch.rand(4096) < 0.6, torch.randint(10, (4096,)), x[:, :10].argmax(1))
    nn.init.normal_(model[2].weight, std=0.01), nn.init.zeros_(model[2].bias)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with watch(optimizer, budget=math.inf, console=False, model=model) as watcher:
        for _ in range(120):
            batch = torch.randint(4096, (256,))
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    assert watcher.history.losses.recent_median > 0.8 * watcher.history.losses.first
    assert causes(watcher) == []


def test_report_without_alerts_counts_the_readings():
    report = regression(100, every=25, tell=False).report()
    assert report == "No alert in 100 steps, 5 of them read. Not judged: losses, none was given."


def test_closure_adds_no_work_per_step():
    def taken(loss_of: Callable) -> int:
        p = nn.Parameter(torch.ones(4))
        optimizer = torch.optim.Adam([p])
        looks = 0
        with watch(optimizer, every=50, budget=math.inf, console=False) as watcher:
            real = watcher._read_and_look

            def counted() -> None:
                nonlocal looks
                looks += 1
                real()

            watcher._read_and_look = counted  # type: ignore[method-assign]

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = p.square().sum()
                loss.backward()
                return loss

            for _ in range(100):
                loss_of(optimizer, closure)
            assert len(watcher.history.losses) in (0, LOSSES_REMEMBERED)
        return looks

    def plain(optimizer: torch.optim.Optimizer, closure: Callable) -> None:
        closure()
        optimizer.step()

    assert taken(lambda optimizer, closure: optimizer.step(closure)) == taken(plain)


def test_column_equals_the_readings():
    watcher = regression(900, tell=False)
    [readings] = [each for name, each in watcher.history.readings.items() if name == "weight"]
    assert isinstance(readings, ReadingBuffer)
    assert readings.appended > len(readings)
    assert readings.column("lag").tolist() == pytest.approx(
        [each.lag for each in readings], rel=1e-6
    )
