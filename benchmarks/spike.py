"""A watched run that spikes, repeated with the proposed remedy: `python -m benchmarks.spike [FILE]`.

The weight of the loss rises by a factor of 500 within 15 steps, and v averages over 10,000. The
record is written to FILE; `betaplane report FILE --png docs/spike.png` draws it.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch

from betaplane import watch
from betaplane.monitor import Watcher
from betaplane.problems import digits, minibatches

STEPS = 180
RISE_AT = 120  # the step from which the weight of the loss rises
RISE_STEPS = 15
RISE_FACTOR = 500.0


def spike(path: Path, beta2: float = 0.9999) -> tuple[Watcher, list[float]]:
    """Train and watch; write the record to `path`, and return the unweighted losses."""
    path.unlink(missing_ok=True)
    problem, losses = digits(batch_size=128), []
    model = problem.fresh(0)
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.03, betas=(0.9, beta2), eps=1e-12)
    batches = itertools.chain.from_iterable(
        minibatches(problem.examples, problem.batch_size, problem.order, 0, 64)
    )
    with watch(optimizer, path, every=2, budget=float("inf"), console=False) as watcher:
        for step, rows in zip(range(1, STEPS + 1), batches, strict=False):
            loss = problem.loss(model(problem.inputs[rows]), problem.targets[rows])
            optimizer.zero_grad()
            (_weight(step) * loss).backward()
            watcher.loss(loss)
            optimizer.step()
            losses.append(loss.item())
    return watcher, losses


def _weight(step: int) -> float:
    """The weight of the loss, 1 at the end."""
    progress = min(1.0, max(0.0, (step - RISE_AT) / RISE_STEPS))
    return RISE_FACTOR ** (progress - 1)


def main(path: Path) -> None:
    watcher, losses = spike(path)
    repeated_path = path.with_name(f"{path.stem}-again{path.suffix}")
    remedy = watcher.alerts[0].remedy
    repeated, repeated_losses = spike(repeated_path, **remedy)
    print(
        f"{watcher.report()}\nThe largest loss after step {RISE_AT}: {max(losses[RISE_AT:]):.2f}."
    )
    print(f"With {remedy}: {max(repeated_losses[RISE_AT:]):.2f}. {repeated.report()}")
    print(f"written: {path}, {repeated_path}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/spike.jsonl"))
