"""A map of a command that is killed or interrupted leaves no process and no temporary folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from betaplane.maps import map_phases
from betaplane.problems import Command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["betaplane.maps"])
MARK = "BETAPLANE_TEST_MARK"

# one process in the group of the command, one in a session of its own; they ignore SIGTERM
SCRIPT = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for own_session in (False, True):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=own_session)
print("loss=1", flush=True)
open(sys.argv[1], "a").write(os.environ["BETAPLANE_RUN"] + "\\n")
time.sleep(300)
"""


def train(folder: Path, mark: str) -> None:
    arguments = f"{sys.executable} {folder}/train.py {folder}/started {{beta1}} {{beta2}}"
    command = Command(arguments, r"stdout:loss=(\S+)", environment={MARK: mark})
    map_phases(command, points=2, workers=2, search_lr=False)


def marked(mark: str) -> list[psutil.Process]:
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except psutil.Error:
            continue
    return processes


def wait_until(holds, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_map_leaves_no_process(tmp_path, number: int):
    (tmp_path / "train.py").write_text(SCRIPT)
    started = tmp_path / "started"
    mark = str(tmp_path)
    driver = SERVER.Process(target=train, args=(tmp_path, mark))
    driver.start()
    assert wait_until(lambda: started.exists() and len(started.read_text().split()) == 2, 60)
    assert wait_until(lambda: len(marked(mark)) == 6, 10)
    assert driver.pid is not None
    os.kill(driver.pid, number)
    driver.join(60)
    assert wait_until(lambda: not marked(mark), 20)
    folders = [Path(line) for line in started.read_text().split()]
    assert wait_until(lambda: not any(folder.exists() for folder in folders), 10)
