"""What the order of runs, or repeating the last ones, could gain: python -m benchmarks.scheduler.orders

Efficiency until the last run ends, on 1,000 workers, with the times of `benchmarks.scheduler`:

    as requested   the order of the map
    longest first  by the time that a run takes on a usual worker, as if it were known
    repeated       in the order of the map; workers without work repeat the oldest unfinished run,
                   each at most once, and the first result counts
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Sequence

from benchmarks.scheduler.__main__ import drawn, measured_ratios

WORKERS, PER_WORKER = 1000, (10, 30, 100)


def in_order(ratios: Sequence[float], rng: random.Random) -> float:
    """The efficiency of runs that start in this order."""
    free = [0.0] * WORKERS
    useful = 0.0
    for ratio in ratios:
        seconds, lost = drawn([ratio], rng)
        useful += seconds
        heapq.heapreplace(free, free[0] + lost + seconds)
    return useful / (WORKERS * max(free))


def repeated(ratios: Sequence[float], rng: random.Random) -> float:
    """The efficiency if idle workers repeat unfinished runs; a repeat that loses still ends."""
    unfinished: dict[int, int] = {}  # started runs, oldest first, and their copies
    ends: list[tuple[float, int, int, float]] = []
    now = useful = 0.0
    started = count = 0

    def start(run: int) -> None:
        nonlocal count
        count += 1
        unfinished[run] = unfinished.get(run, 0) + 1
        seconds, lost = drawn([ratios[run]], rng)
        heapq.heappush(ends, (now + lost + seconds, count, run, seconds))

    while started < len(ratios) or unfinished:
        while len(ends) < WORKERS and started < len(ratios):
            start(started)
            started += 1
        for run in [run for run, copies in unfinished.items() if copies == 1]:
            if len(ends) >= WORKERS:
                break
            start(run)
        now, _, run, seconds = heapq.heappop(ends)
        if unfinished.pop(run, 0):
            useful += seconds
    return useful / (WORKERS * now)


def main(arguments: Sequence[str]) -> None:
    ratios = measured_ratios()
    print("runs per worker  as requested  longest first  repeated")
    for per_worker in map(int, arguments or PER_WORKER):
        draw = random.Random(0)
        runs = [draw.choice(ratios) for _ in range(per_worker * WORKERS)]
        longest_first = sorted(runs, reverse=True)
        columns = in_order(runs, draw), in_order(longest_first, draw), repeated(runs, draw)
        print("{:15}  {:12.3f}  {:13.3f}  {:8.3f}".format(per_worker, *columns), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
