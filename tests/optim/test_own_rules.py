"""Rules of a user's own, whose state refers to tensors of the step before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from betaplane.optim import optimizer_class
from betaplane.optim.step import chunks, reference
from betaplane.rules import Rule


class DelayedState(NamedTuple):
    """The parameter, the last gradient and the one before it."""

    old_x: Tensor
    new: Tensor
    old: Tensor


@dataclass(frozen=True)
class Delayed(Rule):
    """x = x - lr old, with the gradient of two steps ago: its new state contains old tensors."""

    view: bool = False
    choices = {"view": (False, True)}

    def init(self, x: Tensor) -> DelayedState:
        """The state before the first step."""
        return DelayedState(torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: DelayedState, lr: float | Tensor
    ) -> tuple[Tensor, DelayedState]:
        """One update."""
        new_x = x - lr * s.old
        old = s.new.view(-1).view_as(s.new) if self.view else s.new
        return new_x, DelayedState(x, g, old)


@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("path", ["eager", "compiled"])
@pytest.mark.parametrize("chunk_elements", [2**18, 512])
def test_old_tensors_in_a_new_state_are_stored_before_they_are_overwritten(
    view: bool, path: str, chunk_elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (chunks, reference):
        monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk_elements)
    rule, x = Delayed(view), torch.zeros(2048)
    p, s = nn.Parameter(x.clone()), rule.init(x)
    optimizer = optimizer_class(Delayed)([p], lr=0.5, view=view, path=path)
    for step in range(5):
        p.grad = torch.full((2048,), 1.0 + step)
        optimizer.step()
        x, s = rule.step(x, torch.full((2048,), 1.0 + step), s, 0.5)
        assert torch.equal(p, x)
        for name, value in s._asdict().items():
            assert torch.equal(optimizer.state[p][name], value)
