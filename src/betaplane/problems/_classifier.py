"""Classifiers of small images: softmax regression, and a network with one hidden layer."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from betaplane.errors import one_of
from betaplane.problems._validation import at_least
from betaplane.problems.problem import Problem

MODELS = ("mlp", "logistic")


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
    module = (
        partial(mlp, features, hidden, classes)
        if model == "mlp"
        else partial(nn.Linear, features, classes)
    )
    return Problem(name, module, nn.functional.cross_entropy, inputs, targets, **options)


def mlp(features: int, hidden: int, classes: int) -> nn.Sequential:
    """One hidden layer of ReLU units."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
