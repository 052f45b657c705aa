"""Softmax regression with classes of very different frequencies."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.problem import Problem


@family
def rare_classes(
    classes: int = 256,
    examples: int = 512,
    features: int = 128,
    batch_size: int = 512,
    steps: int = 60,
    lr: float = 0.08,
    schedule: str = "constant",
) -> Problem:
    """Classify random inputs in [0, 1], with class k as frequent as 1 / k, from zero weights.

    Held-out values are the loss of the half of the examples with the rarest classes, which is part
    of the training data: what gradient descent learns last.

    Source: F. Kunstner, R. Yadav, A. Milligan, M. Schmidt, A. Bietti, 2024, arXiv:2402.19449,
    section 3.

    Args:
        classes: number of classes, >= 2.
        examples: number of examples, >= 2.
        features: elements of an input, >= 1.
        batch_size: examples per step, in [1, examples].
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.

    Example:
        >>> problem = rare_classes(classes=4)
        >>> problem.targets.bincount().tolist()
        [257, 117, 77, 61]
    """
    at_least(2, "rare_classes", classes=classes, examples=examples)
    at_least(1, "rare_classes", features=features)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(examples, features, generator=generator)
    frequency = 1 / torch.arange(1, classes + 1)
    y = torch.multinomial(frequency, examples, replacement=True, generator=generator)
    rarest = y.argsort(descending=True, stable=True)[: examples // 2]
    return Problem(
        "rare_classes",
        partial(_zero_linear, features, classes),
        nn.functional.cross_entropy,
        x,
        y,
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        schedule=schedule,
        validation=(x[rarest], y[rarest]),
        note=f"softmax regression, {classes} classes of very different frequencies",
    )


def _zero_linear(features: int, classes: int) -> nn.Linear:
    layer = nn.Linear(features, classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
