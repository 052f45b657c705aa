"""Small problems that several claims share: seconds of training for dozens of runs."""

from __future__ import annotations

from betaplane.problems import Problem, text


def small_text(steps: int = 400, batch_size: int = 16, **options) -> Problem:
    """A character language model: one transformer block of width 16 on 16 characters of context."""
    return text(
        width=16, layers=1, heads=2, context=16, batch_size=batch_size, steps=steps, **options
    )
