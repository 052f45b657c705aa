"""Classifiers of small images: softmax regression, one hidden layer, two convolutions."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn

from betaplane.errors import one_of
from betaplane.problems._validation import at_least
from betaplane.problems.problem import Problem

MODELS = ("mlp", "logistic", "conv")


def classifier(
    name: str,
    inputs: Tensor,
    targets: Tensor,
    *,
    model: str,
    hidden: int,
    classes: int = 10,
    **options,
) -> Problem:
    """Classification of vectors of pixels; the loss is the mean cross-entropy in nats."""
    one_of(MODELS, name, model=model)
    at_least(1, name, hidden=hidden)
    features = inputs.shape[1]
    module = {
        "mlp": partial(mlp, features, hidden, classes),
        "logistic": partial(nn.Linear, features, classes),
        "conv": partial(conv, math.isqrt(features), classes),
    }[model]
    return Problem(name, module, nn.functional.cross_entropy, inputs, targets, **options)


def mlp(features: int, hidden: int, classes: int) -> nn.Sequential:
    """One hidden layer of ReLU units."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def conv(side: int, classes: int) -> nn.Sequential:
    """Two convolutions of 3 x 3 with 8 and 16 channels, the second with stride 2, and a linear
    layer, for images of side x side pixels.
    """
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * ((side + 1) // 2) ** 2, classes),
    )


def error_rate(output: Tensor, target: Tensor) -> Tensor:
    """The share of examples (B,) whose largest logit (B, classes) is not that of their class."""
    return (output.argmax(-1) != target).float().mean()
