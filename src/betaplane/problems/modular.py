"""Addition modulo a number, which networks learn by heart first and understand much later."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from betaplane.problems._classifier import error_rate
from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.problem import Problem


@family
def modular(
    modulus: int = 31,
    width: int = 64,
    hidden: int = 128,
    steps: int = 2000,
    lr: float = 0.003,
    schedule: str = "constant",
) -> Problem:
    r"""Predict a + b modulo a number from a and b, with half of all pairs held out; full batches.

    ```
    logits = W2 relu(W1 (e_a + e_b))
    ```

    The training loss falls within a few hundred steps, while the held-out pairs stay wrong.
    With weight decay they become right much later (grokking). Held-out values are the share of
    wrong sums; a map judges by them with `judge="validation"`.

    Source: A. Power, Y. Burda, H. Edwards, I. Babuschkin, V. Misra, 2022, arXiv:2201.02177, which
    trains a transformer at modulus 97.

    Args:
        modulus: the modulus, >= 2.
        width: elements of an embedding, >= 1.
        hidden: hidden units, >= 1.
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.

    Example:
        >>> problem = modular(modulus=5)
        >>> problem.inputs.shape, problem.inputs[0].tolist(), problem.targets[0].item()
        (torch.Size([13, 2]), [3, 4], 2)
    """
    at_least(2, "modular", modulus=modulus)
    at_least(1, "modular", width=width, hidden=hidden)
    pairs = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus))
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))
    train, held_out = order.chunk(2)
    sums = pairs.sum(1) % modulus
    return Problem(
        "modular",
        partial(_Adder, modulus, width, hidden),
        nn.functional.cross_entropy,
        pairs[train],
        sums[train],
        batch_size=len(train),
        steps=steps,
        lr=lr,
        schedule=schedule,
        validation=(pairs[held_out], sums[held_out]),
        metric=error_rate,
        note=f"addition modulo {modulus}, half of the pairs held out (grokking)",
    )


class _Adder(nn.Module):
    """Pairs (B, 2) to logits (B, modulus): the sum of two embeddings, and a hidden layer."""

    def __init__(self, modulus: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(modulus, width)
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, modulus)

    def forward(self, pairs: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(self.embedding(pairs).sum(-2))))
