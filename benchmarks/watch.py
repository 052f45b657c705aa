"""Cost of watching, in time and memory: `python -m benchmarks.watch [mlp gpt] [rounds=N]`.

It takes about three minutes. Two copies of one run alternate in rounds of a few steps, one of them
watched; the order alternates too, on one thread. The figure is the median of the rounds' ratios,
with its quartiles: other load on the machine affects both copies. Times are processor times, which
other load affects less; the ratio of clock times is printed too. "own count" is the share of its
steps' time that the watcher measured itself.

light: every step is recorded and its statistics are computed, without a limit on time.
default: `watch(optimizer)`: readings every 10 steps, as far as 2% of the run's time allow.

Memory is what a watcher holds after 140 steps and 64 readings (traced allocations and the record),
relative to the optimizer's state.
"""

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


CASES = {"mlp": (mlp, 20, 60), "gpt": (gpt, 10, 9)}  # steps per round, rounds


def timed(step: Step, steps: int) -> tuple[float, float]:
    """Processor seconds and clock seconds of some steps."""
    start = time.process_time(), time.perf_counter()
    for _ in range(steps):
        step()
    return time.process_time() - start[0], time.perf_counter() - start[1]


def ratios(bare: Step, watched: Step, steps: int, rounds: int) -> list[tuple[float, float, float]]:
    """Per round: ratio of processor times, ratio of clock times, milliseconds per bare step."""
    rows = []
    for i in range(rounds):
        order = (bare, watched) if i % 2 else (watched, bare)
        times = {step: timed(step, steps) for step in order}
        (cpu, wall), (bare_cpu, bare_wall) = times[watched], times[bare]
        rows.append((cpu / bare_cpu, wall / bare_wall, bare_cpu / steps * 1e3))
    return rows


def compare(case: str, mode: str, rounds: int | None) -> None:
    """Print the cost of one mode of watching."""
    make, steps, default_rounds = CASES[case]
    bare, _ = make()
    watched, optimizer = make()
    timed(bare, 3)
    timed(watched, 3)
    watcher = WATCHED[mode](optimizer)
    timed(watched, 2 * steps)  # the schedule settles
    timed(bare, 2)
    rows = ratios(bare, watched, steps, rounds or default_rounds)
    own_count = watcher.cost
    watcher.close()
    cpu, wall, ms = (sorted(column) for column in zip(*rows, strict=True))
    first, middle, last = statistics.quantiles(cpu, n=4)
    recorded = len(watcher.history.step_stats)
    readings = max(map(len, watcher.history.readings.values()), default=0)
    print(
        f"  {case:4} {mode:8} {statistics.median(ms):7.2f} ms   {middle:.3f} x  ({first:.3f} to {last:.3f})   "
        f"clock {statistics.median(wall):.3f} x   own count {own_count:.2%}   "
        f"{recorded} steps, {readings} readings, {watcher.history.gradients.count} gradient norms "
        f"in {watcher.history.step} steps",
        flush=True,
    )


def memory(case: str) -> None:
    """Print the bytes that a watcher holds, relative to those of the optimizer's state."""
    step, optimizer = CASES[case][0]()
    timed(step, 2)
    gc.collect()
    tracemalloc.start()
    watcher = betaplane.watch(optimizer, every=2, budget=math.inf, console=False)
    timed(step, 140)
    gc.collect()
    traced, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    record = watcher.moment_recorder.nbytes
    state = sum(
        tensor.nbytes for param_state in optimizer.state.values() for tensor in param_state.values()
    )
    watcher.close()
    print(
        f"  {case:4} state {state / 1e6:.1f} MB: record {record / 1e6:.2f} MB, the rest {traced / 1e6:.2f} MB "
        f"(peak {peak / 1e6:.2f}): {(record + traced) / state:.2%}",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    arguments = sys.argv[1:]
    cases = [argument for argument in arguments if "=" not in argument] or [*CASES]
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    rounds = int(options["rounds"]) if "rounds" in options else None
    print("watched over bare, by processor time: median and quartiles of the rounds")
    for case in cases:
        for mode in WATCHED:
            compare(case, mode, rounds)
    print("memory")
    for case in cases:
        memory(case)


if __name__ == "__main__":
    main()
