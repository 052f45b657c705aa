"""The same map from every executor, also if a worker or the driver is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from driver import HOWS, STACKABLE, TRAIN, draw_map

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="kills process groups"),
]
DRIVER = Path(__file__).with_name("driver.py")
KINDS = ["2", "ray", "dask", "slurm:local"]
PACKAGES = {"ray": "ray", "dask": "distributed", "slurm:local": "submitit"}


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """The scheduler of a Dask cluster with two workers, in a process of its own."""
    pytest.importorskip("distributed")
    script = (
        "import distributed, sys\n"
        "if __name__ == '__main__':\n"
        "    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"betaplane-dask-{os.getpid()}.py"
    path.write_text(script)
    with subprocess.Popen([sys.executable, path], stdin=-1, stdout=-1, text=True) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.communicate("")
    path.unlink()


@pytest.fixture(params=KINDS)
def executor(request: pytest.FixtureRequest) -> str:
    kind = request.param
    if kind in PACKAGES:
        pytest.importorskip(PACKAGES[kind])
    return f"dask:{request.getfixturevalue('dask_address')}" if kind == "dask" else kind


@cache
def quiet_map(folder: Path, kind: str) -> dict[str, Any]:
    """The map that this process draws."""
    folder.mkdir()
    return draw_map("0", made(folder, kind), HOWS[kind])


@pytest.fixture
def undisturbed(executor: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kind = kind_for(executor)
    return quiet_map(tmp_path_factory.getbasetemp() / f"quiet-{kind}", kind)


def kind_for(executor: str) -> str:
    return "small" if "slurm" in executor else "function"


def made(folder: Path, kind: str = "function", seconds: float = 0.0) -> Path:
    function = TRAIN.format(folder=str(folder), seconds=seconds)
    (folder / "mine.py").write_text(STACKABLE if kind == "stacked" else function)
    return folder


def logged(folder: Path) -> Counter[str]:
    log = folder / "log"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def started(executor: str, folder: Path, kind: str = "") -> subprocess.Popen:
    command = [sys.executable, DRIVER, executor, folder, kind or kind_for(executor)]
    return subprocess.Popen(command, start_new_session=True)


def ended(process: subprocess.Popen, folder: Path) -> dict[str, Any]:
    assert process.wait(600) == 0
    return json.loads((folder / "map.json").read_text())


def wait_until(holds: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_every_executor_draws_the_same_map(executor: str, tmp_path: Path, undisturbed: dict):
    found = ended(started(executor, made(tmp_path)), tmp_path)
    assert found == undisturbed
    assert set(logged(tmp_path).values()) == {1}


@pytest.mark.parametrize("executor", ["1", *KINDS], indirect=True)
def test_every_executor_draws_the_same_map_of_stacked_runs(
    executor: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    undisturbed = quiet_map(tmp_path_factory.getbasetemp() / "quiet-stacked", "stacked")
    found = ended(started(executor, made(tmp_path, "stacked"), "stacked"), tmp_path)
    assert found == undisturbed
    assert len({cell["verdict"] for cell in found["cells"]}) > 1
    assert found["facts"]["engine"] == "stacked"


def test_a_killed_worker_costs_its_run_only(executor: str, tmp_path: Path, undisturbed: dict):
    folder = made(tmp_path, seconds=0.02)
    (folder / "kill").touch()
    assert ended(started(executor, folder), folder) == undisturbed
    assert (folder / "killed").exists()
    # a Dask worker has results that the driver has not fetched yet
    most = 4 if executor.startswith("dask") else 1
    assert 1 <= Counter(logged(folder).values())[2] <= most
    assert set(logged(folder).values()) == {1, 2}


def test_a_killed_driver_resumes(executor: str, tmp_path: Path, undisturbed: dict):
    folder = made(tmp_path, seconds=0.1)
    first = started(executor, folder)
    wait_until(lambda: sum(logged(folder).values()) >= 4, 300)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    stored = finished(folder)
    assert ended(started(executor, folder), folder) == undisturbed
    again = {run for run, times in logged(folder).items() if times > 1}
    assert not again & stored, "what was finished was computed again"
    assert len(again) <= 4, "more than what was under way was computed again"


def finished(folder: Path) -> set[str]:
    """The runs in the store, as in the log."""
    from betaplane.maps.store.store import Store

    with Store.reopen(folder / "map.sqlite") as store:
        runs = [(record.settings, record.seed) for record in store.all()]
    return {f"{settings['beta1']} {settings['beta2']} {seed}" for settings, seed in runs}
