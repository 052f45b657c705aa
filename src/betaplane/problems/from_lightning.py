"""`from_lightning`: runs of the user's own LightningModule."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.library_training import LibraryTraining, Make, check_make, name_of
from betaplane.problems.optimizer_settings import check_settings
from betaplane.problems.problem import Trainer
from betaplane.problems.reports import Report, StepLosses

MAKE = "def make(settings, seed): return Net(settings), DataLoader(...)"
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
TRAINER_FIELDS = ("best", "defaults", "note")


def from_lightning(
    make: Make,
    name: str | None = None,
    *,
    monitor: str = "val_loss",
    **options: Any,
) -> Trainer:
    """A problem from a LightningModule.

    Each run calls `make` and fits what it returns. Losses are those of `backward`, summed over the
    batches of a step. A run whose verdict is certain is stopped. The settings that a map varies are
    read back from the optimizers: one that had no effect is an error.

    Args:
        make: make(settings, seed) -> (module, data) or (module, data, trainer), with a new module.
            data is a DataLoader, several, or a LightningDataModule. settings has beta1, beta2, lr,
            eps, weight_decay and batch_size; use those that you map. All random generators are
            seeded before the call.
        name: name on maps and in the store; by default that of the function.
        monitor: the logged metric of the held-out data.
        options: if `make` returns no trainer, the options of `lightning.Trainer`: at least
            max_steps or max_epochs. Also further fields of `betaplane.Trainer` (best, defaults,
            note).

    Raises:
        BadInput: Lightning is not installed.

    Example:
        >>> from_lightning("module")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadType: make is not callable: got 'module'; expected a function (from_lightning). Try: ...
    """
    package = "pytorch_lightning" if find_spec("pytorch_lightning") else "lightning"
    check_make(make, MAKE, "from_lightning", package, "lightning")
    fields = {key: options.pop(key) for key in TRAINER_FIELDS if key in options}
    training = LightningTraining(make, monitor, options)
    return Trainer(name or name_of(make, "lightning"), training, **fields)


class LightningTraining(LibraryTraining):
    """train(settings, seed) for a function that makes a LightningModule and its data."""

    def __init__(self, make: Make, monitor: str, options: dict[str, Any]) -> None:
        super().__init__(make)
        self.monitor, self.options = monitor, options

    def run(self, settings: dict[str, float], seed: int, report: Report) -> None:
        """Fit, until the end or until the verdict is certain."""
        pl = _lightning()
        with preserve_generators(), _quiet():
            seed_generators(seed)
            module, data, trainer = self._made(pl, self.make(settings, seed))
            self.fresh.check(module, trainer.global_step, "from_lightning")
            hooks: Any = type("_Hooks", (_Hooks, pl.Callback), {})
            trainer.callbacks.append(hooks(settings, report, self.monitor))
            if isinstance(data, pl.LightningDataModule):
                trainer.fit(module, datamodule=data)
            else:
                trainer.fit(module, *(data if isinstance(data, (tuple, list)) else (data,)))

    def _made(self, pl: Any, made: Any) -> tuple[Any, Any, Any]:
        """Module, data and trainer from what `make` returned."""
        parts: tuple[Any, ...] = made if isinstance(made, tuple) else (made,)
        if len(parts) not in (2, 3) or not isinstance(parts[0], pl.LightningModule):
            raise BadInput(
                "make(settings, seed) does not return a module and data",
                value=", ".join(type(part).__name__ for part in parts),
                allowed="(LightningModule, data) or (LightningModule, data, lightning.Trainer)",
                where="from_lightning",
                instead=MAKE,
            )
        trainer = parts[2] if len(parts) == 3 else self._trainer(pl)
        return parts[0], parts[1], trainer

    def _trainer(self, pl: Any) -> Any:
        if not self.options.keys() & {"max_steps", "max_epochs", "max_time"}:
            raise BadInput(
                "The length of a run is not given",
                allowed="max_steps or max_epochs",
                where="from_lightning",
                instead="from_lightning(make, max_epochs=3)",
            )
        return pl.Trainer(**{**QUIET, **self.options})


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from printing devices and tips for each run."""
    loggers = [logging.getLogger(name) for name in ("lightning", "pytorch_lightning")]
    loggers += [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _lightning() -> Any:
    """Lightning, as the package that is installed."""
    return import_module("lightning.pytorch" if find_spec("lightning") else "pytorch_lightning")


class _Hooks:
    """The callback of a run. Lightning divides each loss by the number of accumulated batches."""

    def __init__(self, settings: dict[str, float], report: Report, monitor: str) -> None:
        self.settings, self.report, self.monitor = settings, report, monitor
        self.losses = StepLosses(report, None)
        self.batches: list[Tensor] = []
        self.steps_done = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that the settings arrived, before anything is trained."""
        where = "from_lightning, make(settings, seed)"
        size = getattr(trainer.train_dataloader, "batch_size", None)
        sizes = (size, size * trainer.accumulate_grad_batches) if isinstance(size, int) else ()
        check_settings(self.settings, self.report.varied, trainer.optimizers, sizes, where)
        steps = trainer.estimated_stepping_batches
        self.losses = StepLosses(self.report, int(steps) if 0 < steps < float("inf") else None)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Store the loss of a batch."""
        self.batches.append(loss.detach())

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the loss of a step, if one was made."""
        if trainer.global_step == self.steps_done or not self.batches:
            return
        self.steps_done = trainer.global_step
        loss = sum(float(batch) for batch in self.batches)
        self.batches = []
        if self.losses.step(loss):
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the held-out metric, except of the check before training."""
        value = trainer.callback_metrics.get(self.monitor)
        if value is not None and not trainer.sanity_checking:
            self.report.validation(float(value))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the last, incomplete window."""
        self.losses.end()
