"""Healthy checkpoints of libraries beyond torch."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.checkpoints import tasks, trainers, writers
from benchmarks.checkpoints.kind import Kind
from benchmarks.checkpoints.recipes import recipe


def big(size: int) -> tasks.Task:
    """Layers large enough for states in 8 bits."""
    return tasks.regression(4 * size)


def bnb(name: str, **settings: Any) -> Any:
    """An optimizer of bitsandbytes."""

    def make(params: Any) -> Any:
        import bitsandbytes

        return getattr(bitsandbytes.optim, name)(params, **settings)

    return make


def torchao(name: str, **settings: Any) -> Any:
    """An optimizer of torchao."""

    def make(params: Any) -> Any:
        import torchao.optim

        return getattr(torchao.optim, name)(params, **settings)

    return make


def timm(name: str, **settings: Any) -> Any:
    """An optimizer of timm."""

    def make(params: Any) -> Any:
        from timm.optim import create_optimizer_v2

        return create_optimizer_v2(list(params), name, **settings)

    return make


def pytorch_optimizer(name: str, **settings: Any) -> Any:
    """An optimizer of pytorch-optimizer."""

    def make(params: Any) -> Any:
        import pytorch_optimizer as package

        return package.load_optimizer(name)(params, **settings)

    return make


def schedule_free(params: Any) -> Any:
    """AdamW of the authors of Schedule-Free."""
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(params, lr=1e-3)
    optimizer.train()
    return optimizer


def lion(params: Any) -> Any:
    """Lion of lion-pytorch."""
    from lion_pytorch import Lion

    return Lion(params, lr=1e-4)


ADAMW = partial(torch.optim.AdamW, lr=1e-3)

LIBRARIES = (
    Kind("Trainer, GPT-2", trainers.gpt2_folder, needs=("transformers",)),
    Kind("Trainer, GPT-2, Adafactor", partial(trainers.gpt2_folder, optim="adafactor"),
         needs=("transformers",)),
    Kind("Trainer, GPT-2, adamw_bnb_8bit",
         partial(trainers.gpt2_folder, optim="adamw_bnb_8bit"),
         needs=("transformers", "bitsandbytes")),
    Kind("Trainer, GPT-2, bf16 and accumulation",
         partial(trainers.gpt2_folder, bf16=True, gradient_accumulation_steps=2),
         needs=("transformers",)),
    Kind("Trainer, LoRA", trainers.adapter_folder, needs=("transformers", "peft")),
    Kind("Lightning", trainers.lightning_file, needs=("lightning",)),
    Kind("Lightning, two optimizers", partial(trainers.lightning_file, second=True),
         needs=("lightning",)),
    Kind("Accelerate", recipe(ADAMW, tasks.regression, 100, writers.accelerate_folder),
         needs=("accelerate",)),
    Kind("Accelerate, language model", recipe(
        ADAMW, tasks.language, 100, writers.accelerate_folder), needs=("accelerate",)),
    Kind("bitsandbytes AdamW8bit", recipe(bnb("AdamW8bit", lr=1e-3), big, 200),
         needs=("bitsandbytes",)),
    Kind("bitsandbytes Adam8bit, language model", recipe(
        bnb("Adam8bit", lr=1e-3, betas=(0.9, 0.95)), lambda size: tasks.language(4 * size), 60,
        writers.training_file), needs=("bitsandbytes",)),
    Kind("bitsandbytes AdamW32bit", recipe(bnb("AdamW32bit", lr=1e-3), steps=100),
         needs=("bitsandbytes",)),
    Kind("bitsandbytes Lion8bit", recipe(bnb("Lion8bit", lr=1e-4), big, 100),
         needs=("bitsandbytes",)),
    Kind("bitsandbytes AdEMAMix8bit", recipe(bnb("AdEMAMix8bit", lr=1e-3), big, 100),
         needs=("bitsandbytes",)),
    Kind("torchao AdamW8bit", recipe(torchao("AdamW8bit", lr=1e-3), big, 40), needs=("torchao",)),
    Kind("torchao AdamW4bit", recipe(torchao("AdamW4bit", lr=1e-3), big, 40), needs=("torchao",)),
    Kind("torchao AdamWFp8", recipe(torchao("AdamWFp8", lr=1e-3), big, 40), needs=("torchao",)),
    Kind("timm adamw, CheckpointSaver", recipe(
        timm("adamw", lr=1e-3), tasks.images, 150, writers.timm_file), needs=("timm",)),
    Kind("timm lamb", recipe(timm("lamb", lr=1e-2), tasks.images, 100), needs=("timm",)),
    Kind("timm nadamw", recipe(timm("nadamw", lr=1e-3), tasks.images, 100), needs=("timm",)),
    Kind("timm adafactorbv", recipe(timm("adafactorbv", lr=1e-3), tasks.images, 100),
         needs=("timm",)),
    Kind("timm adopt", recipe(timm("adopt", lr=1e-3), tasks.images, 100), needs=("timm",)),
    Kind("timm laprop", recipe(timm("laprop", lr=1e-3), tasks.images, 100), needs=("timm",)),
    Kind("pytorch-optimizer AdaBelief", recipe(pytorch_optimizer("adabelief", lr=1e-3)),
         needs=("pytorch_optimizer",)),
    Kind("pytorch-optimizer StableAdamW", recipe(pytorch_optimizer("stableadamw", lr=1e-3)),
         needs=("pytorch_optimizer",)),
    Kind("pytorch-optimizer Adan", recipe(pytorch_optimizer("adan", lr=1e-3)),
         needs=("pytorch_optimizer",)),
    Kind("pytorch-optimizer Prodigy", recipe(pytorch_optimizer("prodigy")),
         needs=("pytorch_optimizer",)),
    Kind("pytorch-optimizer AdaPNM", recipe(pytorch_optimizer("adapnm", lr=1e-3)),
         needs=("pytorch_optimizer",)),
    Kind("Schedule-Free AdamW", recipe(schedule_free, tasks.regression), needs=("schedulefree",)),
    Kind("lion-pytorch", recipe(lion, writer=writers.training_file), needs=("lion_pytorch",)),
)  # fmt: skip
