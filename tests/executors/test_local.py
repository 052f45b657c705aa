"""Local executors: every worker sees its GPU, and a lost worker costs only the run under way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from betaplane.errors import BadInput
from betaplane.executors import Local, WorkerLost
from betaplane.executors.gpus import gpu_environments
from betaplane.maps import map_phases
from betaplane.problems import Command, Trainer
from betaplane.problems.source import as_problem

VISIBLE = "CUDA_VISIBLE_DEVICES"


def falls(settings: dict[str, float], seed: int) -> list[float]:
    return [1.0, 0.9 if settings["beta2"] < 0.9 else 0.0]


def seen(trainer: Trainer, seconds: float) -> tuple[int, str | None]:
    time.sleep(seconds)
    return os.getpid(), os.environ.get(VISIBLE)


def dies(trainer: Trainer) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_worker_sees_one_gpu_and_a_lost_one_is_replaced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VISIBLE, raising=False)
    with Local(gpus=["0", "3"]).start(Trainer("mine", falls)) as workers:
        assert (workers.slots, workers.name) == (2, "2 worker processes on 2 GPUs")
        futures = [workers.submit(seen, 0.5) for _ in range(2)]
        pids, gpus = zip(*(future.result() for future in futures), strict=True)
        assert sorted(gpus) == ["0", "3"]
        gpu_of = dict(zip(pids, gpus, strict=True))
        assert gpu_of.items() >= {workers.call(seen, 0.0)}
        if sys.platform == "linux":  # elsewhere loky describes exits in other words
            with pytest.raises(WorkerLost, match="SIGKILL"):
                workers.submit(dies).result()
            pid, gpu = workers.call(seen, 0.0)
            assert pid not in pids, "the worker was not replaced"
            assert gpu in gpus


def test_commands_see_the_gpu_of_their_slot(tmp_path: Path):
    script = f"import os, time; time.sleep(0.3); print('loss=' + os.environ['{VISIBLE}'])"
    command = Command([sys.executable, "-c", script], r"stdout:loss=(\S+)")
    trainer = as_problem(command)
    with Local(gpus=["1", "2"], per_gpu=2).start(trainer) as commands:
        futures = [commands.submit(first_loss) for _ in range(4)]
        assert Counter(future.result() for future in futures) == {1.0: 2, 2.0: 2}


def first_loss(trainer: Trainer) -> float:
    return next(iter(trainer.train({}, 0)))


def test_numbers_of_gpus_count_the_visible_ones():
    environments = gpu_environments(["1", "GPU-a"], 2, {VISIBLE: "GPU-a, 7"})
    assert [each[VISIBLE] for each in environments] == ["7", "GPU-a", "7", "GPU-a"]
    assert gpu_environments(["0"], 1, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}) == [
        {"CUDA_DEVICE_ORDER": "FASTEST_FIRST", VISIBLE: "0"}
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gpus": "0,0"}, r"Invalid list of GPUs: got '0,0'"),
        ({"gpus": ""}, r"Invalid list of GPUs: got ''"),
        ({"gpus": [0, 1], "workers": 2}, r"workers and gpus are given: got 2"),
        ({"gpus": "0", "per_gpu": 0}, r"per_gpu is out of range: got 0; expected \[1, 64\]"),
        ({"executor": "rai"}, r"Unknown executor 'rai'. .*Choose one of: local, "),
        ({"executor": "local", "workers": -1}, r"workers is out of range: got -1"),
        ({"workers": 10**6}, r"workers is out of range: got 1000000"),
    ],
)
def test_wrong_places_get_a_sentence(arguments: dict, message: str):
    with pytest.raises(BadInput, match=message):
        map_phases(falls, points=2, **arguments)


def test_a_gpu_that_is_not_visible_is_rejected():
    with pytest.raises(BadInput, match=r"not visible .*got '2'; expected fewer than 2, since CUDA"):
        gpu_environments(["2"], 1, {VISIBLE: "4,5"})


TRAIN = """
import os, signal, time
from pathlib import Path

HERE = Path(__file__).parent

def train(settings, seed):
    with (HERE / "log").open("a") as log:
        log.write(f"{settings['beta1']} {settings['beta2']} {seed}\\n")
    time.sleep(0.01)
    try:
        (HERE / "kill").rename(HERE / "killed")
    except OSError:
        return [1.0, 0.0 if settings["beta2"] > settings["beta1"] ** 2 else 1.2]
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_worker_costs_one_run(tmp_path: Path, workers: int):
    (tmp_path / "mine.py").write_text(TRAIN)
    how = {"points": 4, "seeds": 1, "search_lr": False, "dense": True}
    expected = map_phases(f"{tmp_path}/mine.py:train", workers=0, **how)
    (tmp_path / "log").unlink()
    (tmp_path / "kill").touch()
    found = map_phases(f"{tmp_path}/mine.py:train", workers=workers, **how)
    assert (tmp_path / "killed").exists()
    runs = Counter((tmp_path / "log").read_text().splitlines())
    assert sorted(runs.values()) == [1] * 15 + [2]
    assert {spot: cell.finals for spot, cell in found.cells.items()} == {
        spot: cell.finals for spot, cell in expected.cells.items()
    }
