"""Losses with low-precision states and weights, against float32.

`python -m benchmarks.low_precision_training [steps] [seeds]` trains a character model
(`betaplane.problems.text`) with AdamW in every format, from the same weights and with the same
minibatches. It prints the mean loss of the last tenth of the steps, relative to float32 with the
same seed: the mean and the worst over the seeds. "naive bfloat16" is torch.optim.AdamW on bfloat16
weights.
"""

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


def final_loss(problem: Problem, name: str, seed: int) -> float:
    """The mean loss of the last tenth of the steps."""
    optimizer_class, options, dtype = FORMATS[name]
    module = problem.fresh(seed).to(dtype)
    optimizer = optimizer_class(
        module.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1, **options
    )
    factors = multipliers("warmup_cosine", problem.steps, 0.05)
    stream = minibatches(problem.examples, problem.batch_size, problem.order, seed, problem.steps)
    losses = []
    for step, index in enumerate(next(stream)):
        optimizer.param_groups[0]["lr"] = LR * float(factors[step])
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
    arguments = [int(argument) for argument in sys.argv[1:3]]
    steps, seeds = arguments + [600, 3][len(arguments) :]
    problem = text(width=64, steps=steps)
    print(f"{problem.note}; {steps} steps, {seeds} seeds, lr {LR} with cosine, betas (0.9, 0.95)")
    exact = [final_loss(problem, "float32", seed) for seed in range(seeds)]
    per_seed = ", ".join(f"{loss:.4f}" for loss in exact)
    print(f"  {'float32':32} loss {statistics.mean(exact):.4f}  ({per_seed})", flush=True)
    for name in list(FORMATS)[1:]:
        losses = [final_loss(problem, name, seed) for seed in range(seeds)]
        differences = [loss / wide - 1 for loss, wide in zip(losses, exact, strict=True)]
        worst = max(differences, key=abs)
        text_ = f"{statistics.mean(differences):+7.2%} of float32's, worst seed {worst:+7.2%}"
        print(f"  {name:32} loss {statistics.mean(losses):.4f}  {text_}", flush=True)


if __name__ == "__main__":
    main()
