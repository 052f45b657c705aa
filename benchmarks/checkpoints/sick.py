"""Checkpoints with faults that a report should name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, AdamW

from benchmarks.checkpoints import damage, tasks, trainers, writers
from benchmarks.checkpoints.healthy import ADAMW, bfloat16, generator_and_critic, own
from benchmarks.checkpoints.kind import Kind, Make
from benchmarks.checkpoints.libraries import big, bnb, timm, torchao
from benchmarks.checkpoints.recipes import recipe

NAN, INF = float("nan"), float("inf")
STALE = ("stale-v", "one-gradient")
LM = partial(AdamW, lr=1e-3, betas=(0.9, 0.95))


def spike(at: int, factor: float) -> Callable[[int, nn.Module], None]:
    """Return a hook that multiplies the gradients of one step."""

    def during(step: int, model: nn.Module) -> None:
        if step == at:
            scale_gradients(model, factor)

    return during


def scaled(factor: float, until: int = 10**9) -> Callable[[int, nn.Module], None]:
    """Return a hook that multiplies all gradients up to a step, as a scaler that is not undone."""

    def during(step: int, model: nn.Module) -> None:
        if step <= until:
            scale_gradients(model, factor)

    return during


def scale_gradients(model: nn.Module, factor: float) -> None:
    """Multiply all gradients."""
    for p in model.parameters():
        if p.grad is not None:
            p.grad.mul_(factor)


def detached(step: int, model: Any) -> None:
    """Zero the gradients of the first layer, as a graph that is cut there gives."""
    for p in model[0].parameters():
        p.grad.zero_()


def half(model: nn.Module) -> None:
    """Keep everything in float16."""
    model.to(torch.float16)


def damaged_file(make: Make, keep: float) -> Make:
    """Cut a file that is written."""

    def cut(folder: Path, size: int) -> Path:
        path = make(folder, size)
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        return path

    return cut


def without_shard(make: Make) -> Make:
    """Remove one data file of a folder."""

    def remove(folder: Path, size: int) -> Path:
        path = make(folder, size)
        next(path.glob("*.distcp")).unlink()
        return path

    return remove


def nan_weights(folder: Path, size: int) -> Path:
    """Weights that are not finite beside moments that are."""
    task = tasks.classifier(size)
    optimizer = AdamW(task.model.parameters())
    tasks.train(task, optimizer, 100)
    with torch.no_grad():
        next(task.model.parameters())[0, 0] = NAN
    return writers.training_file(folder, task.model, optimizer)


def other_model(folder: Path, size: int) -> Path:
    """The optimizer of a model beside the weights of a wider one."""
    task = tasks.classifier(size)
    optimizer = AdamW(task.model.parameters())
    tasks.train(task, optimizer, 100)
    return writers.training_file(folder, tasks.classifier(2 * size).model, optimizer)


def sick_critic(folder: Path, size: int) -> Path:
    """Two optimizers, the second with a lost v."""
    path = generator_and_critic(folder, size)
    states = torch.load(path)
    for state in states["optimizer_d"]["state"].values():
        state["exp_avg_sq"].zero_()
    torch.save(states, path)
    return path


def zero_blocks(optimizer: Any) -> None:
    """Lose most blocks of an 8-bit v of bitsandbytes."""
    for state in damage.states(optimizer):
        if "absmax2" in state:
            state["absmax2"][1:] = 0


def low_bits_lost(optimizer: Any) -> None:
    """Lose an 8-bit v of torchao."""
    for state in damage.states(optimizer):
        if hasattr(state["exp_avg_sq"], "scale"):
            state["exp_avg_sq"].scale.zero_()


def own_8bit_lost(optimizer: Any) -> None:
    """Lose an 8-bit v of betaplane."""
    for state in damage.states(optimizer):
        for key, value in state.items():
            if "exp_avg_sq" in key and torch.is_tensor(value):
                value.zero_()


lose_v, lose_m = damage.zero("exp_avg_sq"), damage.zero("exp_avg")
first, every, group = damage.one, damage.every, damage.group

SICK = (
    Kind("v lost in one layer", recipe(ADAMW, damage=first(lose_v)), ("lost-v",)),
    Kind("v lost everywhere", recipe(LM, tasks.language, 100, damage=every(lose_v)), ("lost-v",)),
    Kind("half of v lost", recipe(ADAMW, damage=first(damage.lose_half)), ("lost-v",)),
    Kind("m lost", recipe(ADAMW, tasks.regression, damage=every(lose_m)), ("lost-m",)),
    Kind("one giant gradient 30 steps ago", recipe(
        ADAMW, during=spike(270, 1e4)), STALE),
    Kind("gradients of a scaler until step 200", recipe(
        ADAMW, tasks.regression, during=scaled(1024.0, 200), steps=260), STALE),
    Kind("AMSGrad after one giant gradient", recipe(
        partial(AdamW, amsgrad=True), steps=2000, during=spike(20, 1e4)), STALE),
    Kind("AMSGrad, largest v below v", recipe(
        partial(AdamW, amsgrad=True), damage=first(damage.scale("max_exp_avg_sq", 0.01))),
        ("inconsistent-max",)),
    Kind("NaN in m", recipe(ADAMW, damage=first(damage.fill("exp_avg", NAN))), ("not-finite",)),
    Kind("NaN in v of the last layer", recipe(
        ADAMW, damage=first(damage.fill("exp_avg_sq", NAN), -1)), ("not-finite",)),
    Kind("v overflowed", recipe(ADAMW, steps=60, during=spike(50, 1e25)), ("not-finite",)),
    Kind("negative v", recipe(
        ADAMW, damage=first(damage.fill("exp_avg_sq", -1e-3))), ("negative-v",)),
    Kind("m and v exchanged", recipe(
        ADAMW, tasks.regression, damage=every(damage.swap_moments)), ("negative-v",)),
    Kind("never got a gradient", recipe(
        ADAMW, during=detached, set_to_none=False, steps=60), ("no-gradient",)),
    Kind("count ahead of its moments", recipe(
        ADAMW, steps=20, damage=every(damage.count(100_000))), ("above-steady", "above-bound")),
    Kind("count of one layer ahead", recipe(
        ADAMW, steps=20, damage=first(damage.count(5000))),
        ("above-steady", "above-bound", "steps-differ")),
    Kind("count reset to 0", recipe(ADAMW, damage=every(damage.count(0))), ("step-reset",)),
    Kind("count reset and continued", recipe(ADAMW, damage=every(damage.count(5))),
         ("step-reset", "above-bound", *STALE)),
    Kind("count not a number", recipe(ADAMW, damage=every(damage.count(NAN))), ("step-invalid",)),
    Kind("count negative", recipe(ADAMW, damage=every(damage.count(-3))), ("step-invalid",)),
    Kind("count in bfloat16", recipe(
        ADAMW, steps=300, damage=every(damage.cast(torch.bfloat16))), ("step-stuck", "rounded-v")),
    Kind("bfloat16 v, beta2 0.999", recipe(ADAMW, prepare=bfloat16), ("rounded-v",)),
    Kind("float16 v underflows", recipe(
        partial(AdamW, eps=1e-7), prepare=half, during=scaled(1e-3)), ("underflow", "lost-v", "rounded-v")),
    Kind("v has another shape than m", recipe(
        ADAMW, damage=first(damage.truncate)), ("shape",)),
    Kind("state in another order", recipe(
        ADAMW, damage=damage.rotate, writer=writers.training_file, named=True), ("shape",)),
    Kind("optimizer of another model", other_model, ("shape",)),
    Kind("beta1^2 >= beta2", recipe(partial(Adam, betas=(0.95, 0.85))), ("betas",)),
    Kind("betas exchanged", recipe(partial(Adam, betas=(0.999, 0.9)), steps=50), ("betas",)),
    Kind("betas that contradict the moments", recipe(
        partial(Adam, betas=(0.9, 0.9999)), steps=50, damage=group(betas=(0.9, 0.9))),
        ("above-steady", "above-bound")),
    Kind("gradients below eps", recipe(ADAMW, during=scaled(1e-9)), ("below-eps",)),
    Kind("eps of 1", recipe(partial(Adam, eps=1.0)), ("below-eps",)),
    Kind("lr not a number", recipe(ADAMW, damage=group(lr=NAN)), ("setting",)),
    Kind("lr negative", recipe(ADAMW, damage=group(lr=-1e-3)), ("setting",)),
    Kind("decay of more than the weight", recipe(
        ADAMW, damage=group(lr=0.5, weight_decay=10.0)), ("setting",)),
    Kind("weights not finite", nan_weights, ("weights-not-finite",)),
    Kind("file cut", damaged_file(recipe(ADAMW), 0.6), ("damaged",)),
    Kind("shard missing", without_shard(recipe(
        ADAMW, tasks.language, 30, writers.sharded_folder)), ("damaged",)),
    Kind("two optimizers, v of the second lost", sick_critic, ("lost-v",)),
    Kind("safetensors, v lost", recipe(
        ADAMW, damage=first(lose_v), writer=writers.flat_file), ("lost-v",)),
    Kind("sharded folder, v lost", recipe(
        LM, tasks.language, 50, writers.sharded_folder, damage=first(lose_v, 3)), ("lost-v",)),
    Kind("named state, NaN", recipe(
        ADAMW, damage=first(damage.fill("exp_avg_sq", NAN)), writer=writers.named_file),
        ("not-finite",)),
    Kind("ZeRO shards, NaN", recipe(
        ADAMW, damage=first(damage.fill("exp_avg", NAN), -1), writer=writers.zero_folder),
        ("not-finite",)),
    Kind("ZeRO shards, v lost", recipe(
        ADAMW, damage=every(lose_v), writer=writers.zero_folder), ("lost-v",)),
    Kind("betaplane 8bit, v lost", recipe(
        own("AdamW", lr=1e-3, storage="8bit"), big, 100, damage=own_8bit_lost), ("lost-v",)),
    Kind("betaplane 8bit, one giant gradient", recipe(
        own("AdamW", lr=1e-3, storage="8bit"), big, 100, during=spike(80, 1e4)), STALE),
    Kind("betaplane Lion, NaN", recipe(
        own("Lion", lr=1e-4), damage=first(damage.fill("exp_avg", NAN))), ("not-finite",)),
    Kind("Trainer, v lost", partial(trainers.gpt2_folder, damage=every(lose_v)),
         ("lost-v",), ("transformers",)),
    Kind("Trainer, count reset", partial(trainers.gpt2_folder, damage=every(damage.count(0))),
         ("step-reset",), ("transformers",)),
    Kind("Lightning, NaN in the second optimizer", partial(
        trainers.lightning_file, second=True, damage=first(damage.fill("exp_avg_sq", INF))),
        ("not-finite",), ("lightning",)),
    Kind("Accelerate, m lost", recipe(
        ADAMW, damage=every(lose_m), writer=writers.accelerate_folder), ("lost-m",),
        ("accelerate",)),
    Kind("Accelerate, one giant gradient", recipe(
        LM, tasks.language, 60, writers.accelerate_folder, during=spike(40, 1e5)), STALE,
        ("accelerate",)),
    Kind("bitsandbytes 8bit, most blocks of v lost", recipe(
        bnb("AdamW8bit", lr=1e-3), big, 100, damage=zero_blocks), ("lost-v",), ("bitsandbytes",)),
    Kind("bitsandbytes 8bit, scale not a number", recipe(
        bnb("AdamW8bit", lr=1e-3), big, 100, damage=first(damage.fill("absmax2", NAN), 2)),
        ("not-finite",), ("bitsandbytes",)),
    Kind("bitsandbytes 8bit, count ahead", recipe(
        bnb("AdamW8bit", lr=1e-3), big, 20, damage=every(damage.count(90_000))),
        ("above-steady", "above-bound"), ("bitsandbytes",)),
    Kind("bitsandbytes 8bit, count reset", recipe(
        bnb("AdamW8bit", lr=1e-3), big, 100, damage=every(damage.count(0))), ("step-reset",),
        ("bitsandbytes",)),
    Kind("torchao 8bit, v lost", recipe(
        torchao("AdamW8bit", lr=1e-3), big, 40, damage=low_bits_lost), ("lost-v",), ("torchao",)),
    Kind("torchao 8bit, one giant gradient", recipe(
        torchao("AdamW8bit", lr=1e-3), big, 40, during=spike(25, 1e4)), STALE,
        ("torchao",)),
    Kind("timm nadamw, v lost", recipe(
        timm("nadamw", lr=1e-3), tasks.images, 50, writers.timm_file, damage=first(lose_v)),
        ("lost-v",), ("timm",)),
)  # fmt: skip
