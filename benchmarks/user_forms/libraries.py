"""Training loops of libraries: a LightningModule, and a Hugging Face Trainer."""

from __future__ import annotations

import tempfile
from typing import Any

import lightning.pytorch as pl
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import betaplane
from benchmarks.user_forms.loop import STEPS, Settings, seed_all, train
from benchmarks.user_forms.sequences import Windows, gpt2
from benchmarks.user_forms.tables import Regression, features, prices
from betaplane import Trainer

rows: Any = [*zip(features, prices, strict=True)]


class Module(pl.LightningModule):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.net, self.settings = Regression(), settings

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        return F.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        s = self.settings
        betas = s["beta1"], s["beta2"]
        return torch.optim.Adam(self.parameters(), lr=s["lr"], betas=betas, fused=True)


def lightning_form() -> Trainer:
    def make(settings: Settings, seed: int) -> tuple:
        return Module(settings), DataLoader(rows, batch_size=16, shuffle=True)

    return betaplane.from_lightning(make, "lightning", max_steps=STEPS, accelerator="cpu")


def lightning_loop(settings: Settings, seed: int) -> list[float]:
    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return F.mse_loss(model(batch[0]), batch[1])

    data = DataLoader(rows, batch_size=16, shuffle=True)
    return train(settings, seed, Regression, data, loss_of)


texts: Any = [{"input_ids": x, "labels": x} for x, _ in (Windows()[i] for i in range(24))]
folder = tempfile.mkdtemp(prefix="user-forms-")


def arguments(settings: Settings, seed: int) -> Any:
    return transformers.TrainingArguments(
        folder, max_steps=STEPS, per_device_train_batch_size=8, learning_rate=settings["lr"],
        adam_beta1=settings["beta1"], adam_beta2=settings["beta2"], max_grad_norm=1.0,
        lr_scheduler_type="constant", report_to=[], use_cpu=True, seed=seed,
    )  # fmt: skip


def trainer_form() -> Trainer:
    def make(settings: Settings, seed: int) -> Any:
        return transformers.Trainer(gpt2(), arguments(settings, seed), train_dataset=texts)

    return betaplane.from_trainer(make, "trainer")


def trainer_loop(settings: Settings, seed: int) -> list[float]:
    """The same Trainer without betaplane, which logs each loss."""
    seed_all(seed)
    own = arguments(settings, seed)
    own.logging_steps, own.save_strategy, own.logging_nan_inf_filter = 1, "no", False
    trainer = transformers.Trainer(gpt2(), own, train_dataset=texts)
    trainer.remove_callback(transformers.ProgressCallback)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
