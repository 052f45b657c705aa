"""Decay relative to the peak of lr: the peak is the lr that a group was made with, wherever the
group goes then.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import betaplane
from betaplane.errors import BadInput
from betaplane.optim import from_torch
from betaplane.rules import AdamC, Adan, LaProp, StableAdamW

PATHS = ("auto", "eager", "compiled")
READERS: dict[str, dict[str, Any]] = {
    "LaProp": {},
    "AdamC": {},
    "AdamW": {"decay": "independent"},
    "Adafactor": {"decay": "independent"},
    "Lion": {"decay": "independent"},
    "Adan": {"decay": "independent", "proximal": False},
    "StableAdamW": {"decay": "independent"},
}
each = pytest.mark.parametrize("name", READERS)


def made(name: str, p: Any = None, **options: Any) -> torch.optim.Optimizer:
    params = [nn.Parameter(torch.ones(3, dtype=torch.float64))] if p is None else p
    return getattr(betaplane, name)(
        params, **{"lr": 0.5, "weight_decay": 0.1, **READERS[name], **options}
    )


def rested(optimizer: torch.optim.Optimizer, steps: int = 1) -> list[float]:
    """The factor by which a step without a gradient multiplies each group's weights, after `steps`
    of them.
    """
    groups = [group["params"][0] for group in optimizer.param_groups]
    before = [float(p.detach()[0]) for p in groups]
    for _ in range(steps):
        for p in groups:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    return [float(p.detach()[0]) / old for p, old in zip(groups, before, strict=True)]


def factor(name: str, share: float, lr: float = 0.5) -> float:
    """What weight_decay = 0.1 leaves at `share` of the peak."""
    return 1 - 0.1 * share * (share * lr if name == "AdamC" else 1)


@each
@pytest.mark.parametrize("path", PATHS)
def test_the_peak_is_the_lr_of_the_constructor(name: str, path: str) -> None:
    assert rested(made(name, path=path), 20) == pytest.approx([factor(name, 1.0) ** 20], rel=1e-9)
    assert rested(made(name, lr=1e-2, path=path), 20) == pytest.approx(
        [factor(name, 1.0, 1e-2) ** 20], rel=1e-9
    )


@each
def test_each_group_has_a_peak_of_its_own(name: str) -> None:
    p, q, r = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(3))
    optimizer = made(name, [{"params": [p], "lr": 0.2}, {"params": [q], "peak_lr": 1.0}])
    optimizer.add_param_group({"params": [r], "lr": torch.tensor(0.05)})
    assert [group["peak_lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 1.0, 0.05])
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] / 2
    expected = [factor(name, 0.5, 0.2), factor(name, 0.25, 1.0), factor(name, 0.5, 0.05)]
    assert rested(optimizer) == pytest.approx(expected, rel=1e-6)


SCHEDULES = {
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 1, gamma=0.5),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda t: (1.0, 0.5)[t]),
    "LinearLR": lambda optimizer: lr_scheduler.LinearLR(
        optimizer, start_factor=0.25, end_factor=0.5, total_iters=1
    ),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.ConstantLR(optimizer, 0.1, 1), lr_scheduler.ConstantLR(optimizer, 0.5, 9)],
        milestones=[1],
    ),
}


@each
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_scheduler_moves_lr_and_not_its_peak(name: str, schedule: str) -> None:
    optimizer = made(name)
    scheduler = SCHEDULES[schedule](optimizer)
    rested(optimizer)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25)
    assert rested(optimizer) == pytest.approx([factor(name, 0.5)], rel=1e-9)


def loaded(optimizer: Any, name: str) -> Any:
    fresh = made(name, lr=0.1)
    fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return fresh


COPIES = {
    "deepcopy": lambda optimizer, name: copy.deepcopy(optimizer),
    "pickle": lambda optimizer, name: pickle.loads(pickle.dumps(optimizer)),
    "state_dict": loaded,
}


@each
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_keeps_the_peak(name: str, way: str) -> None:
    optimizer = made(name)
    optimizer.param_groups[0]["lr"] = 0.25
    rested(optimizer)
    assert rested(COPIES[way](optimizer, name)) == pytest.approx([factor(name, 0.5)], rel=1e-9)


def test_a_scheduled_optimizer_of_torch_has_the_peak_before_its_schedule() -> None:
    theirs = torch.optim.AdamW(
        [nn.Parameter(torch.ones(3, dtype=torch.float64))], lr=0.5, weight_decay=0.1
    )
    lr_scheduler.ConstantLR(theirs, 0.5)
    ours = from_torch(theirs, decay="independent")
    assert rested(ours) == pytest.approx([0.95])


@pytest.mark.parametrize(
    "rule", [LaProp(weight_decay=0.1), AdamC(weight_decay=0.1), Adan(weight_decay=0.1)], ids=str
)
@pytest.mark.parametrize("lr", [0.0, 0.01, 1.0])
def test_a_rule_without_a_peak_is_at_its_peak(rule: Any, lr: float) -> None:
    x = torch.ones(2, dtype=torch.float64)
    given = {"LaProp": 0.9 if lr else 1.0, "AdamC": 1 - 0.1 * lr, "Adan": 1 / (1 + 0.1 * lr)}[
        type(rule).__name__
    ]
    moved, _ = rule.step(x, torch.zeros_like(x), rule.init(x), lr)
    assert moved.tolist() == pytest.approx([given] * 2)


def test_a_limited_rate_limits_independent_decay() -> None:
    """StableAdamW takes lr / 2 where the RMS of g / root is 2: decay is halved too, with and
    without a peak.
    """
    x, g = torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for rule in (
        StableAdamW(decay="independent", weight_decay=0.1, d=0.5),
        StableAdamW(weight_decay=0.1, d=0.5),
    ):
        moved, _ = rule.step(x, g, rule.init(x), 0.1)
        assert moved.item() == pytest.approx(
            1 - 0.1 * (0.5 if rule.decay == "independent" else 0.05) - 0.05, rel=1e-6
        )


BAD = [
    (
        lambda: made("LaProp", weight_decay=1.5),
        "Weight decay would multiply every weight by -0.5: got {'lr': 0.5, ",
    ),
    (
        lambda: made("LaProp", lr=0.01, peak_lr=4e-4),
        "expected a factor in (0, 1] (LaProp). Try: peak_lr=0",
    ),
    (
        lambda: made("AdamC", lr=5.0, weight_decay=0.3),
        "Weight decay would multiply every weight by -0.5",
    ),
    (
        lambda: made("AdamW", weight_decay=1.0),
        "every weight by 0: got {'lr': 0.5, 'peak_lr': 0.5, 'weight_decay': 1.0}",
    ),
    (
        lambda: made("LaProp", peak_lr=0.0),
        "peak_lr is out of range: got 0.0; expected (0, inf) (LaProp",
    ),
    (
        lambda: made("LaProp").add_param_group(
            {"params": nn.Parameter(torch.ones(1)), "weight_decay": 2.0}
        ),
        "Weight decay would multiply every weight by -1",
    ),
    (
        lambda: betaplane.optim.Schedule(made("LaProp"), weight_decay=lambda t: 2.0),
        "by -1: got {'lr': 0.5, ",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:50] for _, text in BAD])
def test_decay_under_which_weights_would_grow_is_refused(call: Any, text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)


@each
def test_a_group_made_with_an_lr_of_0_rests_until_its_peak_is_given(name: str) -> None:
    optimizer = made(name, lr=0.0)
    assert rested(optimizer) == [1.0]
    optimizer.param_groups[0]["lr"] = 0.25
    with pytest.raises(BadInput, match="peak_lr is unknown, since the group was made with lr=0"):
        rested(optimizer)
    optimizer.param_groups[0]["peak_lr"] = 0.5
    assert rested(optimizer) == pytest.approx([factor(name, 0.5)], rel=1e-9)


@pytest.mark.parametrize("name", ["AdamW", "Lion"])
def test_decay_that_is_lr_times_weight_decay_is_taken_as_torch_takes_it(name: str) -> None:
    optimizer = getattr(betaplane, name)(
        [nn.Parameter(torch.ones(3, dtype=torch.float64))], lr=5.0, weight_decay=0.5
    )
    assert rested(optimizer) == pytest.approx([-1.5])
