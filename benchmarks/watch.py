"""What watching costs: `python -m benchmarks.watch [mlp gpt] [rounds=N]`. About three minutes.

Two copies of one training run go side by side, one watched; rounds of a few steps of each
alternate, in an order that alternates too, on one thread. The figure is the median of the rounds'
ratios with the quartiles beside it: whatever else the machine does weighs on both. Times are of the
processor, which a busy machine disturbs less; the ratio by the clock stands beside. "own count" is
what the watcher says it spent, of the time that its steps took.

light: every step recorded and its light quantities computed, no limit on time.
default: `watch(optimizer)`: readings every 10 steps, as far as 2 % of the run's time allow.

Memory is what watching keeps after 140 steps and 64 readings, traced allocations and the record,
over the state."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

import torch
from torch import nn

import betaplane
from betaplane.monitor import Watcher

Step = Callable[[], None]

WATCHED: dict[str, Callable[[torch.optim.Optimizer], Watcher]] = {
    "light": lambda optimizer: betaplane.watch(
        optimizer, every=10**9, budget=math.inf, console=False
    ),
    "default": lambda optimizer: betaplane.watch(optimizer, console=False),
}


def mlp() -> tuple[Step, torch.optim.Optimizer]:
    """A step of about 1.2 ms on one quiet core: 784-128-128-10, batch 64."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    x, y = torch.rand(64, 784), torch.randint(10, (64,))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    return _step(lambda: nn.functional.cross_entropy(model(x), y), optimizer), optimizer


def gpt() -> tuple[Step, torch.optim.Optimizer]:
    """A transformer of 10.7M parameters in 100 tensors, on 128 tokens."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        368, 8, 4 * 368, dropout=0.0, batch_first=True, norm_first=True
    )
    model = nn.Sequential(
        nn.Embedding(2048, 368), nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    )
    x, y = torch.randint(2048, (1, 128)), torch.randint(2048, (128,))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    weight = model[0].weight

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy((model(x) @ weight.T)[0], y)

    return _step(loss, optimizer), optimizer


def _step(loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer) -> Step:
    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


CASES = {"mlp": (mlp, 20, 60), "gpt": (gpt, 10, 9)}  # steps in a round, rounds


def timed(step: Step, steps: int) -> tuple[float, float]:
    """Seconds of the processor and by the clock."""
    began = time.process_time(), time.perf_counter()
    for _ in range(steps):
        step()
    return time.process_time() - began[0], time.perf_counter() - began[1]


def ratios(bare: Step, watched: Step, steps: int, rounds: int) -> list[tuple[float, float, float]]:
    """Of each round: the ratio of processor times, that of the clock, milliseconds of a bare step."""
    found = []
    for i in range(rounds):
        order = (bare, watched) if i % 2 else (watched, bare)
        times = {each: timed(each, steps) for each in order}
        (cpu, wall), (bare_cpu, bare_wall) = times[watched], times[bare]
        found.append((cpu / bare_cpu, wall / bare_wall, bare_cpu / steps * 1e3))
    return found


def compare(case: str, how: str, rounds: int | None) -> None:
    make, steps, usual = CASES[case]
    (bare, _), (watched, optimizer) = make(), make()
    timed(bare, 3), timed(watched, 3)
    watcher = WATCHED[how](optimizer)
    timed(watched, 2 * steps)  # the schedule settles
    timed(bare, 2)
    found, own = ratios(bare, watched, steps, rounds or usual), watcher.cost
    watcher.close()
    cpu, wall, ms = (sorted(column) for column in zip(*found, strict=True))
    first, middle, last = statistics.quantiles(cpu, n=4)
    kept = len(watcher.history.step_stats)
    readings = max((len(each) for each in watcher.history.readings.values()), default=0)
    print(
        f"  {case:4} {how:8} {statistics.median(ms):7.2f} ms   {middle:.3f} x  ({first:.3f} to {last:.3f})   "
        f"clock {statistics.median(wall):.3f} x   own count {own:.2%}   {kept} steps, {readings} readings kept",
        flush=True,
    )


def memory(case: str) -> None:
    """Bytes that watching keeps, beside those of the optimizer's state."""
    step, optimizer = CASES[case][0]()
    timed(step, 2)
    gc.collect()
    tracemalloc.start()
    watcher = betaplane.watch(optimizer, every=2, budget=math.inf, console=False)
    timed(step, 140)
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    record = watcher.moment_recorder.nbytes
    state = sum(each.nbytes for held in optimizer.state.values() for each in held.values())
    watcher.close()
    print(
        f"  {case:4} state {state / 1e6:.1f} MB: record {record / 1e6:.2f} MB, the rest {kept / 1e6:.2f} MB "
        f"(peak {peak / 1e6:.2f}): {(record + kept) / state:.2%}",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    words = [word for word in sys.argv[1:] if "=" not in word]
    rounds = next(
        (int(word.partition("=")[2]) for word in sys.argv[1:] if word.startswith("rounds=")), None
    )
    cases = words or [*CASES]
    print("watched over bare, by processor time: median and quartiles of the rounds")
    for case in cases:
        for how in WATCHED:
            compare(case, how, rounds)
    print("memory")
    for case in cases:
        memory(case)


if __name__ == "__main__":
    main()
