"""Speed of stacked replicas against a loop of torch.optim.Adam and against JAX.

`python -m benchmarks.replicas [case ...]`. Every baseline is a process with one thread. They
alternate round by round, so that other load on the machine affects all of them; a figure is the
median of the rounds, and only ratios are meaningful. Recording and compiling happen before the
first round and are printed separately.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

ROUNDS = 5
CASES = {"digits": 256, "mlp784": 256, "counterexample": 10_000}  # number of runs
BASELINES = {
    "ours, stacked": "stacked({name!r}, {runs}, False)",
    "ours, stacked and compiled": "stacked({name!r}, {runs}, True)",
    "loop of torch.optim.Adam": "loop({name!r}, {runs}, False)",
    "loop of torch.optim.Adam(fused)": "loop({name!r}, {runs}, True)",
    "JAX vmap(scan)": "jax({name!r}, {runs}, 'vmap')",
    "JAX map(scan)": "jax({name!r}, {runs}, 'map')",
}
SERVER = """
import sys
from benchmarks.baselines import *
round_ = {call}
round_()
print("ready", flush=True)
for line in sys.stdin:
    print(round_(), flush=True)
"""


def environment(ours: bool) -> dict[str, str]:
    from betaplane.executors.worker_process import WORKER_ENVIRONMENT

    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    xla = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    return {**os.environ, **one_thread, **xla, **(WORKER_ENVIRONMENT if ours else {})}


class Baseline:
    """A process that trains a round per line of its input, and prints its run-steps per second."""

    def __init__(self, label: str, call: str) -> None:
        self.label, start = label, time.perf_counter()
        pin = ["taskset", "-c", "0"] if os.path.exists("/usr/bin/taskset") else []
        self.process = subprocess.Popen(
            [*pin, sys.executable, "-c", SERVER.format(call=call)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(label.startswith("ours")),
        )
        self.works = self._line() == "ready"
        self.start_up = time.perf_counter() - start
        self.rates: list[float] = []

    def _line(self) -> str:
        return self.process.stdout.readline().strip()

    def run_round(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.rates.append(float(self._line()))

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def compare(name: str, runs: int) -> None:
    what = f"run-steps per second, median of {ROUNDS} rounds, one thread each"
    print(f"\n{name}, {runs} runs: {what}", flush=True)
    started = [
        Baseline(label, call.format(name=name, runs=runs)) for label, call in BASELINES.items()
    ]
    baselines = [baseline for baseline in started if baseline.works]
    for _ in range(ROUNDS):
        for baseline in baselines:
            baseline.run_round()
    rates = {baseline.label: baseline.rate for baseline in baselines}
    loop = rates["loop of torch.optim.Adam"]
    jax_rates = [rate for label, rate in rates.items() if label.startswith("JAX")]
    for baseline in baselines:
        rate = baseline.rate
        spread = f"{min(baseline.rates):,.0f} to {max(baseline.rates):,.0f}"
        line = f"  {baseline.label:32} {rate:16,.0f}   "
        line += f"({spread}; start-up {baseline.start_up:.0f} s)   {rate / loop:9.1f} x the loop"
        line += f"   {rate / max(jax_rates):5.2f} x the faster JAX" if jax_rates else ""
        print(line, flush=True)
        baseline.process.kill()


def main() -> None:
    for name in sys.argv[1:] or CASES:
        compare(name, CASES[name])


if __name__ == "__main__":
    main()
