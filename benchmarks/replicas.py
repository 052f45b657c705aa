"""Replicas against a loop of torch.optim.Adam and against JAX: `python -m benchmarks.replicas [case
...]`.

Every contender is a process of its own with one thread. They take turns, round by round, so that
they share whatever else the machine does; a figure is the median of the rounds, and only ratios are
worth quoting. Recording and compiling happen before the first round and are printed apart."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

ROUNDS = 5
CASES = {"digits": 256, "mlp784": 256, "counterexample": 10_000}  # runs of each
CONTENDERS = {
    "ours, stacked": "stacked({name!r}, {runs}, False)",
    "ours, stacked and compiled": "stacked({name!r}, {runs}, True)",
    "loop of torch.optim.Adam": "loop({name!r}, {runs}, False)",
    "loop of torch.optim.Adam(fused)": "loop({name!r}, {runs}, True)",
    "JAX vmap(scan)": "jax({name!r}, {runs}, 'vmap')",
    "JAX map(scan)": "jax({name!r}, {runs}, 'map')",
}
SERVE = """
import sys
from benchmarks.baselines import *
round_ = {call}
round_()
print("ready", flush=True)
for line in sys.stdin:
    print(round_(), flush=True)
"""


def environment(ours: bool) -> dict[str, str]:
    from betaplane.replicas.pool import WORKER_ENVIRONMENT

    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    xla = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    return {**os.environ, **one, **xla, **(WORKER_ENVIRONMENT if ours else {})}


class Contender:
    def __init__(self, label: str, call: str) -> None:
        self.label, began = label, time.perf_counter()
        pin = ["taskset", "-c", "0"] if os.path.exists("/usr/bin/taskset") else []
        self.process = subprocess.Popen(
            [*pin, sys.executable, "-c", SERVE.format(call=call)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(label.startswith("ours")),
        )  # fmt: skip
        self.works = self._line() == "ready"
        self.start_up = time.perf_counter() - began
        self.rates: list[float] = []

    def _line(self) -> str:
        return self.process.stdout.readline().strip()

    def turn(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.rates.append(float(self._line()))

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def compare(name: str, runs: int) -> None:
    print(
        f"\n{name}, {runs} runs: run-steps a second, median of {ROUNDS} rounds, one thread each",
        flush=True,
    )
    crew = [
        Contender(label, call.format(name=name, runs=runs)) for label, call in CONTENDERS.items()
    ]
    crew = [one for one in crew if one.works]
    for _ in range(ROUNDS):
        for one in crew:
            one.turn()
    by = {one.label: one.rate for one in crew}
    loop = by["loop of torch.optim.Adam"]
    peers = [rate for label, rate in by.items() if label.startswith("JAX")]
    for one in crew:
        spread = f"{min(one.rates):,.0f} to {max(one.rates):,.0f}"
        line = f"  {one.label:32} {one.rate:16,.0f}   ({spread}; start-up {one.start_up:.0f} s)"
        line += f"   {one.rate / loop:9.1f} x the loop"
        line += f"   {one.rate / max(peers):5.2f} x the faster JAX" if peers else ""
        print(line, flush=True)
        one.process.kill()


def main() -> None:
    chosen = sys.argv[1:] or list(CASES)
    for name in chosen:
        compare(name, CASES[name])


if __name__ == "__main__":
    main()
