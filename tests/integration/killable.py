"""Maps in processes of their own, to be killed; forked from a server that has torch loaded: a quick
start.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from betaplane.maps import PhaseMap, plan_for, run_plan, to_json
from betaplane.problems import load

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["betaplane.maps"])

TRAINER = '''
import math, time, zlib
from pathlib import Path

LOG = Path(__file__).with_name("log")

def train(settings, seed):
    """Fails where the second moment is too short; noisy along the boundary."""
    time.sleep(0.004)
    h1, h2 = (1 / (1 - settings[name]) for name in ("beta1", "beta2"))
    luck = zlib.crc32(f"{h1:.6g} {h2:.6g} {seed}".encode()) / 2**32 - 0.5
    with LOG.open("a") as log:
        log.write(f"{settings['beta1']} {settings['beta2']} {seed}\\n")
    return [1.0, 0.01 if math.log10(h2) > 1.3 + 0.5 * math.log10(h1) + luck else 1.2]
'''


@dataclass(frozen=True)
class Job:
    """One call of `run_plan`, to be made in another process, in a session of its own."""

    source: str
    folder: Path
    workers: int
    name: str = "map"
    store: str = "store.sqlite"
    how: dict[str, Any] = field(default_factory=dict)

    def start(self) -> Life:
        process = SERVER.Process(target=_run, args=(self,))
        process.start()
        life = Life(self, process)
        wait_until(lambda: not process.is_alive() or os.getsid(life.pid) == life.pid, 60)
        return life

    @property
    def result(self) -> Path:
        return self.folder / f"{self.name}.pickle"

    @property
    def computed(self) -> Path:
        return self.folder / f"{self.name}.computed"

    def rows(self) -> dict[str, tuple]:
        return stored(self.folder / self.store)


@dataclass(frozen=True)
class Life:
    """A job under way, from its start to its end or its death."""

    job: Job
    process: Any

    @property
    def pid(self) -> int:
        return self.process.pid

    def family(self) -> list[int]:
        """The living processes of its session: itself, its workers, theirs."""
        return session(self.pid)

    def kill(self, *, parent_only: bool = False) -> None:
        with suppress(ProcessLookupError):
            (os.kill if parent_only else os.killpg)(self.pid, signal.SIGKILL)
        self.process.join(60)
        wait_until(lambda: not self.family(), 60)

    def ended(self, seconds: float = 240) -> PhaseMap:
        self.process.join(seconds)
        assert self.process.exitcode == 0, "the map failed, or did not end"
        wait_until(lambda: not self.family(), 60)
        return pickle.loads(self.job.result.read_bytes())


def _run(job: Job) -> None:
    os.setsid()
    how = {"points": 12, "seeds": 2, **job.how}

    def watch(progress: Any) -> None:
        job.computed.write_text(str(progress.computed))

    phase_map = run_plan(
        job.source,
        plan_for(load(job.source), **how),
        store=job.folder / job.store,
        workers=job.workers,
        watch=watch,
    )
    job.result.write_bytes(pickle.dumps(phase_map))


def stored(path: Path) -> dict[str, tuple]:
    """Everything a store says about each finished training, by key; nothing where there is no store
    yet.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
        ) as db:
            return {row[1]: row for row in db.execute("SELECT * FROM runs")}
    except sqlite3.OperationalError:  # there is no file, or no table in it
        return {}


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    return [
        pid
        for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        if _session_of(pid) == leader
    ]


def _session_of(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if stat[0] in "ZX" else int(stat[3])


def wait_until(true: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Near(float):
    """A number that equals every number within 1e-6 of it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(float(self) - float(other)) <= 1e-6

    __hash__ = None  # type: ignore[assignment]


def shown(phase_map: PhaseMap) -> dict[str, Any]:
    """All that a map says, the engine's loss curves to the last bit.

    P(fail) equals what is within 1e-6 of it: the linear algebra under it adds up differently with
    another number of threads.
    """
    curves = {
        str(spot): np.asarray(cell.curve).tobytes().hex() for spot, cell in phase_map.cells.items()
    }
    finals = {
        str(spot): [repr(final) for final in cell.finals] for spot, cell in phase_map.cells.items()
    }
    payload = {**to_json(phase_map), "curves": curves, "finals": finals}
    payload = json.loads(json.dumps(payload))
    for cell in payload["cells"]:
        cell["p_fail"] = Near(cell["p_fail"])
    return payload
