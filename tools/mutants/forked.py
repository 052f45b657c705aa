"""Run a function in a forked child that has torch imported and the package not yet."""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

HEAVY = (
    "torch", "torch._dynamo", "torch.utils.data", "torch.distributed", "numpy", "hypothesis", "pytest",
    "safetensors.torch", "pandas", "typer", "rich.console", "matplotlib.figure", "plotly.graph_objects", "loky",
    "psutil",
)  # fmt: skip


class Child(NamedTuple):
    """A child under way."""

    pid: int
    folder: str  # its temporary files, and the answer
    deadline: float  # wall clock; a child also ends when it has used its CPU time


def import_heavy() -> None:
    """Import once, before any fork, what every test needs and no mutant changes."""
    for name in HEAVY:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    gc.collect()
    gc.freeze()  # children do not look through what they share
    assert not any(name.split(".")[0] == "betaplane" for name in sys.modules)


def start(work: Callable[[], Any], limit: float) -> Child:
    """Fork; the child writes what `work` returns and has `limit` seconds of CPU, and thirty times as
    long in all.
    """
    folder = tempfile.mkdtemp(prefix="mutant-")
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Child(pid, folder, time.monotonic() + 30 * limit)
    os.setsid()
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        answer = json.dumps(work())
        with open(f"{folder}/answer", "w") as file:
            file.write(answer)
    finally:
        os._exit(0)


def finished(child: Child) -> tuple[bool, Any]:
    """Whether a child has ended, and its answer.

    The answer is None if it crashed or used up its CPU time, and "" if it only took too long, which
    a busy machine explains as well.
    """
    late = False
    if os.waitpid(child.pid, os.WNOHANG) == (0, 0):
        late = time.monotonic() >= child.deadline
        if not late:
            return False, None
        os.killpg(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
    try:
        with open(f"{child.folder}/answer") as file:
            return True, json.load(file)
    except (OSError, ValueError):
        return True, "" if late else None
    finally:
        shutil.rmtree(child.folder, ignore_errors=True)


def in_child(work: Callable[[], Any], limit: float) -> Any:
    """The answer of one child."""
    child = start(work, limit)
    while not (done := finished(child))[0]:
        time.sleep(0.05)
    return done[1]
