"""Evaluate a model with the moving average of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from betaplane.errors import BadInput
from betaplane.optim.step.step_spec import AVERAGE


class AveragedWeights:
    """The method of optimizers that puts the averaged weights into the parameters."""

    state: Any

    @contextmanager
    @torch.no_grad()
    def averaged(self) -> Iterator[None]:
        """Inside the context, parameters have the values of their average.

        Raises:
            BadInput: there is no average.

        Example:
            >>> from betaplane.optim import AdamW
            >>> p = torch.nn.Parameter(torch.tensor([1.0]))
            >>> optimizer = AdamW([p], lr=0.1, average=0.5, weight_decay=0.0)
            >>> p.grad = torch.ones(1)
            >>> optimizer.step()
            >>> with optimizer.averaged():
            ...     inside = p.item()
            >>> round(p.item(), 4), round(inside, 4)
            (0.9, 0.95)
        """
        pairs = [(p, state[AVERAGE]) for p, state in self.state.items() if AVERAGE in state]
        if not pairs:
            raise BadInput(
                "No average of the weights is kept",
                where=type(self).__name__,
                instead="average=0.999",
            )
        weights = [p.detach().clone() for p, _ in pairs]
        for p, average in pairs:
            p.copy_(average)
        try:
            yield
        finally:
            for (p, _), weight in zip(pairs, weights, strict=True):
                p.copy_(weight)
