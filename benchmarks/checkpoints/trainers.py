"""Checkpoints of the Trainers of Hugging Face and Lightning."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.checkpoints import tasks

Damage = Callable[[Any], None]


def no_damage(optimizer: Any) -> None:
    """Leave the optimizer as it is."""


def gpt2_folder(
    folder: Path, size: int, steps: int = 60, damage: Damage = no_damage, **arguments: Any
) -> Path:
    """Train a small GPT-2 with Hugging Face's Trainer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 16 * size, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 64}
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    return trainer_folder(folder, model, steps, damage, **arguments)


def adapter_folder(folder: Path, size: int, steps: int = 60, damage: Damage = no_damage) -> Path:
    """Train a LoRA adapter of a small GPT-2 with Hugging Face's Trainer."""
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 32 * size, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 64}
    base = GPT2LMHeadModel(GPT2Config(**sizes))
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True))
    return trainer_folder(folder, adapted, steps, damage)


def trainer_folder(folder: Path, model: Any, steps: int, damage: Damage, **arguments: Any) -> Path:
    """Train a model of token sequences; returns the folder of its last checkpoint."""
    import transformers

    transformers.logging.set_verbosity_error()
    ids = tasks.markov_ids(torch.softmax(2 * torch.randn(60, 60), 1), 256, 16)
    rows = [{"input_ids": row, "labels": row} for row in ids]

    class DamageAtEnd(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == steps:
                damage(kwargs["optimizer"])

    settings: dict[str, Any] = {"use_cpu": True, "report_to": [], "disable_tqdm": True}
    settings |= {"save_steps": steps, "max_steps": steps, "learning_rate": 1e-3}
    settings |= {"per_device_train_batch_size": 8, "logging_steps": 1000, **arguments}
    args = transformers.TrainingArguments(output_dir=str(folder), **settings)
    trainer = transformers.Trainer(model, args, train_dataset=rows, callbacks=[DamageAtEnd()])
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return folder / f"checkpoint-{steps}"


def lightning_file(
    folder: Path, size: int, damage: Damage = no_damage, second: bool = False
) -> Path:
    """Train with Lightning, with one optimizer or one for each of two parts."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    task = tasks.classifier(size)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = task.model
            self.automatic_optimization = not second

        def training_step(self, batch: Any, index: int) -> Any:
            loss = task.batch(self.net)
            if not second:
                return loss
            optimizers: Any = self.optimizers()
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in optimizers:
                optimizer.step()

        def configure_optimizers(self) -> Any:
            if not second:
                return torch.optim.AdamW(self.parameters(), lr=1e-3)
            parts = [self.net[0], self.net[2]]
            return [torch.optim.Adam(part.parameters(), lr=1e-3) for part in parts]

    module = Module()
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=1, **quiet)
    trainer.fit(module, DataLoader(torch.zeros(100), batch_size=1))
    damage(trainer.optimizers[-1])
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"
