"""Sinks: records after a kill and after rotation, and values in each tracker's own reader."""

from __future__ import annotations

import gc
import itertools
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import sleep
from weakref import ref

import pytest
import torch
from benchmarks.failures.planted import adam, train

from betaplane.errors import BadInput
from betaplane.monitor import (
    Alert,
    JsonLines,
    MLflow,
    Sink,
    TensorBoard,
    Trackio,
    Wandb,
    read_lines,
    watch,
)
from betaplane.monitor.sinks import Sinks
from betaplane.monitor.sinks.json_lines import MAX_PENDING_SECONDS
from betaplane.problems import digits

TRACKED = {"betaplane.loss", "betaplane.lag/0.weight", "betaplane.update_rms/2.bias"}


def alarm(step: int) -> Alert:
    return Alert(step, "", "a cause", "numbers", "Why.", "a change", "", "a source")


def reading(step: int) -> dict:
    return {"layer": "weight", "step": step, "lag": 1.0 / step}


def fill(lines: JsonLines, first: int, last: int) -> None:
    for step in range(first, last):
        lines.loss(step, 1.0 / step)
        if step % 5 == 0:
            lines.readings([reading(step)])
        if step % 50 == 0:
            lines.alert(alarm(step))


def steps(rows: list[dict], kind: str) -> list[int]:
    return [
        step for row in rows if row["kind"] == kind for step in row.get("steps", [row.get("step")])
    ]


def test_many_files_are_one_record(tmp_path: Path):
    lines = JsonLines(tmp_path / "run.jsonl", limit=4096, files=4)
    lines.start({"optimizer": "Adam"})
    fill(lines, 1, 3001)
    lines.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    assert all(file.stat().st_size < 4096 + 61 * 250 for file in files)
    rows = read_lines(tmp_path / "run.jsonl")
    assert steps(rows, "alert") == [*range(50, 3001, 50)]
    assert len(steps(rows, "start")) == 1
    for kind, every in (("reading", 5), ("losses", 1)):
        recorded = steps(rows, kind)
        assert recorded == sorted(set(recorded))
        assert recorded[0] == every
        assert recorded[-1] == 3000
        assert len(recorded) > 30


def test_thinned_steps_stay_evenly_spaced(tmp_path: Path):
    lines = JsonLines(tmp_path / "run.jsonl", limit=4096, files=3)
    for step in range(1, 3001):
        lines.readings([reading(step)])
    lines.close()
    recorded = steps(read_lines(tmp_path / "run.jsonl"), "reading")
    old = [step for step in recorded if step < 2800]
    apart = [b - a for a, b in itertools.pairwise(old)]
    assert max(apart) <= 3 * (sum(apart) / len(apart))


def test_several_runs_in_a_file_keep_their_order(tmp_path: Path):
    for _ in range(3):
        lines = JsonLines(tmp_path / "run.jsonl", limit=4096, files=3)
        lines.start({})
        fill(lines, 1, 401)
        lines.close()
    rows = read_lines(tmp_path / "run.jsonl")
    assert steps(rows, "alert") == 3 * [*range(50, 401, 50)]
    assert steps(rows, "reading")[-1] == steps(rows, "losses")[-1] == 400
    assert len([row for row in rows if row["kind"] == "start"]) == 3


@pytest.mark.parametrize("count", range(3, 40, 4))
@pytest.mark.filterwarnings("ignore:This process")
def test_kill_loses_no_alert(tmp_path: Path, count: int):
    """A process is killed while it writes; all earlier alerts are in the files."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        lines = JsonLines(tmp_path / "run.jsonl", limit=4096, files=3)
        for step in range(1, 10**9):
            lines.readings([reading(step)])
            lines.alert(alarm(step))
            os.write(into, b"%d\n" % step)
    os.close(into)
    with os.fdopen(out) as pipe:
        last = [int(pipe.readline()) for _ in range(count)][-1]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        last = max([last, *(int(line) for line in pipe.read().split())])
    lines = JsonLines(tmp_path / "run.jsonl", limit=4096, files=3)
    lines.alert(alarm(-1))
    lines.close()
    recorded = steps(read_lines(tmp_path / "run.jsonl"), "alert")
    assert recorded[-1] == -1
    assert recorded[:-1] in ([*range(1, last + 1)], [*range(1, last + 2)])


def test_kill_during_a_merge_duplicates_nothing(tmp_path: Path):
    path = tmp_path / "run.jsonl"
    lines = JsonLines(path, limit=4096, files=4)
    first, oldest, step = tmp_path / "run.jsonl.part1", b"", 1
    while not oldest or first.exists():
        oldest = first.read_bytes() if first.exists() else b""
        fill(lines, step, step + 50)
        step += 50
    lines.close()
    before = steps(read_lines(path), "alert")
    first.write_bytes(oldest)
    (tmp_path / "run.jsonl.part3.half").write_bytes(b'{"kind": "thinned", "si')
    assert steps(read_lines(path), "alert") == before
    JsonLines(path).close()
    assert not {"run.jsonl.part1", "run.jsonl.part3.half"} & {
        file.name for file in tmp_path.iterdir()
    }
    assert steps(read_lines(path), "alert") == before


FOREIGN = {
    "text": ("run.jsonl", b'{"lr": 1}'),
    "lines": ("run.jsonl", b'{"lr": 1}\n{"lr": 2'),
    "bytes": ("run.jsonl", b"PK\x03\x04\n\x00\n\x01"),
    "another kind": ("run.jsonl", b'{"kind": "config"}'),
    "a part": ("run.jsonl.part2", b'{"lr": 1}\n'),
    "half a part": ("run.jsonl.part2.half", b'{"lr": 1}'),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_file_is_left_unchanged(tmp_path: Path, name: str):
    other, text = FOREIGN[name]
    (tmp_path / other).write_bytes(text)
    with pytest.raises(
        BadInput,
        match=f"The file is not the record of a run: got '{tmp_path / other}'; expected a new",
    ):
        watch(adamw(), tmp_path / "run.jsonl")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {other: text}


@pytest.mark.parametrize(
    "half", [b"", b'{"kind": ', b'{"kind": "start", "optimi', b'{"kind": "losses"']
)
def test_incomplete_first_line_is_removed(tmp_path: Path, half: bytes):
    lines = JsonLines(broken(tmp_path, half))
    lines.start({})
    lines.close()
    assert (tmp_path / "run.jsonl").read_bytes() == b'{"kind": "start"}\n'


def test_run_with_a_number_in_its_name_is_separate(tmp_path: Path):
    other = tmp_path / "run.1.jsonl"
    lines = JsonLines(other)
    fill(lines, 1, 101)
    lines.close()
    content = other.read_bytes()
    lines = JsonLines(tmp_path / "run.jsonl", limit=4096, files=3)
    fill(lines, 1, 3001)
    lines.close()
    assert other.read_bytes() == content
    assert len([*tmp_path.iterdir()]) == 1 + 3
    assert steps(read_lines(tmp_path / "run.jsonl"), "alert") == [*range(50, 3001, 50)]


def test_slow_losses_are_written_immediately(tmp_path: Path):
    lines = JsonLines(tmp_path / "run.jsonl")
    for step in (1, 2, 3):
        lines.loss(step, 1.0)
        assert steps(read_lines(tmp_path / "run.jsonl"), "losses") == [*range(1, step + 1)]
        sleep(1.5 * MAX_PENDING_SECONDS)


def test_fast_losses_share_lines(tmp_path: Path):
    lines = JsonLines(tmp_path / "run.jsonl")
    for step in range(1, 1001):
        lines.loss(step, 1.0)
    lines.close()
    rows = read_lines(tmp_path / "run.jsonl")
    assert steps(rows, "losses") == [*range(1, 1001)]
    assert max(len(row["steps"]) for row in rows) == 65


END = """
import sys, torch, betaplane
p = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.AdamW([p])
watcher = betaplane.watch(optimizer, sys.argv[1])
for step in range(1, 31):
    p.grad = torch.ones(1)
    watcher.loss(1.0 / step)
    optimizer.step()
"""


# one process, which imports torch once, runs the script with each ending in a fork of its own
FORKS = """
import os, sys, torch, betaplane
script, folder, *endings = sys.argv[1:]
p = torch.nn.Parameter(torch.ones(1))
betaplane.watch(torch.optim.AdamW([p]), console=False).close()  # imports the rest
for number, ending in enumerate(endings):
    if os.fork() == 0:
        sys.argv = ["-c", f"{folder}/{number}.jsonl"]
        exec(script + ending)
        break  # the fork ends as a script does
    os.wait()
"""
PENDING = "watcher.losses.pending[31] = torch.tensor(0.5)"
ENDINGS = ["", "sys.exit(0)", "raise KeyError", "watcher.close()", PENDING]


@pytest.fixture(scope="module")
def files_of_endings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The file that a script leaves, for each ending."""
    folder = tmp_path_factory.mktemp("endings")
    command = [sys.executable, "-c", FORKS, END, folder, *ENDINGS]
    subprocess.run(command, capture_output=True, check=True)
    return [folder / f"{number}.jsonl" for number in range(len(ENDINGS))]


@pytest.mark.parametrize("ending", ENDINGS)
def test_exit_of_a_script_loses_nothing(files_of_endings: list[Path], ending: str):
    last = 31 if ending == PENDING else 30
    file = files_of_endings[ENDINGS.index(ending)]
    assert steps(read_lines(file), "losses") == [*range(1, last + 1)]


def test_deleted_watcher_writes_losses_and_releases_the_file(tmp_path: Path):
    def run() -> ref:
        optimizer = adamw()
        watcher = watch(optimizer, tmp_path / "run.jsonl", console=False)
        for step in range(1, 31):
            (optimizer.param_groups[0]["params"][0]).grad = torch.ones(1)
            watcher.loss(1.0 / step)
            optimizer.step()
        return ref(watcher)

    first = run()
    second = run()
    assert first() is None
    third = watch(adamw(), tmp_path / "run.jsonl", console=False)
    assert second() is None
    third.close()
    rows = read_lines(tmp_path / "run.jsonl")
    assert steps(rows, "losses") == 2 * [*range(1, 31)]
    assert len([row for row in rows if row["kind"] == "start"]) == 3


@pytest.mark.parametrize("name", ["run.jsonl", "folder/../run.jsonl", "link.jsonl"])
def test_second_writer_of_a_file_is_rejected(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    watcher = watch(adamw(), tmp_path / "run.jsonl", console=False)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "run.jsonl")
    with pytest.raises(BadInput) as caught:
        watch(adamw(), tmp_path / name, console=False)
    other = (tmp_path / name).with_stem(f"{Path(name).stem}-1")
    assert str(caught.value) == (
        f"Another watcher of this process writes the file: got '{tmp_path / name}'; expected a different file, "
        f'or this one after close() (watch). Try: path="{other}"'
    )
    watcher.close()
    with watch(adamw(), tmp_path / name, console=False):
        watcher.close()
        with pytest.raises(BadInput, match="Another watcher"):
            watch(adamw(), tmp_path / name, console=False)
    assert [row["kind"] for row in read_lines(tmp_path / "run.jsonl")] == ["start", "start"]


def test_file_that_could_not_be_opened_is_released(tmp_path: Path):
    for _ in range(2):
        with pytest.raises(BadInput, match="cannot be written"):
            JsonLines(tmp_path / "folder" / "run.jsonl")
    (tmp_path / "folder").mkdir()
    JsonLines(tmp_path / "folder" / "run.jsonl").close()


def test_full_disk_is_reported_once(tmp_path: Path):
    resource = pytest.importorskip("resource")
    sinks = Sinks([JsonLines(tmp_path / "run.jsonl")])
    rows = [reading(step) for step in range(1, 10)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.warns(UserWarning, match="JsonLines failed and is disabled"):
            sinks.readings(rows)
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    JsonLines(tmp_path / "run.jsonl").close()


def test_record_starts_with_the_metadata(tmp_path: Path):
    watcher, _, losses = train(digits(), 25, adam(3e-3), path=tmp_path / "run.jsonl", every=10)
    start, *rows = read_lines(tmp_path / "run.jsonl")
    assert start["optimizer"] == "AdamW"
    assert start["groups"][0]["lr"] == 3e-3
    assert [layer["name"] for layer in start["layers"]] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    ]
    assert start["layers"][0]["shape"] == [32, 64]
    assert {"betaplane", "torch", "python"} == set(start["versions"])
    assert steps(rows, "losses") == [*range(1, 26)]
    values = [value for row in rows if row["kind"] == "losses" for value in row["values"]]
    assert values == pytest.approx(losses, rel=1e-6)
    assert steps(rows, "reading") == [step for step in (1, 10, 20) for _ in range(4)]
    assert watcher.sinks.sinks == []


def test_record_has_the_names_of_the_model(tmp_path: Path):
    model = torch.nn.Linear(2, 1)
    with watch(
        torch.optim.Adam(model.parameters()), tmp_path / "run.jsonl", console=False, model=model
    ):
        pass
    (start,) = read_lines(tmp_path / "run.jsonl")
    assert [layer["name"] for layer in start["layers"]] == ["weight", "bias"]


def test_record_is_strict_json(tmp_path: Path):
    lines = JsonLines(tmp_path / "run.jsonl")
    lines.readings([{"layer": "w", "step": 1, "snr": math.inf, "beta2": 0.9999995}])
    lines.loss(2, math.nan)
    lines.close()
    text = (tmp_path / "run.jsonl").read_text().splitlines()
    first, last = (json.loads(line, parse_constant=pytest.fail) for line in text)
    assert first["snr"] is None
    assert first["beta2"] == 0.9999995
    assert last["values"] == [None]


def test_failing_sink_does_not_stop_the_run():
    class Full(Sink):
        def readings(self, rows: list[dict]) -> None:
            raise OSError(28, "No space left on device")

    alerts: list[Alert] = []

    class PreStepSample(Sink):
        def alert(self, alert: Alert) -> None:
            alerts.append(alert)

    with pytest.warns(UserWarning, match="Full failed and is disabled .OSError: .* No space left"):
        watcher, _, _ = train(digits(), 5, adam(betas=(0.95, 0.85)), to=[Full(), PreStepSample()])
    assert alerts == watcher.alerts != []


def test_tensorboard_reads_the_written_values(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watcher, _, losses = train(digits(), 150, adam(betas=(0.95, 0.85)), to=TensorBoard(tmp_path))
    board = EventAccumulator(str(tmp_path)).Reload()
    assert set(board.Tags()["scalars"]) >= TRACKED
    seen = [event.step for event in board.Scalars("betaplane.lag/0.weight")]
    assert seen[:100] == [*range(1, 101)]
    assert 20 < len(seen[100:]) < 40
    assert board.Scalars("betaplane.loss")[3].value == pytest.approx(losses[3])
    (tensor,) = board.Tensors("betaplane.alerts/text_summary")
    assert tensor.step == 1
    assert tensor.tensor_proto.string_val[0].decode() == str(watcher.alerts[0])


def test_writer_of_the_caller_stays_open(tmp_path: Path):
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(tmp_path)
    train(digits(), 3, adam(), to=TensorBoard(writer))
    writer.add_scalar("mine", 1.0, 1)
    writer.close()
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("own", [True, False], ids=["a run of its own", "the caller's run"])
def test_wandb_offline_run_has_all_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    run = None if own else wandb.init(project="mine")
    sink = Wandb()
    train(digits(), 30, adam(betas=(0.95, 0.85)), to=sink)
    if run is not None:
        run.log({"mine": 1.0}, step=3)  # the caller's steps are as if nothing else were there
        assert run.step == 3
        run.log({"mine": 2.0}, step=4)
        assert run.summary["betaplane.step"] == 30
        run.finish()
    # of a second run in one process wandb chooses it by the first
    folder = Path(sink.run.dir).parent
    (file,) = folder.glob("*.wandb")
    written = file.read_bytes()
    assert all(
        name.encode() in written for name in ("betaplane.alerts", "betaplane.step", *TRACKED)
    )
    (table,) = folder.glob("files/media/table/betaplane.alerts*.table.json")
    assert json.loads(table.read_text())["data"][0][:3] == [1, "", "beta1^2 >= beta2"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_database_has_all_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    sink = MLflow()
    watcher, _, losses = train(digits(), 30, adam(betas=(0.95, 0.85)), to=sink)
    client = mlflow.MlflowClient()
    seen = client.get_metric_history(sink.run_id, "betaplane.loss")
    assert [each.step for each in seen] == [*range(1, 31)]
    assert seen[3].value == pytest.approx(losses[3])
    assert set(client.get_run(sink.run_id).data.metrics) >= TRACKED
    assert mlflow.artifacts.load_text(f"runs:/{sink.run_id}/betaplane/alerts.txt") == str(
        watcher.alerts[0]
    )
    assert mlflow.active_run() is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trackio_folder_has_all_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    sink = Trackio()
    train(digits(), 30, adam(betas=(0.95, 0.85)), to=sink)
    with closing(sqlite3.connect(tmp_path / "betaplane.db")) as db:
        rows = [
            (step, json.loads(text))
            for step, text in db.execute("select step, metrics from metrics")
        ]
    assert sorted(step for step, row in rows if "betaplane.loss" in row) == [*range(1, 31)]
    assert {name for _, row in rows for name in row} >= TRACKED
    (run,) = trackio.Api().runs("betaplane")
    assert [alert["title"] for alert in run.alerts()] == ["step 1: beta1^2 >= beta2"]


def adamw() -> torch.optim.Optimizer:
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])


def broken(folder: Path, text: bytes) -> Path:
    (folder / "run.jsonl").write_bytes(text)
    return folder / "run.jsonl"


WRONG = {
    "word": (
        lambda folder: watch(adamw(), to="tensorbord"),
        "Unknown sink 'tensorbord'. Did you mean 'tensorboard'? Choose one of: tensorboard, wandb, trackio, mlflow "
        '(to). Try: to="tensorboard"',
    ),
    "number": (lambda folder: watch(adamw(), to=[3]), "Unknown sink 3. Choose one of: tensorboard,"),
    "package": (
        lambda folder: watch(adamw(), to="wandb"),
        "The package of this tracker cannot be imported (import of wandb halted; None in sys.modules): got 'wandb' "
        "(to). Try: pip install betaplane[wandb]",
    ),
    "limit": (lambda folder: JsonLines(folder / "a", limit=10), "limit is out of range: got 10; expected [4096, inf)"),
    "files": (lambda folder: JsonLines(folder / "a", files=2), "files is out of range: got 2; expected [3, inf)"),
    "a folder": (lambda folder: JsonLines(folder), "The file cannot be written (Is a directory): got "),
    "gone": (lambda folder: read_lines(folder / "a"), "The record cannot be read (No such file or directory): got "),
    "text": (lambda folder: read_lines(broken(folder, b"{}\nno\n")), "Line 2 is not part of a run's record: got b'no"),
    "bytes": (lambda folder: read_lines(broken(folder, b"\xff\x00\n")), "Line 1 is not part of a run's record: got b"),
    "list": (lambda folder: read_lines(broken(folder, b"[1]\n")), "Line 1 is not part of a run's record: got b'[1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_rejected(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    call, message = WRONG[name]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(BadInput) as caught:
        call(tmp_path)
    assert str(caught.value).startswith(message)


def test_pipe_is_not_a_record(tmp_path: Path) -> None:
    """Reading a pipe would wait forever for a writer."""
    os.mkfifo(tmp_path / "run.jsonl")
    with pytest.raises(BadInput, match="This is not a regular file"):
        read_lines(tmp_path / "run.jsonl")
