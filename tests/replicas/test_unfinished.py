"""A stack that is killed and continued ends bit for bit as one that is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from modules import mlp, problem
from torch import nn

from betaplane.problems import Problem
from betaplane.replicas import Options, Run, unfinished
from betaplane.replicas.stacked import Training
from betaplane.replicas.unfinished import restore, snapshot
from betaplane.rules import Adam, AMSGrad, Rule

RULES: dict[str, Rule] = {"adam": Adam(), "amsgrad": AMSGrad()}
POINTS = 8


class Kept:
    """A keeper that raises, as if killed, after so many states."""

    def __init__(self, lives: Sequence[int]) -> None:
        self.state: bytes | None = None
        self.lives, self.saved = list(lives), 0

    def load(self) -> bytes | None:
        self.saved = 0
        return self.state

    def save(self, state: bytes) -> None:
        self.state, self.saved = state, self.saved + 1
        if self.lives and self.saved == self.lives[0]:
            self.lives.pop(0)
            raise KeyboardInterrupt


def runs(rule: Rule) -> list[Run]:
    """The last one diverges and is dropped on the way."""
    return [
        Run(type(rule)(0.9, b2), lr, 8, 3) for b2, lr in ((0.9, 0.01), (0.999, 0.01), (0.99, 1e30))
    ]


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 1))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("lives", [[1], [2, 1, 3]])
def test_a_stack_continues_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, rule: Rule, lives: list[int]
):
    monkeypatch.setattr(unfinished, "PAUSE", 0.0)
    monkeypatch.setattr(unfinished, "SHARE", 1e9)
    given, options = problem(mlp).with_(steps=40), Options(points=POINTS)
    whole = Training(given, runs(rule), options).outcomes()
    keeper, times = Kept(lives), 0
    while True:
        try:
            outcomes = Training(given, runs(rule), options).outcomes(keeper)
            break
        except KeyboardInterrupt:
            times += 1
    assert times == len(lives)
    for one, other in zip(whole, outcomes, strict=True):
        assert one.initial == other.initial
        assert one.whole == other.whole
        np.testing.assert_array_equal(one.curve, other.curve)


def test_every_part_of_the_state_comes_back():
    given: Problem = problem(mlp).with_(steps=40)
    training = Training(given, runs(Adam()), Options(points=POINTS))
    for point, (length, batch) in zip(
        range(3), zip(training.lengths, training.blocks(), strict=False), strict=False
    ):
        loss = training.window(point, length, *batch)
        training.curves[training.alive, point] = np.nan_to_num(loss, nan=1.0, posinf=1.0).clip(
            max=1e30
        )
    state, drawn = snapshot(training, 3), torch.rand(3)
    again = Training(given, runs(Adam()), Options(points=POINTS))
    assert restore(again, state) == 3
    assert torch.equal(torch.rand(3), drawn)
    np.testing.assert_array_equal(again.curves, training.curves)
    for name, p in training.stack.params.items():
        assert torch.equal(again.stack.params[name], p)
