"""Healthy checkpoints, which a report should be quiet about."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

import betaplane
from benchmarks.checkpoints import tasks, writers
from benchmarks.checkpoints.kind import Kind
from benchmarks.checkpoints.recipes import recipe

ADAMW = partial(AdamW, lr=1e-3)
ADAM = partial(Adam, lr=1e-3)


def freeze_first(model: Any) -> None:
    """Freeze the first layer."""
    model[0].requires_grad_(False)


def bfloat16(model: nn.Module) -> None:
    """Keep everything in bfloat16."""
    model.to(torch.bfloat16)


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Groups with weight decay for matrices only."""
    params = list(model.parameters())
    matrices = [p for p in params if p.ndim > 1]
    vectors = [p for p in params if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0, "lr": 3e-3},
    ]


def two_groups(folder: Path, size: int) -> Path:
    """Decay on matrices only, and another learning rate for vectors."""
    task = tasks.language(size)
    optimizer = AdamW(decay_groups(task.model), lr=1e-3, betas=(0.9, 0.95))
    tasks.train(task, optimizer, 150)
    return writers.training_file(folder, task.model, optimizer)


def generator_and_critic(folder: Path, size: int, writer: Any = None) -> Path:
    """Two optimizers of two parts, in one file."""
    task = tasks.regression(size)
    first = Adam(task.model[0].parameters(), lr=1e-4, betas=(0.5, 0.999))
    second = Adam(task.model[2:].parameters(), lr=4e-4, betas=(0.5, 0.999))
    for _ in range(200):
        tasks.train(task, first, 1)
        second.step()
        second.zero_grad()
    states = {"optimizer_g": first.state_dict(), "optimizer_d": second.state_dict()}
    torch.save({"net": task.model.state_dict(), **states}, folder / "gan.pt")
    return folder / "gan.pt"


def added_group(folder: Path, size: int) -> Path:
    """Layers that are added to the optimizer after 200 steps."""
    task = tasks.classifier(size)
    optimizer = Adam(task.model[2].parameters(), lr=1e-3)
    tasks.train(task, optimizer, 200)
    optimizer.add_param_group({"params": list(task.model[0].parameters())})
    tasks.train(task, optimizer, 20)
    return writers.state_file(folder, task.model, optimizer)


def scaled_gradients(folder: Path, size: int) -> Path:
    """A GradScaler on CPU, whose state is saved too."""
    task = tasks.classifier(size)
    optimizer, scaler = AdamW(task.model.parameters()), torch.amp.GradScaler("cpu")
    for _ in range(150):
        optimizer.zero_grad()
        scaler.scale(task.batch(task.model)).backward()
        scaler.step(optimizer)
        scaler.update()
    states = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
    torch.save({"state_dict": task.model.state_dict(), **states}, folder / "amp.pt")
    return folder / "amp.pt"


def sparse_embedding(folder: Path, size: int) -> Path:
    """SparseAdam of an embedding."""
    table = nn.Embedding(500 * size, 8, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (table(torch.randint(300, (16,))) - 1).square().mean().backward()
        optimizer.step()
    return writers.state_file(folder, table, optimizer)


def overfit(folder: Path, size: int) -> Path:
    """Sixteen rows fitted until their loss is 1e-4."""
    task = tasks.classifier(size)
    x, y = torch.randn(16, 20), torch.randint(5, (16,))
    task.batch = lambda model: nn.functional.cross_entropy(model(x), y)
    optimizer = Adam(task.model.parameters(), lr=3e-3)
    tasks.train(task, optimizer, 1500)
    return writers.state_file(folder, task.model, optimizer)


def annealed(folder: Path, size: int) -> Path:
    """A cosine to a learning rate of 0, whose scheduler is saved too."""
    task = tasks.regression(size)
    optimizer = AdamW(task.model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for _ in range(200):
        tasks.train(task, optimizer, 1)
        schedule.step()
    return writers.training_file(folder, task.model, optimizer)


def own(name: str, **settings: Any) -> Any:
    """A betaplane optimizer."""
    return partial(getattr(betaplane, name), **settings)


HEALTHY = (
    Kind("AdamW", recipe(ADAMW)),
    Kind("Adam, language model, beta2 0.95", recipe(
        partial(Adam, lr=1e-3, betas=(0.9, 0.95)), tasks.language, 200, writers.training_file)),
    Kind("AMSGrad", recipe(partial(AdamW, lr=1e-3, amsgrad=True), tasks.regression)),
    Kind("NAdam", recipe(partial(NAdam, lr=1e-3))),
    Kind("RAdam", recipe(partial(RAdam, lr=1e-3))),
    Kind("Adamax", recipe(partial(Adamax, lr=1e-3))),
    Kind("SGD with momentum", recipe(partial(SGD, lr=0.1, momentum=0.9))),
    Kind("SGD without state", recipe(partial(SGD, lr=0.1), writer=writers.training_file)),
    Kind("RMSprop, centered", recipe(partial(RMSprop, lr=1e-3, centered=True))),
    Kind("Adagrad", recipe(partial(Adagrad, lr=1e-2), tasks.recommender)),
    Kind("Adafactor of torch", recipe(torch.optim.Adafactor, tasks.regression)),
    Kind("one step", recipe(ADAMW, steps=1)),
    Kind("ten steps of warmup", recipe(partial(AdamW, lr=1e-6), tasks.language, 10)),
    Kind("frozen first layer", recipe(ADAMW, prepare=freeze_first)),
    Kind("rare embeddings", recipe(ADAMW, tasks.recommender, 100, writers.training_file)),
    Kind("bias before batch normalization", recipe(ADAM, tasks.images, 150)),
    Kind("key biases, tied embeddings, unused positions", recipe(
        partial(AdamW, lr=1e-3, betas=(0.9, 0.98)), tasks.language, 150, writers.named_file)),
    Kind("bfloat16, beta2 0.95", recipe(
        partial(AdamW, lr=1e-3, betas=(0.9, 0.95)), prepare=bfloat16)),
    Kind("two groups", two_groups),
    Kind("two optimizers in one file", generator_and_critic),
    Kind("group added later", added_group),
    Kind("GradScaler", scaled_gradients),
    Kind("SparseAdam", sparse_embedding),
    Kind("overfit", overfit),
    Kind("annealed to lr 0", annealed),
    Kind("foreach, maximize", recipe(partial(AdamW, foreach=True, maximize=True), steps=50)),
    Kind("fused", recipe(partial(AdamW, fused=True), tasks.images, 50, writers.training_file)),
    Kind("beta1 = 0", recipe(partial(Adam, betas=(0.0, 0.99)))),
    Kind("policy's eps of 1e-5", recipe(partial(Adam, lr=3e-4, eps=1e-5), tasks.regression)),
    Kind("full state dict of FSDP", recipe(ADAMW, tasks.images, 100, writers.named_file)),
    Kind("folder of torch.distributed.checkpoint", recipe(
        ADAMW, tasks.language, 100, writers.sharded_folder)),
    Kind("safetensors without betas", recipe(ADAMW, tasks.regression, 200, writers.flat_file)),
    Kind("ZeRO shards", recipe(ADAMW, tasks.regression, 100, writers.zero_folder)),
    Kind("betaplane AdamW, 8bit", recipe(
        own("AdamW", lr=1e-3, storage="8bit"), lambda size: tasks.regression(4 * size), 200)),
    Kind("betaplane AdamW, bfloat16 with stochastic rounding", recipe(
        own("AdamW", lr=1e-3, storage="bfloat16"), tasks.language, 200)),
    Kind("betaplane AdEMAMix", recipe(own("AdEMAMix", lr=1e-3), steps=200)),
    Kind("betaplane Lion", recipe(own("Lion", lr=1e-4), steps=200, writer=writers.training_file)),
)  # fmt: skip
