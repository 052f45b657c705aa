"""A stack that is killed and resumed gives bitwise the result of an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from small_modules import mlp, problem
from torch import nn

from betaplane.problems import Problem
from betaplane.replicas import Options, Run, unfinished
from betaplane.replicas.stacked import Training
from betaplane.replicas.unfinished import restore, snapshot
from betaplane.rules import Adam, AMSGrad, Rule

RULES: dict[str, Rule] = {"adam": Adam(), "amsgrad": AMSGrad()}
POINTS = 8


class KillingStorage:
    """Storage that raises an error, as if the process was killed, after some number of states."""

    def __init__(self, states_per_process: Sequence[int]) -> None:
        self.state: bytes | None = None
        self.states_per_process, self.saved = list(states_per_process), 0

    def load(self) -> bytes | None:
        self.saved = 0
        return self.state

    def save(self, state: bytes) -> None:
        self.state, self.saved = state, self.saved + 1
        if self.states_per_process and self.saved == self.states_per_process[0]:
            self.states_per_process.pop(0)
            raise KeyboardInterrupt


def runs(rule: Rule) -> list[Run]:
    """Three runs; the last one diverges and is dropped."""
    return [
        Run(type(rule)(0.9, b2), lr, 8, 3) for b2, lr in ((0.9, 0.01), (0.999, 0.01), (0.99, 1e30))
    ]


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 1))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("states", [[1], [2, 1, 3]])
def test_a_resumed_stack_is_bitwise_equal(
    monkeypatch: pytest.MonkeyPatch, rule: Rule, states: list[int]
):
    monkeypatch.setattr(unfinished, "MIN_SAVE_INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "MAX_SAVE_SHARE", 1e9)
    line, options = problem(mlp).with_(steps=40), Options(points=POINTS)
    uninterrupted = Training(line, runs(rule), options).outcomes()
    storage, kills = KillingStorage(states), 0
    while True:
        try:
            resumed = Training(line, runs(rule), options).outcomes(storage)
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills == len(states)
    for a, b in zip(uninterrupted, resumed, strict=True):
        assert a.initial == b.initial
        assert a.whole == b.whole
        np.testing.assert_array_equal(a.curve, b.curve)


def test_every_part_of_the_state_is_restored():
    line: Problem = problem(mlp).with_(steps=40)
    training = Training(line, runs(Adam()), Options(points=POINTS))
    for point, (length, batch) in zip(
        range(3), zip(training.lengths, training.blocks(), strict=False), strict=False
    ):
        loss = training.window(point, length, batch)
        training.curves[training.alive, point] = np.nan_to_num(loss, nan=1.0, posinf=1.0).clip(
            max=1e30
        )
    state, drawn = snapshot(training, 3), torch.rand(3)
    resumed = Training(line, runs(Adam()), Options(points=POINTS))
    assert restore(resumed, state) == 3
    assert torch.equal(torch.rand(3), drawn)
    np.testing.assert_array_equal(resumed.curves, training.curves)
    for name, p in training.stack.params.items():
        assert torch.equal(resumed.stack.params[name], p)
