"""`from_trainer`: runs of the user's own Hugging Face Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.library_training import LibraryTraining, Make, check_make, name_of
from betaplane.problems.optimizer_settings import check_settings
from betaplane.problems.problem import Trainer
from betaplane.problems.reports import Report, StepLosses

MAKE = "def make(settings, seed): return Trainer(model, TrainingArguments(...), train_dataset=...)"


def from_trainer(make: Make, name: str | None = None, **fields: Any) -> Trainer:
    """A problem from a Hugging Face Trainer.

    Each run calls `make` and `train` of the Trainer that it returns. Losses are read after every
    step, unrounded. A run whose verdict is certain is stopped, and nothing is saved. The settings
    that a map varies are read back from the optimizer: one that had no effect is an error.

    Args:
        make: make(settings, seed) -> transformers.Trainer, with a new model. settings has beta1,
            beta2, lr, eps, weight_decay and batch_size; use those that you map. All random
            generators are seeded before the call; pass `seed=seed` to TrainingArguments too, which
            seeds them again.
        name: name on maps and in the store; by default that of the function.
        fields: further fields of `betaplane.Trainer`, such as `defaults={"lr": 5e-5}`.

    Raises:
        BadInput: transformers is not installed.

    Example:
        >>> from_trainer("trainer")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadType: make is not callable: got 'trainer'; expected a function (from_trainer). Try: ...
    """
    check_make(make, MAKE, "from_trainer", "transformers", "hf")
    return Trainer(name or name_of(make, "trainer"), HuggingFaceTraining(make), **fields)


class HuggingFaceTraining(LibraryTraining):
    """train(settings, seed) for a function that makes a Hugging Face Trainer."""

    def run(self, settings: dict[str, float], seed: int, report: Report) -> None:
        """Train, until the end or until the verdict is certain."""
        import transformers  # pyright: ignore[reportMissingImports]

        with preserve_generators():
            seed_generators(seed)
            trainer = self.make(settings, seed)
            if not isinstance(trainer, transformers.Trainer):
                raise BadInput(
                    "make(settings, seed) does not return a Trainer",
                    value=type(trainer).__name__,
                    allowed="a transformers.Trainer",
                    where="from_trainer",
                    instead=MAKE,
                )
            self.fresh.check(trainer.model, trainer.state.global_step, "from_trainer")
            _silence(trainer)
            hooks: Any = type("_Hooks", (_Hooks, transformers.TrainerCallback), {})
            trainer.add_callback(hooks(trainer, settings, report))
            trainer.train()


def _silence(trainer: Any) -> None:
    """Remove the callbacks that only print."""
    from transformers.trainer_callback import (  # pyright: ignore[reportMissingImports]
        PrinterCallback,
        ProgressCallback,
    )

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)


class _Hooks:
    """The callback of a run; `training_step` of the Trainer is wrapped to read unrounded losses.

    The Trainer divides the loss of each accumulated batch, so that they add up to that of the step.
    """

    def __init__(self, trainer: Any, settings: dict[str, float], report: Report) -> None:
        self.trainer, self.settings, self.report = trainer, settings, report
        self.losses = StepLosses(report, None)
        self.batches: list[Tensor] = []
        trainer.training_step = partial(self._training_step, trainer.training_step)

    def _training_step(self, training_step: Callable, *args: Any, **kwargs: Any) -> Any:
        loss = training_step(*args, **kwargs)
        self.batches.append(loss.detach())
        return loss

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check that the settings arrived, before anything is trained."""
        size = args.per_device_train_batch_size
        sizes = (size, size * args.gradient_accumulation_steps, args.train_batch_size)
        where = "from_trainer, make(settings, seed)"
        check_settings(self.settings, self.report.varied, [kwargs["optimizer"]], sizes, where)
        self.losses = StepLosses(self.report, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the loss of the step."""
        loss = sum(float(batch) for batch in self.batches) if self.batches else math.nan
        self.batches = []
        if self.losses.step(loss):
            control.should_training_stop = True
        control.should_save = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save nothing."""
        control.should_save = False

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the held-out loss."""
        metrics = kwargs.get("metrics") or {}
        if "eval_loss" in metrics:
            self.report.validation(metrics["eval_loss"])
        control.should_save = False

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the last, incomplete window."""
        self.losses.end()
