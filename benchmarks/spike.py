"""A run that spikes, watched: half the digits' pixels come up at step 300, and v remembers 10,000 steps.

`python -m benchmarks.spike [FILE]` writes its record; `betaplane report FILE --png docs/spike.png` draws it.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch

from betaplane import watch
from betaplane.problems import digits, minibatches

STEPS, LOUD = 350, 300  # steps; the one from which the dark half comes up, within 20


def spike(path: Path) -> None:
    """Train, watched; the record goes to `path`.

    Args:
        path: a file of JSON lines, written anew.
    """
    path.unlink(missing_ok=True)
    problem, model = digits(), digits().fresh(0)
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=3e-3, betas=(0.9, 0.9999))
    batches = itertools.chain.from_iterable(minibatches(problem.examples, problem.batch_size, problem.order, 0, 64))
    with watch(optimizer, path, every=2, budget=float("inf")) as watcher:
        for step, rows in zip(range(1, STEPS + 1), batches, strict=False):
            x, y = problem.inputs[rows] * _lights(step), problem.targets[rows]
            optimizer.zero_grad()
            loss = problem.loss(model(x), y)
            loss.backward()
            watcher.loss(loss)
            optimizer.step()


def _lights(step: int) -> torch.Tensor:
    """How bright each pixel is: half of them hardly show until step 300."""
    bright = torch.ones(64)
    bright[:32] = min(1.0, 0.001 * 1000 ** max(0.0, (step - LOUD) / 20))
    return bright


if __name__ == "__main__":
    spike(Path(sys.argv[1] if len(sys.argv) > 1 else "out/spike.jsonl"))
