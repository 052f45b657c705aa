"""Training with small states and small weights beside float32: `python -m benchmarks.trained
[steps] [seeds]`.

A character model (`betaplane.problems.text`) is trained by AdamW in every format, from the same
weights and over the same minibatches; the loss is that of the last tenth of the steps, and what is
printed is how far it is from float32's with the same seed, mean and worst over the seeds. "naive
bfloat16" is torch.optim.AdamW on bfloat16 weights."""

from __future__ import annotations

import statistics
import sys
import warnings

import torch
from torch import nn

import betaplane.optim
from betaplane.problems import text
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.theory.schedules import multipliers

LR = 3e-3
FORMATS: dict[str, tuple[type, dict, torch.dtype]] = {
    "float32": (betaplane.optim.AdamW, {}, torch.float32),
    "bfloat16 states": (betaplane.optim.AdamW, {"storage": "bfloat16"}, torch.float32),
    "8-bit states": (betaplane.optim.AdamW, {"storage": "8bit"}, torch.float32),
    "8-bit states, dynamic map": (
        betaplane.optim.AdamW,
        {"storage": "dynamic 8bit"},
        torch.float32,
    ),
    "bfloat16 weights, kahan": (betaplane.optim.AdamW, {"rounding": "kahan"}, torch.bfloat16),
    "the same, 8-bit states": (
        betaplane.optim.AdamW,
        {"rounding": "kahan", "storage": "8bit"},
        torch.bfloat16,
    ),
    "bfloat16 weights, stochastic": (
        betaplane.optim.AdamW,
        {"rounding": "stochastic"},
        torch.bfloat16,
    ),
    "naive bfloat16": (torch.optim.AdamW, {"fused": True}, torch.bfloat16),
}


def trained(problem: Problem, name: str, seed: int) -> float:
    """The mean loss of the last tenth of the steps."""
    kind, options, dtype = FORMATS[name]
    module = problem.fresh(seed).to(dtype)
    optimizer = kind(module.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1, **options)
    mult = multipliers("warmup_cosine", problem.steps, 0.05)
    stream = minibatches(problem.examples, problem.batch_size, problem.order, seed, problem.steps)
    losses = []
    for step, index in enumerate(next(stream)):
        optimizer.param_groups[0]["lr"] = LR * float(mult[step])
        optimizer.zero_grad()
        output = module(problem.inputs[index])
        loss = nn.functional.cross_entropy(
            output.flatten(0, 1).float(), problem.targets[index].flatten()
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return statistics.mean(losses[-problem.steps // 10 :])


def main() -> None:
    warnings.filterwarnings("ignore", message=".*round to zero.*")
    given = [int(word) for word in sys.argv[1:3]]
    steps, seeds = given + [600, 3][len(given) :]
    problem = text(width=64, steps=steps)
    print(f"{problem.note}; {steps} steps, {seeds} seeds, lr {LR} with cosine, betas (0.9, 0.95)")
    exact = [trained(problem, "float32", seed) for seed in range(seeds)]
    print(
        f"  {'float32':32} loss {statistics.mean(exact):.4f}  ({', '.join(f'{loss:.4f}' for loss in exact)})",
        flush=True,
    )
    for name in list(FORMATS)[1:]:
        found = [trained(problem, name, seed) for seed in range(seeds)]
        off = [loss / wide - 1 for loss, wide in zip(found, exact, strict=True)]
        worst = max(off, key=abs)
        told = f"{statistics.mean(off):+7.2%} of float32's, worst seed {worst:+7.2%}"
        print(f"  {name:32} loss {statistics.mean(found):.4f}  {told}", flush=True)


if __name__ == "__main__":
    main()
