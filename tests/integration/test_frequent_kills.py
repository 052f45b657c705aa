"""A map that is killed every few seconds still comes to its end, since unfinished stacks are saved."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killable import Job, shown

from betaplane.maps import map_phases
from betaplane.maps.store.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

HOW = {"points": 12, "seeds": 2, "dense": True, "steps": 20_000, "engine": "stacked"}
QUICK = 1.5  # seconds that a machine with an idle core takes to import torch


@pytest.mark.slow
def test_a_stacked_map_of_288_runs_gets_on_between_kills(tmp_path: Path):
    """20 kills, 2 to 6 s apart, longer on a busy machine; left alone then, its map is that of an
    undisturbed run.
    """
    job, luck, states = Job("counterexample:n=5", tmp_path, 2, how=HOW), random.Random(0), []
    for _ in range(20):
        slow = max(1.0, start_up() / QUICK)
        life = job.start()
        time.sleep(slow * luck.uniform(2, 6))
        life.kill()
        states.append(progress(job))
    print("runs finished and states saved, after each kill:", states)
    assert states[-1] > (0, 0)
    phase_map = job.start().ended(1200)
    expected = map_phases(job.source, **{**HOW, "workers": 0})
    assert shown(phase_map) == shown(expected)


def start_up() -> float:
    """Seconds that a new process takes to import torch now."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.monotonic() - began


def progress(job: Job) -> tuple[int, int]:
    """How many runs are finished, and how many chunks have a saved state."""
    path = job.folder / job.store
    if not path.exists():
        return 0, 0
    with Store.reopen(path) as store:
        return len(store), store.rows("SELECT count(*) FROM unfinished")[0][0]
