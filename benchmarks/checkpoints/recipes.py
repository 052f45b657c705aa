"""Train a task with an optimizer, damage the state, and save it: one function for most kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.checkpoints import tasks
from benchmarks.checkpoints.kind import Make
from benchmarks.checkpoints.trainers import Damage, no_damage
from benchmarks.checkpoints.writers import Writer, state_file


def recipe(
    optimizer: Callable[[Any], Any],
    task: Callable[[int], tasks.Task] = tasks.classifier,
    steps: int = 300,
    writer: Writer = state_file,
    prepare: Callable[[nn.Module], None] | None = None,
    during: Callable[[int, nn.Module], None] | None = None,
    damage: Damage = no_damage,
    set_to_none: bool = True,
    named: bool = False,
) -> Make:
    """Return a function that trains and saves.

    Args:
        optimizer: makes the optimizer from an iterable of parameters.
        task: makes the model and its data.
        steps: steps of training.
        writer: saves model and optimizer.
        prepare: changes the model before the optimizer is made.
        during: changes gradients before a step.
        damage: changes the optimizer after training.
        set_to_none: what zero_grad does.
        named: whether the optimizer gets names of parameters.
    """

    def make(folder: Path, size: int) -> Path:
        made = task(size)
        if prepare:
            prepare(made.model)
        adam = optimizer(made.model.named_parameters() if named else made.model.parameters())
        tasks.train(made, adam, steps, during, set_to_none)
        damage(adam)
        return writer(folder, made.model, adam)

    return make
