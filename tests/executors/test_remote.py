"""What is sent to other machines, and what comes back; no cluster is needed."""

from __future__ import annotations

import random
import socket
import sys
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.executors import WorkerLost, backend_of
from betaplane.executors.dask_cluster import separate_generators
from betaplane.executors.executor import check_losses
from betaplane.executors.remote import run, settle
from betaplane.executors.shipment import dump, pack
from betaplane.maps import map_phases
from betaplane.problems import Problem, Trainer, load
from betaplane.problems.commands.command_run import CommandFailed

HELPER = "SCALE = 3.0\n\ndef scaled(x):\n    return SCALE * x\n"
MINE = """
import torch
from helper_of_mine import scaled
from betaplane.problems import Problem

class Net(torch.nn.Linear):
    pass

x = torch.arange(8.0).reshape(4, 2)
problem = Problem("mine", lambda: Net(2, 1), lambda o, t: scaled(o - t).square().mean(), x, x[:, :1], batch_size=2)

def train(settings, seed):
    print("from the user's code")
    return [1.0, scaled(settings["beta2"])]
"""


def remote(shipment: tuple, function: Any, *arguments: Any) -> Any:
    """What a worker would return."""
    manifest, payload = shipment
    future: Future = Future()
    call = dump((function, arguments))
    settle(future, lambda: run(manifest, lambda: payload, call), lambda error: error)
    return future.result()


def loss_and_class(problem: Problem) -> tuple[float, str]:
    module = problem.fresh(0)
    loss = problem.loss_of(module, (problem.inputs, problem.targets))
    return loss.detach().item(), type(module).__name__


def last_loss(trainer: Trainer) -> float:
    return trainer.train({"beta2": 0.5}, 0)[-1]


def test_a_worker_needs_no_file_of_the_user(tmp_path: Path, capsys):
    (tmp_path / "helper_of_mine.py").write_text(HELPER)
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    problem, trainer = load(f"{file}:problem"), load(f"{file}:train")
    assert isinstance(problem, Problem)
    expected = loss_and_class(problem)
    shipments = pack(problem), pack(trainer)
    for path in tmp_path.glob("*.py"):
        path.unlink()
    own = [
        name
        for name, module in sys.modules.items()
        if str(tmp_path) in str(vars(module).get("__file__"))
    ]
    for name in own:
        del sys.modules[name]
    assert remote(shipments[0], loss_and_class) == expected == (expected[0], "Net")
    capsys.readouterr()
    assert remote(shipments[1], last_loss) == 1.5
    assert capsys.readouterr() == ("", "from the user's code\n")


def test_settings_of_torch_are_those_of_a_worker_and_restored():
    before = torch.get_num_threads()
    manifest, payload = pack(Trainer("mine", lambda settings, seed: [1.0]), threads=before + 2)
    assert remote((manifest, payload), lambda trainer: torch.get_num_threads()) == before + 2
    assert torch.get_num_threads() == before


def test_calls_are_made_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manifest, payload = pack(Trainer("mine", lambda settings, seed: [1.0]))
    there = replace(manifest, folder=str(tmp_path))
    here = Path.cwd()
    assert remote((there, payload), lambda trainer: Path.cwd()) == tmp_path.resolve()
    assert Path.cwd() == here
    gone = replace(manifest, folder=str(tmp_path / "gone"))
    assert remote((gone, payload), lambda trainer: Path.cwd()) == here


@pytest.mark.parametrize("package", ["Python", "torch", "betaplane"])
def test_another_version_on_a_worker_is_rejected(package: str):
    manifest, payload = pack(Trainer("mine", lambda settings, seed: [1.0]))
    old = replace(manifest, versions={**manifest.versions, package: "0.0"})
    with pytest.raises(BadInput, match=rf"another version of {package}: .*expected {package} 0\.0"):
        remote((old, payload), last_loss)


def test_what_cannot_be_pickled_is_rejected():
    lock = threading.Lock()

    def train(settings: dict[str, float], seed: int) -> list[float]:
        with lock:
            return [1.0]

    with pytest.raises(BadInput, match=r"cannot be sent .*lock.*problem 'mine'"):
        pack(Trainer("mine", train))


def test_a_package_that_a_worker_does_not_have_is_named():
    manifest, _ = pack(Trainer("mine", lambda settings, seed: [1.0]))
    with pytest.raises(
        BadInput, match=r"A worker cannot load the problem \(ModuleNotFoundError.*no_such_package"
    ):
        remote((manifest, b"cno_such_package\nthing\n."), last_loss)


def fail(trainer: Trainer) -> None:
    error = CommandFailed("The command failed", value="exit code 3")
    error.failure = {"code": 3}
    error.add_note("its last line")
    raise error


def test_the_failure_of_a_command_arrives_whole():
    with pytest.raises(CommandFailed, match="exit code 3") as raised:
        remote(pack(Trainer("mine", lambda settings, seed: [1.0])), fail)
    assert raised.value.failure == {"code": 3}
    assert raised.value.__notes__ == ["its last line"]


def test_runs_that_lose_their_worker_three_times_stop():
    check_losses(2, WorkerLost("SIGKILL"))
    with pytest.raises(BadInput, match=r"died in training, 3 times.*got 'SIGKILL'"):
        check_losses(3, WorkerLost("SIGKILL"))


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("rey", r"Unknown executor 'rey'\. Did you mean 'ray'\? .* Try: executor=\"ray\""),
        ("ray:127.0.0.1:1", r"Ray does not answer \(.*refused\): got '127.0.0.1:1'"),
        ("ray:somewhere", r"Invalid address of Ray: got 'somewhere'; expected HOST:PORT"),
        ("ray:gpus=many", r"gpus is not a number: got 'many'; expected a number >= 0"),
        ("ray:cpus=-1", r"cpus is out of range: got '-1'"),
        ("ray:gpu=1", r"Unknown option 'gpu'\. Did you mean 'gpus'\?"),
        ("dask", r"Invalid address of Dask: got ''"),
        ("dask:tcp://127.0.0.1:1", r"Dask does not answer"),
        ("slurm:locale", r"Unknown cluster 'locale'\. Did you mean 'local'\?"),
        ("slurm:time=soon", r"Invalid duration: got 'soon'"),
        ("slurm:array=0", r"array is out of range: got '0'; expected a number >= 1"),
        ("slurm:gpus=0.5", r"gpus is not a whole number: got '0.5'"),
    ],
)
def test_wrong_executors_get_a_sentence(executor: str, message: str, tmp_path: Path):
    store = tmp_path / "map.sqlite"
    with pytest.raises(BadInput, match=message):
        map_phases(Trainer("mine", lambda settings, seed: [1.0]), executor=executor, store=store)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("executor", "package", "extra"),
    [
        ("ray", "ray", "ray"),
        ("ray:{address}", "ray", "ray"),
        ("dask:tcp://{address}", "distributed", "dask"),
        ("slurm:local", "submitit", "slurm"),
    ],
)
def test_a_missing_package_gets_its_command(
    executor: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    trainer = Trainer("mine", lambda settings, seed: [1.0])
    message = rf"^{package} is not installed .*pip install 'betaplane\[{extra}\]'$"
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = executor.format(address=f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(BadInput, match=message):
            map_phases(trainer, executor=where, store=tmp_path / "map.sqlite")
    assert not list(tmp_path.iterdir())


def test_an_executor_and_workers_exclude_each_other():
    with pytest.raises(BadInput, match=r"An executor and workers .*got 'ray'"):
        backend_of("ray", workers=2)


def test_runs_of_a_problem_with_gpus_need_their_device():
    x = torch.ones(4, 1)
    problem = Problem("mine", lambda: nn.Linear(1, 1), nn.functional.mse_loss, x, x, batch_size=2)
    with pytest.raises(BadInput, match=r"the device is the CPU: got 'cpu'; expected cuda"):
        map_phases(problem, points=2, gpus="0")


def test_packages_get_a_generator_of_their_own(monkeypatch: pytest.MonkeyPatch):
    theirs, other = ModuleType("engine.sizes"), ModuleType("mine")
    for module in (theirs, other):
        vars(module).update(random=random, draw=random.randint, seed=random.seed)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    separate_generators(("engine",))
    before = random.getstate()
    assert 0 <= theirs.draw(0, 5) + theirs.random.random() < 6
    theirs.seed(0)
    assert random.getstate() == before
    assert (other.random, other.draw) == (random, random.randint)
