"""Small problems that several claims share: seconds of training for dozens of runs."""

from __future__ import annotations

from torch import nn

from betaplane.problems import Problem, digits, text


def small_text(steps: int = 400, batch_size: int = 16, **options) -> Problem:
    """A character language model: one transformer block of width 16 on 16 characters of context."""
    return text(
        width=16, layers=1, heads=2, context=16, batch_size=batch_size, steps=steps, **options
    )


def small_conv(steps: int = 300, batch_size: int = 32, **options) -> Problem:
    """Digits with two convolutions of 3 x 3: 8 and 16 channels."""
    flat = digits(batch_size=batch_size, steps=steps, **options)
    return flat.with_(name="digits, convolutions", module=_convolutions)


def _convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
