"""The training loop that the users of these problems would write without betaplane."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

STEPS = 60
Settings = dict[str, float]


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def train(
    settings: Settings,
    seed: int,
    module: Callable[[], nn.Module],
    data: Iterable,
    loss_of: Callable[[nn.Module, Any], torch.Tensor],
) -> list[float]:
    """The loss of every step; epochs are repeated until there are enough steps."""
    seed_all(seed)
    model = module()
    betas = settings["beta1"], settings["beta2"]
    # the kernel that betaplane uses: training that is about to fail amplifies rounding errors
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], betas=betas, fused=True)
    losses: list[float] = []
    while True:
        for batch in data:
            optimizer.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                return losses
