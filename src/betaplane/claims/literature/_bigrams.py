"""A bigram model of characters: softmax regression from one character to the next."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from betaplane.problems import Problem, text


def bigrams(examples: int = 4096, batch_size: int = 64, steps: int = 300, **options) -> Problem:
    """Predict a character from the one before it; the classes have very different frequencies."""
    whole = text(context=16)
    inputs, targets = whole.inputs.flatten(), whole.targets.flatten()
    chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:examples]
    characters = int(inputs.max()) + 1
    return Problem(
        "bigrams",
        partial(_Bigrams, characters),
        nn.functional.cross_entropy,
        inputs[chosen],
        targets[chosen],
        batch_size=batch_size,
        steps=steps,
        **options,
    )


class _Bigrams(nn.Module):
    """Characters (B,) to logits (B, V), by a table of V rows."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.logits = nn.Embedding.from_pretrained(
            torch.zeros(characters, characters), freeze=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)
