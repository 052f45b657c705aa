"""Causes that losses and gradient norms show at default settings, in small training runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import betaplane
from betaplane.monitor import ALL, Watcher, watch
from betaplane.monitor.capture.gradient_norms import gradient_norms
from betaplane.monitor.detectors._statistics import lasting_shift
from betaplane.monitor.gradient_history import NO_GRADIENT, GradientHistory


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))


def trained(
    steps: int,
    *,
    model: nn.Module | None = None,
    make: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    lr: float = 1e-2,
    loss_of: Callable[[int, Tensor, Tensor], Tensor] = lambda step, output, y: (
        (output - y).square().mean()
    ),
    around: Callable[[int, nn.Module], Any] = lambda step, model: None,
    zero: bool = True,
    **how: Any,
) -> Watcher:
    """A watched regression; `around` runs before each step, `loss_of` makes its loss."""
    model = model or net()
    optimizer = make(model.parameters(), lr=lr)
    torch.manual_seed(1)
    true = torch.randn(8, 1)
    with watch(optimizer, console=False, model=model, **how) as watcher:
        for step in range(1, steps + 1):
            around(step, model)
            x = torch.randn(32, 8)
            if zero:
                optimizer.zero_grad()
            loss = loss_of(step, model(x), torch.tanh(x @ true))
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    return watcher


def first(watcher: Watcher) -> tuple[int, str]:
    alert = min(watcher.alerts, key=lambda alert: alert.step)
    return alert.step, alert.cause


def test_nan_loss_from_finite_weights_names_its_step():
    watcher = trained(
        60, loss_of=lambda step, o, y: (o - y).square().mean() * (math.nan if step == 40 else 1)
    )
    alert = watcher.alerts[0]
    assert alert.cause == "non-finite loss"
    assert "at step 40, computed from finite weights" in alert.evidence
    assert alert.remedy == {"skip": 40}


def test_nan_loss_from_broken_weights_names_a_parameter():
    def around(step: int, model: nn.Module) -> None:
        if step == 30:
            next(model.parameters()).data[0, 0] = math.nan

    watcher = trained(40, around=around)
    alert = watcher.alerts[0]
    assert (alert.cause, alert.layer) == ("non-finite loss", "0.weight")
    assert "NaN or infinity in 0.weight" in alert.evidence


def test_no_alert_is_never_said_after_nan():
    watcher = trained(5, loss_of=lambda step, o, y: o.sum() * math.nan)
    assert not watcher.report().startswith("No alert")


def test_scaler_that_skips_every_step_is_named():
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=10_000)
    with watch(optimizer, console=False) as watcher:
        for _ in range(40):
            optimizer.zero_grad()
            loss = model(torch.randn(4, 8)).sum() * math.inf
            scaler.scale(loss).backward()
            watcher.loss(0.5)
            scaler.step(optimizer)
            scaler.update()
    assert watcher.history.step == 0
    assert first(watcher)[1] == "optimizer steps skipped"
    assert "NaN or infinity in the gradients of 4 tensors" in watcher.alerts[0].evidence


def test_accumulated_micro_batches_are_no_skipped_steps():
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    with watch(optimizer, console=False) as watcher:
        for step in range(640):
            loss = model(torch.randn(4, 8)).square().mean() / 64
            loss.backward()
            watcher.loss(loss.item() * 64)
            if step % 64 == 63:
                optimizer.step()
                optimizer.zero_grad()
    assert watcher.alerts == []


@pytest.mark.parametrize(("lr", "remedy"), [(1e-9, "too small"), (3.0, "too large")])
def test_loss_that_stays_at_its_start_is_named(lr: float, remedy: str):
    def loss_of(step: int, output: Tensor, y: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(
            torch.tanh(output) if lr > 1 else output, (torch.rand(32, 1) > 0.5).float()
        )

    watcher = trained(240, lr=lr, loss_of=loss_of)
    stuck = [alert for alert in watcher.alerts if alert.cause == "loss does not fall"]
    assert stuck, watcher.report()
    assert remedy in stuck[0].change
    assert math.isfinite(stuck[0].remedy["lr"])


def test_falling_loss_is_no_stuck_loss():
    assert trained(240).alerts == []


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.AdamW])
def test_lasting_jump_of_the_loss_is_named_for_any_optimizer(
    make: Callable[..., torch.optim.Optimizer],
):
    watcher = trained(
        300,
        make=make,
        loss_of=lambda step, o, y: (
            (o - (y if step < 200 else 3 * torch.randn(32, 1))).square().mean()
        ),
    )
    step, cause = first(watcher)
    assert cause in ("sudden rise of the loss", "sudden data change")
    assert 200 <= step < 300


def test_gradients_that_are_never_zeroed_are_named():
    assert first(trained(200, zero=False, lr=1e-4))[1] == "gradients not zeroed"


def test_gradients_set_to_zero_in_place_are_healthy():
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    with watch(optimizer, console=False, budget=math.inf) as watcher:
        for _ in range(100):
            x = torch.randn(32, 8)
            optimizer.zero_grad(set_to_none=False)
            loss = (model(x) - x[:, :1]).square().mean()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    assert watcher.history.gradients.unreset > 90
    assert watcher.history.gradients.accumulated == 0
    assert watcher.alerts == []


def test_matrix_without_a_gradient_is_named_and_a_frozen_one_is_not():
    class WithSpare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = net(), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = WithSpare()
    watcher = trained(200, model=copy.deepcopy(model))
    assert [(alert.layer, alert.cause) for alert in watcher.alerts] == [
        ("unused.weight", "no gradient")
    ]
    model.unused.requires_grad_(False)
    assert trained(200, model=model).alerts == []


def test_model_in_evaluation_mode_is_named():
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1)).eval()
    assert first(trained(100, model=model, budget=math.inf))[1] == "model in evaluation mode"


def test_batchnorm_frozen_by_itself_is_healthy():
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    model[1].eval()
    assert trained(100, model=model, budget=math.inf).alerts == []


def test_updates_that_bfloat16_rounds_away_are_named():
    model = net().bfloat16()
    true = torch.randn(8, 1, dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    with watch(optimizer, console=False, budget=math.inf) as watcher:
        for _ in range(60):
            x = torch.randn(32, 8, dtype=torch.bfloat16)
            optimizer.zero_grad()
            loss = (model(x) - x @ true).square().mean()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    assert "updates rounded away" in {alert.cause for alert in watcher.alerts}


def test_decay_of_a_tenth_per_step_is_named():
    make = lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=10.0)  # noqa: E731
    step, cause = first(trained(20, make=make))
    assert (step, cause) == (1, "weight decay too strong")


def test_parameters_outside_of_the_optimizer_are_noted():
    model = net()
    optimizer = torch.optim.AdamW(model[2].parameters(), lr=1e-3)
    with watch(optimizer, console=False, model=model) as watcher:
        loss = model(torch.randn(4, 8)).square().mean()
        loss.backward()
        watcher.loss(loss)
        optimizer.step()
    assert (
        "Note: 2 parameters of the model have a gradient but are not in the optimizer (0.weight, 0.bias)"
        in watcher.report()
    )


def test_muted_rule_does_not_run():
    watcher = trained(
        5,
        loss_of=lambda step, o, y: o.sum() * math.nan,
        mute=["non-finite-loss", "non-finite-gradients"],
    )
    assert watcher.alerts == []


def test_ids_are_unique_and_can_be_typed():
    ids = [detector.id for detector in ALL]
    assert len(set(ids)) == len(ids)
    assert all(name.replace("-", "").isalnum() for name in ids)


def test_shift_is_sudden_or_slow():
    slow = [(k, 1.0 + 0.001 * (k % 3) + 0.05 * max(0, k - 20)) for k in range(64)]
    shift = lasting_shift(slow)
    assert shift is not None
    assert not shift.is_sudden
    assert lasting_shift(slow[:31]) is None
    assert lasting_shift([(k, 1e300) for k in range(64)]) is None


def test_gradient_history_counts_zeros_and_keeps_counts_over_new_parameters():
    gradients = GradientHistory()
    gradients.start(["w", "b"])
    gradients.add(1, [3.0, 0.0], [0, 0])
    gradients.add(2, [3.0, NO_GRADIENT], [0, -1])
    assert (gradients.zero_steps, gradients.ever_nonzero, gradients.last_nonzero) == (
        [0, 2],
        [True, False],
        [2, 0],
    )
    gradients.start(["b", "new"])
    gradients.add(3, [0.0, 1.0], [0, 0])
    assert (gradients.zero_steps, gradients.ever_nonzero, gradients.last_nonzero) == (
        [3, 0],
        [False, True],
        [0, 3],
    )


@pytest.mark.parametrize("dtypes", [["float64"], ["bfloat16", "float32"], ["float16", "float64"]])
def test_gradient_norms_of_any_dtypes_are_those_in_float64(dtypes: list[str]):
    torch.manual_seed(0)
    gradients = [1e3 * torch.randn(50).to(getattr(torch, name)) for name in dtypes]
    expected = [float(g.double().norm()) for g in gradients]
    assert gradient_norms(gradients).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:watch skips tensors with sparse")
def test_sparse_gradients_are_not_missing():
    embedding = nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SparseAdam([*embedding.parameters()], lr=1e-3)
    with watch(optimizer, console=False, budget=math.inf) as watcher:
        for _ in range(80):
            optimizer.zero_grad()
            loss = embedding(torch.randint(0, 10, (8,))).square().mean()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    assert watcher.alerts == []


@pytest.mark.parametrize(("low_from", "named"), [(100, True), (190, False), (None, False)])
def test_learning_rate_near_zero_counts_from_the_last_time_it_was_not(
    low_from: int | None, named: bool
):
    """A warmup that begins at 0 does not count; a schedule that ends long before the run does."""
    optimizer = torch.optim.AdamW((model := net()).parameters(), lr=1e-3)
    with watch(optimizer, console=False, every=5, budget=math.inf) as watcher:
        for step in range(200):
            over = low_from is not None and step >= low_from
            optimizer.param_groups[0]["lr"] = 0.0 if over or step < 8 else 1e-3
            optimizer.zero_grad()
            loss = model(torch.randn(32, 8)).square().mean()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    causes = {alert.cause for alert in watcher.alerts}
    assert ("learning rate near zero" in causes) == named


class WithoutLr(torch.optim.Optimizer):
    """A user's optimizer without a learning rate in its groups."""

    def __init__(self, params: Any, **defaults: Any) -> None:
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p -= 1e-2 * p.grad


TORCHS = [
    "SGD",
    "Rprop",
    "Adagrad",
    "Adadelta",
    "ASGD",
    "Adafactor",
    "Adamax",
    "NAdam",
    "RAdam",
    "RMSprop",
]
MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    **{name: lambda p, name=name: getattr(torch.optim, name)(p, lr=1e-3) for name in TORCHS},
    "betaplane.Lion": lambda p: betaplane.Lion(p, lr=1e-3),
    "betaplane.Adafactor": lambda p: betaplane.Adafactor(p, lr=1e-3),
    "a tensor's lr": lambda p: torch.optim.SGD(p, lr=torch.tensor(1e-3)),
    "no lr": WithoutLr,
    "lr=None": lambda p: WithoutLr(p, lr=None),
}


@pytest.mark.filterwarnings("ignore:watch skips tensors with unreadable moments")
@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_any_optimizer_is_watched_to_the_end(name: str, resumed: bool):
    model = net()
    optimizer = MAKERS[name](model.parameters())

    def train(steps: int, receive: Callable[[Tensor], None]) -> None:
        for _ in range(steps):
            x = torch.randn(16, 8)
            optimizer.zero_grad()
            loss = (model(x) - x[:, :1]).square().mean()
            loss.backward()
            receive(loss)
            optimizer.step()

    train(3 * resumed, lambda loss: None)
    with watch(optimizer, console=False, every=2, budget=math.inf) as watcher:
        train(70, watcher.loss)
    assert (watcher.history.step, watcher.history.gradients.count) == (70, 70)
    assert watcher.alerts == []


def test_alert_of_a_loss_has_the_step_of_the_loss():
    watcher = trained(30, loss_of=lambda step, o, y: o.sum() * (math.nan if step == 20 else 1))
    assert first(watcher) == (20, "non-finite loss")


def test_stuck_loss_without_updates_proposes_no_learning_rate():
    """Gradients of exactly 0 make updates of 0: no learning rate changes that."""
    watcher = trained(220, loss_of=lambda step, o, y: (o * 0 - y).square().mean() + 1)
    stuck = [alert for alert in watcher.alerts if alert.cause == "loss does not fall"]
    assert [alert.remedy for alert in stuck] == [{}]


def test_jump_of_sgd_is_not_blamed_on_the_data():
    """Without readings the size of the last step is unknown, so it may be the cause."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    with watch(optimizer, console=False, budget=math.inf) as watcher:
        for step in range(60):
            x = torch.randn(32, 8) * (100 if step == 50 else 1)
            optimizer.zero_grad()
            loss = (model(x) - x[:, :1]).square().mean()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    assert "sudden data change" not in {alert.cause for alert in watcher.alerts}
