"""First steps from several threads at once, and steps in forks of a process that has stepped."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import betaplane
from betaplane.optim import rule_optimizer
from betaplane.optim.codegen import trace
from betaplane.optim.codegen.compiled_step import compile_step
from betaplane.rules import Lion

SOURCES = Path(betaplane.__file__).parents[1]
RULES = ("Lion", "AdaBelief", "Yogi")


def stepped(name: str) -> torch.Tensor:
    p = torch.nn.Parameter(torch.linspace(-1, 1, 500))
    optimizer = getattr(betaplane, name)([p], lr=0.01, path="compiled")
    for k in range(3):
        p.grad = torch.linspace(-1, k, 500)
        optimizer.step()
    return p.detach()


def test_threads_that_step_for_the_first_time_at_once_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for remembered in (trace._trace, compile_step):
        monkeypatch.setattr(remembered, "known", {})
    ends: list[tuple[str, torch.Tensor]] = []
    start = threading.Barrier(2 * len(RULES))

    def run(name: str) -> None:
        start.wait()
        ends.append((name, stepped(name)))

    threads = [threading.Thread(target=run, args=(name,)) for name in 2 * RULES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    alone = {name: stepped(name) for name in RULES}
    assert sorted(name for name, _ in ends) == sorted(2 * RULES)
    assert all(torch.equal(end, alone[name]) for name, end in ends)
    assert len(trace._trace.known) == len(RULES)  # each was recorded once


def test_threads_get_one_class_per_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_optimizer.optimizer_class, "known", {})
    found: list[type] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        found.append(rule_optimizer.optimizer_class(Lion))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1


FORKS = """
import os, signal, threading, torch, betaplane

torch.set_num_threads(2)


def steps(name):
    params = [torch.nn.Parameter(torch.linspace(-1, 1, 12_000)) for _ in range(8)]  # in all enough for two threads
    optimizer = getattr(betaplane, name)(params, lr=0.01, path="compiled", max_norm=1.0)
    for k in range(2):
        for p in params:
            p.grad = torch.linspace(-1, k, 12_000)
        optimizer.step()
    return sum(p.detach().double().sum().item() for p in params)


def forked(name, right):
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that waits forever is killed
        os._exit(0 if abs(steps(name) - right) < 1e-6 else 1)
    assert os.waitpid(child, 0)[1] == 0, name


forked("Lion", right := steps("Lion"))  # machine code that the parent has run
builder = threading.Thread(target=steps, args=("Yogi",))
builder.start()
child = os.fork()  # while another thread may be building
if child == 0:
    signal.alarm(60)
    os._exit(0 if steps("Yogi") and abs(steps("Lion") - right) < 1e-6 else 1)
assert os.waitpid(child, 0)[1] == 0
builder.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forks_step_as_their_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", FORKS]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
