"""Watching unusual runs: losses, parameter names, groups, rules, and coarse weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from benchmarks.failures.planted import adam, train
from torch import nn

import betaplane
from betaplane.errors import BadInput
from betaplane.monitor import Watcher, watch
from betaplane.problems import digits

MOVES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.5),
    "Adam, decay in the gradient": lambda p: torch.optim.Adam(p, 1e-2, weight_decay=0.5),
    "amsgrad": lambda p: torch.optim.Adam(p, 1e-2, amsgrad=True),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-2),
    "clipped": lambda p: betaplane.AdamW(p, 1e-2, weight_decay=0.0, clip=0.1),
    "LaProp": lambda p: betaplane.optim.LaProp(p, 1e-2),
    "ADOPT": lambda p: betaplane.optim.ADOPT(p, 1e-2),
}


def unlimited(optimizer: torch.optim.Optimizer, **how: object) -> Watcher:
    return watch(optimizer, **{"every": 1, "budget": math.inf, "console": False, **how})


@pytest.mark.parametrize("name", MOVES)
def test_update_equals_the_displacement_of_the_weights(name: str):
    torch.manual_seed(0)
    p = nn.Parameter(torch.randn(40, 10))
    optimizer = MOVES[name]([("w", p)])
    decay = 0.5e-2 if name == "AdamW" else 0.0
    with unlimited(optimizer) as watcher:
        for step in range(1, 13):
            p.grad, old = torch.randn(40, 10) / step, p.detach().clone()
            optimizer.step()
            way = ((1 - decay) * old - p.detach()) / 1e-2
            [reading] = watcher.history.current_readings() or [None]
            if reading is not None:
                assert reading.update_rms == pytest.approx(
                    way.square().mean().sqrt().item(), rel=1e-3
                )
                assert reading.ratio == pytest.approx(
                    1e-2 * reading.update_rms / reading.weight_rms, rel=1e-4
                )
    assert (
        reading.adams == pytest.approx(1.0, rel=1e-3)
        if name.startswith("Adam")
        else reading.adams != 1
    )


def test_update_of_coarse_weights_uses_the_formula():
    p = nn.Parameter(torch.full((8,), 1e4))
    optimizer = torch.optim.Adam([p], lr=1e-3)
    with unlimited(optimizer) as watcher:
        p.grad = torch.ones(8)
        optimizer.step()
    assert watcher.history.readings.latest()[0].update_rms == pytest.approx(1.0)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1.5e308, 0.0])
def test_unusual_loss_types_are_accepted(odd: float):
    model = nn.Linear(8, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    with unlimited(optimizer) as watcher:
        for step in range(60):
            loss = model(torch.randn(16, 8)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            watcher.loss(odd if step in (30, 33) else -odd if step == 31 else loss)
            optimizer.step()
    assert watcher.history.readings.latest()[0].step == 60


@pytest.mark.parametrize("wrong", [torch.ones(2), None, "x", [1.0], 1j, torch.tensor(1j)])
def test_invalid_loss_is_rejected(wrong: object):
    with unlimited(torch.optim.Adam([nn.Parameter(torch.ones(3))])) as watcher:
        with pytest.raises(BadInput, match="A loss is a single number"):
            watcher.loss(wrong)
        watcher.loss(1)


def test_parameters_with_equal_names_are_distinguished():
    modules = [nn.Linear(3, 5), nn.Linear(7, 2), nn.Linear(3, 5)]
    optimizer = torch.optim.AdamW([{"params": module.named_parameters()} for module in modules])
    with unlimited(optimizer) as watcher:
        for p in (p for module in modules for p in module.parameters()):
            p.grad = torch.ones_like(p)
        optimizer.step()
        names = [reading.layer for reading in watcher.history.current_readings()]
        assert names == ["weight", "bias", "weight (2)", "bias (2)", "weight (3)", "bias (3)"]
        assert [total.size for total in watcher.totals()] == [20, 16, 20, 56]


def test_parameter_groups_may_be_added_and_removed():
    small, large, late = (nn.Parameter(torch.randn(n, n)) for n in (3, 30, 5))
    optimizer = torch.optim.AdamW([{"params": [small]}, {"params": [large]}])
    with unlimited(optimizer) as watcher:

        def step() -> None:
            for p in (small, large, late):
                p.grad = torch.randn_like(p)
            optimizer.step()

        step()
        optimizer.param_groups.pop(0)
        assert [total.size for total in watcher.totals()] == [900, 900]
        step()
        optimizer.add_param_group({"params": [late]})
        step()
        assert {reading.layer: reading.shape for reading in watcher.history.current_readings()} == {
            "1.0": (30, 30),
            "1.0 (2)": (5, 5),
        }
        assert [total.size for total in watcher.totals()] == [900, 25, 925]


def test_optimizer_without_parameters_is_accepted():
    p = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([{"params": []}])
    with unlimited(optimizer) as watcher:
        optimizer.add_param_group({"params": [p]})
        p.grad = torch.ones(2)
        optimizer.step()
    assert [reading.layer for reading in watcher.history.readings.latest()] == ["1.0"]


def test_head_that_starts_at_zero_is_no_large_lr():
    torch.manual_seed(0)
    head = nn.Linear(8, 4)
    nn.init.zeros_(head.weight)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    with unlimited(optimizer, every=10) as watcher:
        for step in range(400):
            x = torch.randn(64, 8)
            loss = nn.functional.mse_loss(head(x), (1 + step / 50) * x[:, :4] / 10)
            optimizer.zero_grad()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    # the targets grow, and the loss with them
    assert {alert.cause for alert in watcher.alerts} <= {"loss diverges"}


def test_step_without_gradients_does_not_hide_a_data_change():
    """A data change is reported as without an empty step before it."""

    def idle(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        if step == 100:
            optimizer.zero_grad()

    def other(step: int, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (50 * x, y.roll(1)) if step == 200 else (x, y)

    watcher, _, _ = train(digits(), 205, adam(), before=idle, feed=other, every=5)
    assert [alert.cause for alert in watcher.alerts] == ["sudden data change"]


def test_replay_uses_the_current_groups():
    p = nn.Parameter(torch.ones(8))
    optimizer = torch.optim.Adam([p], lr=1e-3)
    with unlimited(optimizer) as watcher:
        for step in range(40):
            if step == 20:
                optimizer.load_state_dict(optimizer.state_dict())
                optimizer.param_groups[0]["lr"] = 1e-4
            p.grad = torch.randn(8)
            optimizer.step()
        assert watcher.history.recordings["0.0"].recorded().values.lr == 1e-4


def test_other_rules_are_not_replayed():
    """The alert has no replay, because Adam's formula does not apply."""
    p = nn.Parameter(torch.randn(50, 2))
    optimizer = betaplane.optim.LaProp([p], 1e-2, betas=(0.9, 0.8))
    with unlimited(optimizer) as watcher:
        for _ in range(12):
            p.grad = torch.randn_like(p)
            optimizer.step()
    [alert] = [alert for alert in watcher.alerts if alert.cause == "beta1^2 >= beta2"]
    assert not alert.replayed


WRONG = {
    "budget": {"budget": "x"},
    "model": {"model": 5},
    "path": {"path": 5},
    "to": {"to": 5},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_rejected(name: str):
    with pytest.raises(BadInput, match=f"^{name} is"):
        watch(torch.optim.Adam([nn.Parameter(torch.ones(1))]), **WRONG[name])


def test_unknown_sink_leaves_no_file(tmp_path):
    with pytest.raises(BadInput, match="Unknown sink"):
        watch(
            torch.optim.Adam([nn.Parameter(torch.ones(1))]), tmp_path / "new.jsonl", to="tensorbord"
        )
    assert not [*tmp_path.iterdir()]
