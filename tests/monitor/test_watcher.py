"""Watching is bitwise neutral for every way of stepping, and reads the step that was taken."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import betaplane.optim
from betaplane.monitor import Watcher, watch
from betaplane.rules import ALL

FAST = {"every": 1, "budget": math.inf, "console": False}
Make = Callable[[Any], torch.optim.Optimizer]


def net(hidden: int = 8, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, hidden), nn.Tanh(), nn.Linear(hidden, 3)).to(dtype)


def batch(seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 6, generator=generator).to(dtype), torch.randint(
        3, (16,), generator=generator
    )


def train(
    make: Make,
    steps: int = 200,
    *,
    watched: bool = True,
    scaler: bool = False,
    parts: int = 1,
    closure: bool = False,
    model: nn.Module | None = None,
    clip: float | None = None,
    broken: tuple[int, ...] = (),
    every: int = 1,
) -> tuple[nn.Module, Watcher | None, torch.optim.Optimizer]:
    """A plain loop; `broken` names steps with an infinite gradient."""
    model = net() if model is None else model
    optimizer = make(model.named_parameters())
    watcher = watch(optimizer, **{**FAST, "every": every}) if watched else None
    amp = torch.amp.GradScaler("cpu", enabled=scaler, init_scale=1024.0)
    for step in range(1, steps + 1):

        def compute(step: int = step) -> Tensor:
            optimizer.zero_grad()
            total = torch.zeros(())
            for part in range(parts):
                x, y = batch(step * parts + part)
                loss = nn.functional.cross_entropy(model(x), y) / parts
                amp.scale(loss).backward()
                total += loss.detach()
            if step in broken:
                next(model.parameters()).grad.view(-1)[0] = math.inf
            return total

        if closure:
            optimizer.step(compute)
            continue
        loss = compute()
        if clip is not None:
            amp.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        if watcher is not None:
            watcher.loss(loss)
        amp.step(optimizer)
        amp.update()
    return model, watcher, optimizer


CASES: dict[str, tuple[Make, dict[str, Any]]] = {
    "torch": (lambda p: torch.optim.AdamW(p), {}),
    "torch, foreach": (lambda p: torch.optim.Adam(p, foreach=True), {"steps": 40}),
    "torch, a tensor's lr": (lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-3)), {"steps": 40}),
    "torch, maximize": (lambda p: torch.optim.Adam(p, maximize=True), {"steps": 40}),
    "torch, fused, amp": (lambda p: torch.optim.AdamW(p, fused=True), {"scaler": True}),
    "torch, amp, clipped, accumulated": (
        lambda p: torch.optim.AdamW(p),
        {"scaler": True, "parts": 2, "clip": 0.5},
    ),
    "torch, closure": (lambda p: torch.optim.AdamW(p), {"closure": True, "steps": 40}),
    "ours": (lambda p: betaplane.AdamW(p), {"parts": 2}),
    "ours, amp": (lambda p: betaplane.AdamW(p, fused=True), {"scaler": True, "steps": 40}),
    "ours, clips and zeroes": (
        lambda p: betaplane.AdamW(p, max_norm=0.1, zero=True),
        {"steps": 40},
    ),
    "ours, closure": (lambda p: betaplane.NAdam(p), {"closure": True, "steps": 40}),
    "ours, bfloat16": (lambda p: betaplane.AdamW(p, storage="bfloat16"), {"steps": 40}),
    "steps left out": (
        lambda p: torch.optim.AdamW(p, fused=True),
        {"scaler": True, "broken": (3, 50), "steps": 60},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_watching_is_bitwise_neutral(name: str) -> None:
    make, how = CASES[name]
    model, watcher, optimizer = train(make, every=4, **how)
    bare, _, other = train(make, watched=False, **how)
    steps = how.get("steps", 200) - len(how.get("broken", ()))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True)
    )
    assert str(optimizer.state_dict()) == str(other.state_dict())
    assert watcher.history.step == steps
    assert len(watcher.history.readings["2.bias"]) == min(64, 1 + steps // 4)
    assert watcher.history.losses[-1][0] == steps
    assert not watcher.alerts, watcher.report()


KEPT = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax")
MAKERS = {f"torch.{name}": getattr(torch.optim, name) for name in KEPT}
MAKERS |= {
    rule.__name__: getattr(betaplane.optim, rule.__name__)
    for rule in ALL
    if hasattr(rule(), "beta2")
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:watch skips tensors")
@pytest.mark.parametrize("name", MAKERS)
def test_watching_is_bitwise_neutral_for_every_optimizer(name: str) -> None:
    model, watcher, _ = train(MAKERS[name], every=4)
    bare, _, _ = train(MAKERS[name], watched=False)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True)
    )
    assert watcher.history.step == 200
    assert not watcher.alerts, watcher.report()


def test_8_bit_states_are_dequantized() -> None:
    model, watcher, optimizer = train(
        lambda p: betaplane.AdamW(p, storage="8bit"), 40, model=net(700)
    )
    bare, _, _ = train(
        lambda p: betaplane.AdamW(p, storage="8bit"), 40, model=net(700), watched=False
    )
    _, other, _ = train(lambda p: torch.optim.AdamW(p), 40, model=net(700))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True)
    )
    assert optimizer.state[model[0].weight]["exp_avg_sq"].dtype == torch.uint8
    found, right = (
        {each.layer: each for each in which.history.current_readings()}
        for which in (watcher, other)
    )
    assert set(found) == set(right)
    for layer, reading in right.items():
        assert found[layer].root_rms == pytest.approx(reading.root_rms, rel=0.02)
        assert found[layer].update_rms == pytest.approx(reading.update_rms, rel=0.1)
    assert not watcher.alerts, watcher.report()


def grads_seen(watcher: Watcher) -> list[float]:
    return [each.g_rms for each in watcher.history.readings["0.weight"]]


def test_gradients_are_read_as_the_step_uses_them() -> None:
    """The gradients are the same for a scaler with a fused step, one without, and no scaler."""
    fused = train(lambda p: torch.optim.AdamW(p, fused=True), 20, scaler=True)[1]
    other = train(lambda p: torch.optim.AdamW(p), 20, scaler=True)[1]
    plain = train(lambda p: torch.optim.AdamW(p), 20)[1]
    closed = train(lambda p: torch.optim.AdamW(p), 20, closure=True)[1]
    halves = train(lambda p: torch.optim.AdamW(p), 20, clip=0.1)[1]
    own = train(lambda p: betaplane.AdamW(p, max_norm=0.1), 20)[1]
    assert grads_seen(fused) == pytest.approx(grads_seen(plain), rel=1e-5)
    assert grads_seen(other) == pytest.approx(grads_seen(plain), rel=1e-5)
    assert grads_seen(closed) == grads_seen(plain)
    assert [loss for _, loss in closed.history.losses] == [loss for _, loss in plain.history.losses]
    assert grads_seen(halves) == pytest.approx(grads_seen(own), rel=1e-3)
    assert grads_seen(halves)[-1] < 0.9 * grads_seen(plain)[-1]


@pytest.mark.parametrize("fused", [True, False])
def test_skipped_step_does_not_count(fused: bool) -> None:
    """This includes the first step: there is no alert, and the step is not counted."""
    make = lambda p: torch.optim.AdamW(p, fused=fused)  # noqa: E731
    _, watcher, optimizer = train(make, 30, scaler=True, broken=(1, 2, 12))
    assert watcher.history.step == 27
    assert {float(state["step"]) for state in optimizer.state.values()} == {27.0}
    assert [each.t for each in watcher.history.readings["0.weight"]] == [
        float(t) for t in range(1, 28)
    ]
    assert not watcher.alerts, watcher.report()


def test_parameter_without_gradient_is_not_read() -> None:
    _, watcher, _ = train(lambda p: betaplane.AdamW(p, nonfinite="skip"), 10, broken=(5,))
    assert [each.step for each in watcher.history.readings["0.weight"]] == [
        1,
        2,
        3,
        4,
        6,
        7,
        8,
        9,
        10,
    ]
    assert len(watcher.history.readings["2.weight"]) == 10
    assert not watcher.alerts, watcher.report()


def test_non_finite_gradients_are_reported_if_the_step_is_not_skipped() -> None:
    _, watcher, _ = train(lambda p: torch.optim.AdamW(p), 10, broken=(5,))
    assert watcher.alerts[0].cause == "non-finite gradients"
    assert watcher.alerts[0].step == 5


def test_copies_and_pickles_are_not_watched() -> None:
    _, watcher, optimizer = train(lambda p: torch.optim.AdamW(p), 3)
    copies = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    other = torch.optim.AdamW(net().named_parameters())
    other.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    for each in (*copies, other):
        for group in each.param_groups:
            for p in group["params"]:
                p.grad = torch.ones_like(p)
        each.step()
    assert watcher.history.step == 3
    assert {float(state["step"]) for each in (*copies, other) for state in each.state.values()} == {
        4.0
    }
    assert {float(state["step"]) for state in optimizer.state.values()} == {3.0}


def test_two_optimizers_and_two_watchers_are_independent() -> None:
    model = net()
    first, second = (
        torch.optim.AdamW(model[i].named_parameters(), betas=(0.95, 0.85)) for i in (0, 2)
    )
    one, two, again = watch(first, **FAST), watch(second, **FAST), watch(second, **FAST)
    for step in range(4):
        x, y = batch(step)
        nn.functional.cross_entropy(model(x), y).backward()
        first.step()
        if step == 2:
            again.close()
            again.close()
        if step:
            second.step()
    assert [each.history.step for each in (one, two, again)] == [4, 3, 1]
    assert [each.alerts[0].cause for each in (one, two, again)] == ["beta1^2 >= beta2"] * 3


def test_close_removes_all_hooks() -> None:
    optimizer = torch.optim.AdamW(net().parameters())
    before = {name: copy.copy(value) for name, value in vars(optimizer).items()}
    watch(optimizer, **FAST).close()
    assert str(vars(optimizer)) == str(before)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(6, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        )

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.complex64) @ self.weight).abs()


@pytest.mark.parametrize("make", [torch.optim.AdamW, betaplane.AdamW])
def test_complex_elements_are_pairs(make: Make) -> None:
    model, watcher, _ = train(make, 30, model=Complex())
    bare, _, _ = train(make, 30, model=Complex(), watched=False)
    assert torch.equal(model.weight, bare.weight)
    now = watcher.history.current_readings()[0]
    assert now.dtype == "float32"
    assert now.weight_rms == pytest.approx(
        torch.view_as_real(model.weight).square().mean().sqrt().item()
    )
    assert 0 < now.reach <= 1 + 1e-6


class Wrapper:
    """A wrapper like those of Accelerate and Lightning."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer


def test_wrapped_optimizer_gets_names_of_the_model() -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    watcher = watch(Wrapper(Wrapper(optimizer)), model=model, **FAST)
    nn.functional.cross_entropy(*[model(batch(0)[0]), batch(0)[1]]).backward()
    optimizer.step()
    assert {each.layer for each in watcher.history.current_readings()} == {
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    }


@pytest.mark.parametrize("make", [torch.optim.Adamax, betaplane.Lion, betaplane.AdEMAMix])
def test_other_states_are_skipped_with_a_warning(make: Make) -> None:
    with pytest.warns(
        UserWarning, match="unreadable moments: 0.weight .no exp_avg.* of its shape."
    ) as caught:
        model, watcher, _ = train(make, 20)
    bare, _, _ = train(make, 20, watched=False)
    assert len(caught) == 1
    assert not watcher.history.current_readings()
    assert torch.equal(model[0].weight, bare[0].weight)


def rare_words() -> Watcher:
    table = nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters())
    with watch(optimizer, **FAST) as watcher:
        for _ in range(3):
            optimizer.zero_grad()
            table(torch.tensor([1, 3])).square().sum().backward()
            optimizer.step()
    return watcher


def test_sparse_gradients_are_skipped_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="sparse gradients: 0.0") as caught:
        watcher = rare_words()
    assert len(caught) == 1
    assert watcher.history.step == 3
    assert not watcher.alerts


class Strange(torch.optim.AdamW):
    """An optimizer with moments in an unknown 8-bit format."""

    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            codes = torch.ones(p.shape, dtype=torch.uint8)
            self.state[p] = {
                "exp_avg": codes,
                "exp_avg_sq": codes,
                "step": self.state[p].get("step", 0.0) + 1,
            }


def test_unknown_quantization_warns_once() -> None:
    with pytest.warns(
        UserWarning, match="unreadable moments: 0.weight .Tensor of torch.uint8."
    ) as caught:
        _, watcher, _ = train(Strange, 20)
    assert len(caught) == 1
    assert not watcher.history.current_readings()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("when", ["before", "after"])
def test_compiled_steps_and_models_are_watched(when: str) -> None:
    """A step compiled before or after it is watched, and a compiled model."""
    watchers, models = [], []
    for watched in (True, False):
        model = net()
        optimizer = torch.optim.AdamW(model.named_parameters(), foreach=True)
        forward = torch.compile(model, backend="eager")
        step = torch.compile(optimizer.step, backend="eager") if when == "before" else None
        if watched:
            watchers.append(watch(optimizer, **FAST))
        step = step or torch.compile(optimizer.step, backend="eager")
        for i in range(6):
            optimizer.zero_grad()
            nn.functional.cross_entropy(forward(batch(i)[0]), batch(i)[1]).backward()
            step()
        models.append(model)
    history = watchers[0].history
    assert all(
        torch.equal(a, b)
        for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True)
    )
    assert history.step == 6
    assert [each.t for each in history.readings["0.weight"]] == [1, 2, 3, 4, 5, 6]
