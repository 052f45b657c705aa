"""Workers train on the data of their parent process: all share one copy in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.executors import Local
from betaplane.executors.local import LocalWorkers
from betaplane.executors.parcel import Parcel
from betaplane.problems import Problem, load

FILE = """
    import os
    import torch
    from torch import nn
    from betaplane.problems import Problem

    x = torch.arange(4_000_000.0).reshape(-1, 4) / 4e6
    weight = torch.tensor([float(os.environ.get("WEIGHT", 1.0))])
    loss = lambda output, target: ((output - target).square() * weight).mean()
    problem = Problem("mine", lambda: nn.Linear(4, 1), loss, x, x[:, :1], batch_size=8, steps=10)
"""


def problem_of_digits() -> Problem:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(96, 16, generator=generator)
    loss = nn.functional.cross_entropy
    return Problem("mine", lambda: nn.Linear(16, 3), loss, x, x.argmax(1) % 3, batch_size=8)


@pytest.fixture
def reference(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(dedent(FILE))
    return f"{tmp_path}/mine.py:problem"


def memory(problem: Problem, name: str) -> tuple[int, bool, str, list[float]]:
    """In a worker: private memory in MB, whether the data are in a mapped file, and the first
    example.
    """
    data = getattr(problem, name)
    data[0] += 1  # in a private page of the worker
    maps = Path("/proc/self/maps").read_text()
    rollup = Path("/proc/self/smaps_rollup").read_text()
    private = sum(
        int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty")
    )
    return private // 1024, "/data" in maps and "betaplane-" in maps, problem.name, data[0].tolist()


def input_sum(problem: Problem) -> float:
    return float(problem.inputs.sum())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_data_are_one_mapped_file_that_workers_cannot_change(reference: str):
    problem = load(reference)
    before = problem.inputs.clone()
    with Local(workers=2).start(problem.with_(name="renamed")) as workers:
        assert isinstance(workers, LocalWorkers)
        futures = [workers.submit(memory, "inputs") for _ in range(4)]
        seen = [future.result() for future in futures]
        folder = workers._parcel.folder
        reopened = Parcel(problem).open()
        assert folder.exists()
    assert not folder.exists()
    assert all(mapped and name == "renamed" for _, mapped, name, _ in seen)
    row, added = before[0].clone(), set()
    for _ in seen:  # a worker may take every call, and each adds 1 to its own copy
        row += 1
        added.add(tuple(row.tolist()))
    assert {tuple(first) for *_, first in seen} <= added
    assert torch.equal(problem.inputs, before)
    assert torch.equal(reopened.inputs, before)


def test_other_numbers_in_the_functions_of_a_worker_are_rejected(
    reference: str, monkeypatch: pytest.MonkeyPatch
):
    problem = load(reference)
    monkeypatch.setenv("WEIGHT", "2.0")
    with (
        Local(workers=1).start(problem) as workers,
        pytest.raises(BadInput, match=r"differ between two loads of the file \(loss: w"),
    ):
        workers.call(input_sum)


def test_a_rounding_of_constants_in_a_worker_is_accepted(
    reference: str, monkeypatch: pytest.MonkeyPatch
):
    problem = load(reference)
    monkeypatch.setenv("WEIGHT", "1.0000001")
    with Local(workers=1).start(problem) as workers:
        assert workers.call(input_sum) == float(problem.inputs.sum())


@pytest.mark.parametrize(
    "form",
    ["part of a larger tensor", "expanded", "float64", "sparse", "whole numbers", "requires grad"],
)
def test_data_of_every_form_reach_the_worker(form: str):
    plain = problem_of_digits()
    x = {
        "part of a larger tensor": lambda: torch.cat([plain.inputs] * 50)[: plain.examples],
        "expanded": lambda: plain.inputs[:1].expand(plain.inputs.shape),
        "float64": lambda: plain.inputs.double(),
        "sparse": lambda: plain.inputs.to_sparse(),
        "whole numbers": lambda: plain.inputs.long(),
        "requires grad": lambda: plain.inputs.clone().requires_grad_(),
    }[form]()
    object.__setattr__(plain, "inputs", x)
    parcel = Parcel(plain)
    opened = parcel.open()
    size = (parcel.folder / "data").stat().st_size
    parcel.remove()
    assert isinstance(opened, Problem)
    inputs = opened.inputs
    assert (inputs.dtype, inputs.layout, inputs.shape) == (x.dtype, x.layout, x.shape)
    assert torch.equal(inputs.to_dense(), x.to_dense())
    assert torch.equal(opened.targets, plain.targets)
    assert size < 4 * (plain.inputs.to_dense().nbytes + plain.targets.nbytes) + 20_000
    assert not parcel.folder.exists()


def test_a_full_temporary_folder_raises_bad_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(
        BadInput, match=r"cannot be written for the workers \(.*No space left.*TMPDIR=/elsewhere"
    ):
        Parcel(problem_of_digits())
    assert not list(tmp_path.iterdir())


LONG = """
import sys
from betaplane.maps import map_phases

def train(settings, seed):
    import time
    print("training", file=sys.stderr, flush=True)
    time.sleep(0.3)
    return [1.0, settings["beta2"]]

if __name__ == "__main__":
    from betaplane.problems import Trainer
    map_phases(Trainer("mine", train), points=6, workers=2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signals a process group")
@pytest.mark.parametrize(
    "by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda by: by.name
)
def test_temporary_folders_are_removed_after_every_signal(tmp_path: Path, by: signal.Signals):
    script, place = tmp_path / "long.py", tmp_path / "place"
    script.write_text(LONG)
    place.mkdir()
    environment = {**os.environ, "TMPDIR": str(place)}
    with subprocess.Popen([sys.executable, script], stderr=-1, text=True, env=environment) as ran:
        assert ran.stderr is not None
        assert ran.stderr.readline() == "training\n"
        assert len(list(place.glob("betaplane-*"))) == 2  # the store, and the parcel
        ran.send_signal(by)
        ran.stderr.read()
    deadline = time.monotonic() + 20
    while list(place.glob("betaplane-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(place.glob("betaplane-*"))


@pytest.mark.parametrize("by_reference", [True, False])
def test_functions_may_refer_to_the_data(tmp_path: Path, by_reference: bool):
    path = tmp_path / "mine.py"
    path.write_text(dedent(FILE).replace("* weight", "* weight * x.std()"))
    mine = load(f"{path}:problem")
    assert isinstance(mine, Problem)
    if not by_reference:
        mine = mine.with_(loss=mine.loss)
        assert mine.origin is None
    parcel = Parcel(mine)
    try:
        opened = parcel.open()
    finally:
        parcel.remove()
    assert isinstance(opened, Problem)
    assert torch.equal(opened.inputs, mine.inputs)
