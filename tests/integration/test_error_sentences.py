"""What goes wrong while a map is under way ends it with a sentence; what is finished is kept,
no process stays behind.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from killable import TRAINER, session, stored, wait_until

from betaplane.cli.main import main

TRAINERS = '''
import os, sys, time

class Odd(Exception):
    def __init__(self, one, two):  # does not pickle
        super().__init__(f"{one} {two}")

def late(settings):  # the first trainings go well
    return settings["beta2"] > 0.9

def raises(settings, seed):
    if late(settings):
        raise KeyError("no such thing")
    return [1.0, 0.5]

def raises_odd(settings, seed):
    raise Odd("what", "ever")

def memory(settings, seed):
    raise MemoryError

def leaves(settings, seed):
    sys.exit("enough")

def forgets(settings, seed):
    pass

def words(settings, seed):
    return ["one", "two"]

def dies(settings, seed):
    if late(settings):
        time.sleep(0.2)
        os._exit(3)
    return [1.0, 0.5]
'''  # fmt: skip

MODULE = """
import torch
from torch import nn
from betaplane.problems import Problem

class Tired(nn.Module):
    def __init__(self):
        super().__init__()
        self.line, self.calls = nn.Linear(1, 1), 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 5:
            raise RuntimeError("too tired")
        return self.line(x)

problem = Problem("tired", Tired, nn.functional.mse_loss, torch.ones(8, 1), torch.ones(8, 1), batch_size=4, steps=20)
"""

SMALL = ["--points", "4", "--seeds", "1", "--boundary-seeds", "1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("trainers.py").write_text(TRAINERS)
    Path("trainer.py").write_text(TRAINER)
    Path("module.py").write_text(MODULE)
    return tmp_path


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command run in this process."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0), *capsys.readouterr()


ROWS = {
    "trainers.py:raises": r"raises\(beta1=0, beta2=0.9\d*, .*; seed 0\) failed \(.*line 13: KeyError: 'no such",
    "trainers.py:raises_odd": r"raises_odd\(.*\) failed \(.*trainers.py, line 17: Odd: what ever",
    "trainers.py:memory": r"memory\(.*\) failed \(.*trainers.py, line 20: MemoryError",
    "trainers.py:leaves": r"leaves\(.*\) failed \(.*trainers.py, line 23: SystemExit: enough",
    "trainers.py:forgets": r"returned no sequence of losses: got 'None'; expected a sequence .* Try: return losses",
    "trainers.py:words": r"returned no sequence of losses: got .*'one', 'two'",
    "module.py:problem": r"Training 'tired' failed \(.*module.py, line 14: RuntimeError: too tired",
}


@pytest.mark.parametrize(("source", "message"), ROWS.items())
def test_failing_user_code_gets_one_sentence(folder: Path, capsys, source: str, message: str):
    code, out, err = ended(["map", source, *SMALL, "--workers", "0", "--engine", "plain"], capsys)
    assert (code, out) == (2, "")
    assert re.search(f"betaplane: .*{message}", err)
    assert "Traceback" not in err
    assert not list(Path("out").glob("*.p*"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", r"raises\(beta1=.*line 13: KeyError: 'no such thing'\)\."),
        ("dies", r"A worker process died.*EXIT\(3\)"),
    ],
)
def test_a_failing_worker_gets_one_sentence(
    folder: Path, capfd, monkeypatch, name: str, message: str
):
    monkeypatch.setenv("PATH", "")  # as on a machine without pgrep, which loky would call
    code, out, err = ended(["map", f"trainers.py:{name}", *SMALL, "--workers", "1"], capfd)
    assert (code, out) == (2, "")
    assert re.search(f"^betaplane: {message}", err, re.MULTILINE)
    assert "Traceback" not in err
    assert set(stored(Path(f"out/{name}.sqlite"))), "what was finished is kept"


def command(source: str, *more: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from betaplane.cli.main import main; main()",
        "map",
        source,
        *SMALL,
        *more,
    ]


# Ctrl-C


def obey_ctrl_c() -> None:
    """Undo an ignored SIGINT, which tests that run in the background of a shell inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
@pytest.mark.parametrize("early", [True, False], ids=["while workers start", "while they train"])
def test_ctrl_c(folder: Path, capsys, early: bool):
    finer = ["--points", "12", "--seeds", "4"]
    with subprocess.Popen(
        command("trainer.py:train", *finer, "--workers", "2"),
        stdout=-1,
        stderr=-1,
        text=True,
        start_new_session=True,
        preexec_fn=obey_ctrl_c,
    ) as ran:
        assert ran.stderr is not None
        assert "cells" in ran.stderr.readline()
        wait_until(lambda: early or len(stored(Path("out/train.sqlite"))) > 5, 120)
        time.sleep(0.5 * early)
        os.killpg(ran.pid, signal.SIGINT)  # as a terminal does: to the workers too
        out, err = ran.communicate(timeout=60)
        wait_until(lambda: not session(ran.pid), 30)
    assert (ran.returncode, out) == (130, "")
    assert err.endswith(
        "betaplane: stopped. Finished runs are saved; rerun the same command to resume.\n"
    )
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err
    known = stored(Path("out/train.sqlite"))
    code, out, err = ended(["map", "trainer.py:train", *SMALL, *finer, "--workers", "0"], capsys)
    assert code == 0
    assert early or f"{len(known)} of them in the store" in err
    assert known.items() <= stored(Path("out/train.sqlite")).items()


# A full disk

LONG = """
def train(settings, seed):
    return [1.0] * 4000 + [settings["beta2"]]
"""


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = folder / "disk"
    place.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    if mounted:
        pytest.skip(f"cannot mount a small disk: {mounted}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _mount(*words: str) -> str:
    """Why it could not be mounted, or nothing."""
    if sys.platform != "linux" or os.geteuid():
        return "not root on Linux"
    return subprocess.run(["mount", *words], capture_output=True, text=True).stderr


def test_the_disk_fills_up_and_is_freed(disk: Path, capsys):
    Path("long.py").write_text(LONG)
    arguments = [
        "map",
        "long.py:train",
        *SMALL,
        "--points",
        "12",
        "--workers",
        "0",
        "--dense",
        "--out",
        str(disk),
    ]
    code, out, err = ended(arguments, capsys)
    assert (code, out) == (2, "")
    assert re.search(
        r"^betaplane: The disk is full; all earlier runs are kept: got .*; expected a disk",
        err,
        re.M,
    )
    assert "Traceback" not in err
    known = stored(disk / "train.sqlite")
    assert len(known) > 5
    _mount("-o", "remount,size=64m", str(disk))
    code, out, err = ended(arguments, capsys)
    assert code == 0
    assert f"{len(known)} of them in the store" in err
    after = stored(disk / "train.sqlite")
    assert known.items() <= after.items()
    assert len(after) == 144


def test_a_disk_that_is_full_from_the_start(disk: Path, capsys):
    (disk / "filler").write_bytes(bytes(2**20))
    code, out, err = ended(
        ["map", "trainer.py:train", *SMALL, "--workers", "0", "--out", str(disk)], capsys
    )
    assert (code, out) == (2, "")
    assert "betaplane: The disk is full" in err
    assert "Traceback" not in err


def test_a_picture_that_does_not_fit(disk: Path, capsys):
    (disk / "filler").write_bytes(bytes(2**20 - 8192))
    arguments = [
        "map",
        "trainer.py:train",
        *SMALL,
        "--workers",
        "0",
        "--out",
        str(disk),
        "--store",
        "map.sqlite",
    ]
    code, out, err = ended(arguments, capsys)
    assert code == 2
    assert "Where Adam converges: train" in out  # the answer is printed all the same
    assert "picture" not in out
    assert "betaplane: The results cannot be written (No space left on device): got " in err
    assert [path.name for path in disk.iterdir()] == ["filler"]
    assert stored(Path("map.sqlite"))
