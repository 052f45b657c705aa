"""A command as a problem: its losses while it runs, its end, and sentences for bad input."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from betaplane.errors import BadInput
from betaplane.problems import Command, load
from betaplane.problems.commands.as_trainer import from_command
from betaplane.problems.commands.command_run import CommandFailed
from betaplane.problems.commands.event_files import EventFile, EventFiles, Scalar
from betaplane.problems.fingerprint import fingerprint
from betaplane.problems.source import as_problem

SETTINGS = {"beta1": 0.9, "beta2": 0.999, "lr": 1e-3, "batch_size": 32}
STDOUT = r"stdout:loss=(\S+)"


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Command]:
    """A command that runs a Python script, with the arguments that are given."""

    def make(script: str, arguments: str = "", loss: str = STDOUT, **options) -> Command:
        file = tmp_path / "train.py"
        file.write_text(f"import json, os, signal, subprocess, sys, time\n{script}\n")
        return Command(f"{sys.executable} '{file}' {arguments}", loss, **options)

    return make


def losses(command: Command, **more: float) -> list[float]:
    return list(command({**SETTINGS, **more}, seed=3))


def test_settings_reach_the_command_as_arguments_and_in_the_environment(command):
    script = """
print("loss=1", file=sys.stderr)
names = "BETA1 BETA2 LR BATCH_SIZE SEED LAYERS".split()
values = [float(os.environ["BETAPLANE_" + name]) for name in names]
assert values == [float(text) for text in sys.argv[1:7]], (values, sys.argv)
assert os.path.isdir(os.environ["BETAPLANE_RUN"]) and os.environ["BETAPLANE_RUN"] == sys.argv[7]
assert sys.argv[8:] == ["{lr}", '{"a": 1}', "it's one argument"]
print("loss=" + sys.argv[2])
"""
    arguments = "{beta1} {beta2} {lr} {batch_size} {seed} {layers} {run}"
    quoted = """{{lr}} '{"a": 1}' "it's one argument" """
    assert losses(command(script, f"{arguments} {quoted}"), layers=4.0) == [0.999]


@pytest.mark.parametrize("shell", [False, True])
def test_value_with_blanks_and_semicolons_stays_one_argument(command, tmp_path, shell):
    runs = tmp_path / "my runs; touch stolen"
    script = "print(f'loss={len(sys.argv)}'); assert os.path.isdir(sys.argv[1])"
    assert losses(command(script, "{run} {seed}", runs=runs, shell=shell)) == [3.0]
    assert not Path("stolen").exists()


def test_shell_runs_pipes(command):
    piped = command("print('loss=2')", "| sed s/2/3/ | cat", shell=True)
    assert losses(piped) == [3.0]


WRITERS = {
    "stdout:loss=(?:x|(?P<loss>.*))$": "print(f'loss={loss}', flush=True)",
    "stderr:loss=(.*)": "print(f'loss={loss}', end='\\r', file=sys.stderr, flush=True)",
    "jsonl:{run}/log.jsonl:train.loss": (
        "print(json.dumps({'step': step, 'train': {'loss': loss}}), file=log, flush=True)\n"
        "    print(json.dumps({'event': 'saved'}), file=log, flush=True)"
    ),
    "csv:{run}/log.jsonl:loss": (
        "step or print('step, loss ,eval', file=log)\n"
        "    print(f'{step}, {loss},', file=log, flush=True)\n"
        "    print(f'{step},,0.1', file=log, flush=True)"
    ),
    "hf:{run}": (
        "history.append({'loss': loss, 'step': step})\n"
        "    history.append({'eval_loss': 0.0})\n"
        "    os.makedirs(f'{sys.argv[1]}/checkpoint-{step}')\n"
        "    state = open(f'{sys.argv[1]}/checkpoint-{step}/trainer_state.json', 'w')\n"
        "    json.dump({'log_history': history}, state); state.close()"
    ),
}


@pytest.mark.parametrize("source", WRITERS)
def test_each_source_gives_every_loss_in_order(command, source: str):
    script = f"""
log, history = open(sys.argv[1] + "/log.jsonl", "w"), []
for step, loss in enumerate([2.5, 1e-3, float("nan"), float("inf"), 7.0]):
    {WRITERS[source]}
"""
    found = losses(command(script, "{run}", loss=source))
    assert [str(loss) for loss in found] == ["2.5", "0.001", "nan", "inf", "7.0"]


@pytest.mark.parametrize("new_style", [False, True])
def test_event_files_of_tensorboard_give_every_value(tmp_path, new_style: bool):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")

    def log(values: list[float], folder: str) -> None:
        with tensorboard.SummaryWriter(str(tmp_path / folder)) as writer:
            for step, loss in enumerate(values):
                writer.add_scalar("train/loss", loss, step, new_style=new_style)
                writer.add_scalar("lr", 1.0, step)
                writer.add_text("note", "hello", step)

    log([9.0], "before")  # a file that existed before the run
    event_files = EventFiles(tmp_path, "train/loss")
    assert event_files.read(False) == []
    assert "there is no event file in" in event_files.missing()
    log([2.5, 0.125, math.nan], "run")
    assert [str(loss) for loss in event_files.read(False)] == ["2.5", "0.125", "nan"]
    assert event_files.read(True) == []
    other = EventFiles(tmp_path / "elsewhere", "loss")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert other.read(True) == []
    assert re.search(r"have no tag 'loss', but: .*lr.*train/loss", other.missing())


def test_event_that_is_still_written_is_read_when_it_is_complete(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 0.5, 7)
    (path,) = tmp_path.glob("*tfevents*")
    whole = path.read_bytes()
    growing, values = EventFile(tmp_path / "growing"), []
    for end in range(0, len(whole) + 1, 5):
        growing.path.write_bytes(whole[:end] if end + 5 <= len(whole) else whole)
        values += growing.read()
    assert values == [Scalar(7, "loss", 0.5)]


def test_log_that_exists_before_the_run_is_moved_aside(command, tmp_path):
    log = tmp_path / "3.jsonl"
    log.write_text('{"loss": 9}\n')
    script = "print(json.dumps({'loss': 1.5}), file=open(sys.argv[1], 'a'))"
    appends = command(
        script, f"{tmp_path}/{{seed}}.jsonl", loss=f"jsonl:{tmp_path}/{{seed}}.jsonl:loss"
    )
    assert losses(appends) == [1.5]
    assert (tmp_path / "3.jsonl.1").read_text() == '{"loss": 9}\n'


FAMILY = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
away = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
json.dump([os.getpid(), child.pid, away.pid], open(sys.argv[1] + "/pids", "w"))
print("loss=1", flush=True)
time.sleep(60)
"""


def test_closing_a_run_ends_every_process_that_it_started(command, tmp_path):
    run = command(FAMILY, "{run}", runs=tmp_path / "runs")(SETTINGS, 0)
    assert next(run) == 1.0
    pids = json.loads(next((tmp_path / "runs").glob("*/pids")).read_text())
    assert all(map(psutil.pid_exists, pids))
    run.close()
    assert not any(map(is_running, pids))
    assert run.exit is None


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_command_is_asked_to_end_before_it_is_killed(command, tmp_path):
    script = """
def stop(*_):
    open(sys.argv[1] + "/saved", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("loss=1", flush=True)
time.sleep(60)
"""
    run = command(script, "{run}", runs=tmp_path / "runs")(SETTINGS, 0)
    next(run)
    run.close()
    assert [*(tmp_path / "runs").glob("*/saved")]


def test_run_past_the_timeout_is_ended_and_diverged(command):
    slow = command("print('loss=1', flush=True); print('slow', file=sys.stderr); time.sleep(60)")
    run = Command(slow.command, slow.loss, timeout=1.0)(SETTINGS, 0)
    first, last = run
    assert first == 1.0
    assert math.isnan(last)
    assert run.exit is not None
    assert run.exit.reason == "timeout of 1 s"
    assert run.exit.stderr == ("slow",)


def test_error_after_losses_counts_as_divergence(command):
    run = command("print('loss=1'); raise ValueError('out of memory')")(SETTINGS, 0)
    first, last = run
    assert first == 1.0
    assert math.isnan(last)
    assert run.failure is not None
    assert run.failure["reason"] == "exit code 1"
    assert run.failure["stderr"][-1] == "ValueError: out of memory"


FAILURES = {
    "raise ValueError('no data')": "failed before its first loss: got 'exit code 1'; .* no data",
    "os.kill(os.getpid(), 9)": "failed before its first loss: got 'signal 9'",
    "print('hello')": r"without a loss: no line of stdout matches 'loss=.*ends with: hello",
    "print('loss=high')": r"The loss is not a number: got 'high'; .*loss=high",
}


@pytest.mark.parametrize("script", FAILURES)
def test_run_without_a_loss_fails_with_its_last_lines(command, script: str):
    with pytest.raises(BadInput, match=FAILURES[script]):
        losses(command(script))


def test_stderr_is_in_the_notes_of_the_error(command):
    with pytest.raises(CommandFailed) as caught:
        losses(command("print('first', file=sys.stderr); 1 / 0"))
    assert caught.value.__notes__[0] == "first"
    assert caught.value.__notes__[-1] == "ZeroDivisionError: division by zero"


MISSING = {
    "jsonl:{run}/log:loss": "there is no file '.*/log'",
    "jsonl:{run}/log.jsonl:loss": "has no field 'loss', but: los",
    "csv:{run}/log.csv:loss": "has no column 'loss', but: step, los",
    "csv:{run}/empty.csv:loss": "is empty",
    "hf:{run}": "there is no trainer_state.json in",
    "tensorboard:{run}:loss": "there is no event file in",
}


@pytest.mark.parametrize("source", MISSING)
def test_log_without_the_loss_is_described(command, source: str):
    script = """
open(sys.argv[1] + "/log.jsonl", "w").write('{"los": 1}')
open(sys.argv[1] + "/log.csv", "w").write('step,los')
open(sys.argv[1] + "/empty.csv", "w")
"""
    with pytest.raises(CommandFailed, match=f"without a loss: .*{MISSING[source]}"):
        losses(command(script, "{run}", loss=source))


BAD = {
    "stdout:loss=.*": "The regular expression has no group for the loss: got 'loss=.*'",
    "stdout:loss=(": "The regular expression of the loss is not valid",
    "json:log:loss": r"Unknown form of the loss 'json'.* Try: loss=\"jsonl:",
    r"loss=(\S+)": r"Unknown form of the loss 'loss=.* Try: loss=r\"stdout:",
    "jsonl:{run}/log.jsonl": r"does not have the form jsonl:PATH:FIELD: got 'jsonl:\{run\}/log.jsonl'",
    "jsonl:log.jsonl:loss": "All runs would write their losses to one file",
    "hf:": "does not have the form hf:DIR",
}


@pytest.mark.parametrize("source", BAD)
def test_bad_source_of_the_loss_is_refused_at_once(source: str):
    with pytest.raises(BadInput, match=BAD[source]):
        Command("python train.py", source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "python 'train.py"}, "cannot be split into arguments"),
        ({"command": "  "}, "The command is empty"),
        ({"command": 3}, "command is of the wrong type: got 'int'"),
        ({"timeout": 0}, "timeout is out of range: got 0"),
        ({"losses": -1}, "losses is out of range: got -1"),
    ],
)
def test_bad_command_is_refused_at_once(options, message: str):
    with pytest.raises(BadInput, match=message):
        Command(**{"command": "python train.py", "loss": STDOUT, **options})


def test_program_that_does_not_exist_is_named():
    with pytest.raises(BadInput, match=r"cannot be started \(No such file.*got 'no-such-program'"):
        losses(Command("no-such-program {lr}", STDOUT))


def test_fingerprint_covers_the_script_and_not_the_timeout(command):
    def digest(*arguments, **options):
        return fingerprint(from_command(command(*arguments, **options)))

    first = digest("print(1)", "{lr}")
    assert digest("print(1)", "{lr}", timeout=5, runs="elsewhere") == first
    others = [
        digest("print(2)", "{lr}"),
        digest("print(1)", "{seed}"),
        digest("print(1)", "{lr}", "hf:{run}"),
    ]
    assert len({first, *others}) == 4


def test_variables_can_be_set_and_removed(command, monkeypatch):
    monkeypatch.setenv("TO_REMOVE", "1")
    script = "print('loss=%d' % len(os.environ.get('TO_REMOVE', '') + os.environ['TO_SET']))"

    assert losses(command(script, environment={"TO_REMOVE": None, "TO_SET": "abc"})) == [3.0]
    assert os.environ["TO_REMOVE"] == "1"


def test_command_in_a_file_is_loaded_as_a_trainer(tmp_path):
    file = tmp_path / "problem.py"
    file.write_text(
        "from betaplane import Command\n"
        "problem = Command('python my/script.py --lr {lr}', 'hf:{run}', best=0.0)\n"
    )
    problem = load(f"{file}:problem")
    assert problem.name == "script"
    assert problem.best == 0.0
    assert as_problem(Command("python my/script.py --lr {lr}", "hf:{run}")).name == "script"
