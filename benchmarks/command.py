"""Commands as problems: overhead per run, time saved by ending runs early, orphans after a kill.

python -m benchmarks.command [overhead] [saved] [orphans]
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from betaplane.maps import map_phases
from betaplane.problems import Command
from betaplane.problems.source import as_problem
from betaplane.replicas import Run
from betaplane.replicas.callable import train_callable

BLOCKS = 7
SIDE = 4  # cells per axis of the map of one block
SECONDS_PER_STEP = 0.02
STEPS = 200
LOSS = r"stdout:loss=(\S+)"

# logistic regression with Adam, 60 lines
SCRIPT = Path(__file__).with_name("command_script.py")


def overhead() -> None:
    """Time per run of a map, beyond that of the same script started directly; blocks alternate."""
    settings = "--beta1 {beta1} --beta2 {beta2} --seed {seed}"
    command = Command(f"{sys.executable} {SCRIPT} {settings}", LOSS)
    direct, mapped = [], []
    for _ in range(BLOCKS):
        values = {"beta1": "0.9", "beta2": "0.99", "seed": "0"}
        start = time.perf_counter()
        for _ in range(SIDE**2):
            subprocess.run(command.arguments(values), capture_output=True, check=True)
        direct.append((time.perf_counter() - start) / SIDE**2)
        start = time.perf_counter()
        map_phases(command, points=SIDE, seeds=1, dense=True, search_lr=False, workers=1)
        mapped.append((time.perf_counter() - start) / SIDE**2)
    differences = [one - other for one, other in zip(mapped, direct, strict=True)]
    print(
        f"overhead: {1e3 * statistics.median(differences):.1f} ms per run (median of {BLOCKS} blocks "
        f"of {SIDE**2} runs; from {1e3 * min(differences):.1f} to {1e3 * max(differences):.1f}); "
        f"the script by itself takes {1e3 * statistics.median(direct):.0f} ms"
    )


def saved() -> None:
    """Share of the remaining time that is saved for runs that diverge at a tenth of their length."""
    script = f"""
import sys, time
for step in range({STEPS}):
    time.sleep({SECONDS_PER_STEP})
    value = float("nan") if step >= {STEPS} // 10 and sys.argv[1] == "0.0" else 1 / (1 + step)
    print(f"loss={{value}}")
"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.py"
        file.write_text(script)
        problem = as_problem(Command(f"{sys.executable} {file} {{beta2}}", LOSS))
        times = {beta2: [_seconds(problem, beta2) for _ in range(3)] for beta2 in (0.9, 0.0)}
    whole, ended = (statistics.median(times[beta2]) for beta2 in (0.9, 0.0))
    share = (whole - ended) / (0.9 * whole)
    print(
        f"early end: {share:.1%} of the remaining time saved "
        f"(a whole run takes {whole:.2f} s, one that diverges at a tenth {ended:.2f} s)"
    )


def _seconds(problem, beta2: float) -> float:
    start = time.perf_counter()
    train_callable(problem, Run(f"adam:beta2={beta2}", lr=0.1, batch_size=1, seed=0))
    return time.perf_counter() - start


DRIVER = """
import sys
from betaplane.maps import map_phases
from betaplane.problems import Command
inner = "import subprocess, sys, time; print('loss=1', flush=True)\\n"
inner += "for own in (False, True): subprocess.Popen(['sleep', '300'], start_new_session=own)\\n"
inner += "open(sys.argv[1], 'a').write('x'); time.sleep(300)"
command = Command([sys.executable, "-c", inner, sys.argv[1], "{beta1}", "{beta2}"], r"stdout:loss=(\\S+)")
map_phases(command, points=2, workers=2, search_lr=False)
"""
MARK = "BETAPLANE_BENCHMARK_MARK"


def orphans() -> None:
    """Processes that are left after betaplane is killed, and after how long none was."""
    for name in ("SIGKILL", "SIGTERM", "SIGINT"):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, MARK: folder}
            started = Path(folder) / "started"
            driver = subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(started)],
                env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            while not started.exists() or started.stat().st_size < 2:
                time.sleep(0.05)
            before = _marked(folder) - 1
            driver.send_signal(getattr(signal, name))
            start = time.perf_counter()
            driver.wait()
            while _marked(folder) and time.perf_counter() - start < 15:
                time.sleep(0.05)
            seconds = time.perf_counter() - start
            print(
                f"orphans after {name}: {_marked(folder)} of {before} processes, {seconds:.1f} s later"
            )


def _marked(folder: str) -> int:
    count = 0
    for process in psutil.process_iter():
        try:
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            count += process.environ().get(MARK) == folder and not is_zombie
        except psutil.Error:
            continue
    return count


def main() -> None:
    """Print every figure, or those that are named."""
    figures = {"overhead": overhead, "saved": saved, "orphans": orphans}
    for name in sys.argv[1:] or figures:
        figures[name]()


if __name__ == "__main__":
    main()
