"""Bad input as rows: what is typed, and the sentence it ends with; nothing is trained and nothing is written."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from commands import PROBLEMS, ended

from betaplane.rules import NAMES

FINE = "map mine.py:fine --workers 0 --points 3"

ROWS = {
    # betas
    f"{FINE} --betas 0.9,1.5": "These are no betas: got '0.9,1.5', allowed two numbers in [0, 1), in --betas. "
    "Write instead: --betas 0.9,0.999",
    f"{FINE} --betas 0.9": "These are no betas: got '0.9'",
    f"{FINE} --betas nan,0.9": "These are no betas: got 'nan,0.9'",
    f"{FINE} --beta1 1": "beta1 is out of range: got 1.0, allowed [0, 1), in Adam. Write instead: beta1=0.9",
    f"{FINE} --beta2 1.5": "beta2 is out of range: got 1.5, allowed [0, 1), in Adam. Write instead: beta2=0.999",
    f"{FINE} --x lr --beta2 -0.1": "beta2 is out of range: got -0.1",
    f"{FINE} --y beta2=0:1": "The range of the beta2 axis is not one: got (0.0, 1.0), allowed low < high, both in "
    "[0, 1), in axis beta2. Write instead: --y beta2=0:0.9999",
    f"{FINE} --strict --betas 0.99,0.5": "beta1 >= sqrt(beta2): |m| / sqrt(v) has no bound and can grow by a factor "
    "1.4 a step: got (0.99, 0.5), allowed beta1 < sqrt(beta2), in --betas. Write instead: --betas 0.99,0.999",
    f"{FINE} --strict --x lr --y eps --beta1 0.9999 --beta2 0": "can grow by a factor inf a step: got (0.9999, 0.0), "
    "allowed beta1 < sqrt(beta2), in --beta1, --beta2. Write instead: --beta1 0.9999 --beta2 0.9999",
    # other numbers
    f"{FINE} --lr -1": "lr is out of range: got -1.0, allowed (0, inf), in --lr. Write instead: --lr 0.001",
    f"{FINE} --lr nan": "lr is out of range: got nan",
    "map mine.py:train --workers 0 --lr 0": "lr is out of range: got 0.0",
    f"{FINE} --eps -1": "eps is out of range: got -1.0, allowed [0, inf), in Adam. Write instead: eps=1e-08",
    f"{FINE} --weight-decay -1": "weight_decay is out of range: got -1.0",
    f"{FINE} --warmup 2": "warmup is out of range: got 2.0, allowed [0, 1), in problem 'line'",
    f"{FINE} --steps 0": "steps is out of range: got 0, allowed [1, inf), in --steps. Write instead: --steps 1000",
    f"{FINE} --seeds 0": "seeds is out of range: got 0",
    f"{FINE} --boundary-seeds -2": "boundary_seeds is out of range: got -2, allowed [1, 1000], in --boundary-seeds",
    f"{FINE} --trainings 0": "trainings is out of range: got 0, allowed [1, inf), in --trainings",
    f"{FINE} --dense --trainings 5": "A dense map trains every cell with every seed: got 5, allowed [18, inf)",
    f"{FINE} --good 0.7": "The thresholds are not in order: got (0.7, 0.5), allowed 0 < good <= failing",
    f"{FINE} --good nan": "The thresholds are not in order: got (nan, 0.5)",
    f"{FINE} --batch-size 9": "The batch size does not fit the data: got 9, allowed [1, 8], in problem 'line'. "
    "Write instead: batch_size=8",
    "map mine.py:train --workers 0 --batch-size 0": "batch_size is out of range: got 0",
    "map mine.py:fine --workers -1": "There is no such number of workers: got -1, allowed [0, ",
    "map mine.py:fine --workers 1000": "There is no such number of workers: got 1000, allowed [0, ",
    f"{FINE} --seeds 10000000": "seeds is out of range: got 10000000, allowed [1, 1000], in --seeds. Write instead: ",
    f"{FINE} --boundary-seeds 10000000": "boundary_seeds is out of range: got 10000000, allowed [1, 1000]",
    f"{FINE.replace('3', '1000')} --seeds 50 --dense": "A dense map trains every cell with every seed: got 50000000, ",
    # words
    f"{FINE} --rule adamm": f"There is no such rule: got 'adamm', allowed {', '.join(NAMES)}, "
    "in --rule. Write instead: --rule adam",
    f"{FINE} --rule lionn": "in --rule. Write instead: --rule lion",
    f"{FINE} --rule adam:debias=nein": "debias is unknown: got 'nein', allowed 'both' or 'second'",
    f"{FINE} --rule adam:debia=none": "Adam has no such option: got 'debia=none', allowed",
    f"{FINE} --rule adam:debias": "in --rule. Write instead: --rule adam:debias=both",
    f"{FINE} --rule xyz": "in --rule. Write instead: --rule adam",
    f"{FINE} --rule sgd": "SGD has no beta1 to put on an axis: got 'beta1', allowed lr, batch_size, weight_decay",
    f"{FINE} --rule sgd --x lr --y weight_decay --eps 1": "SGD has no eps: got 1.0, allowed momentum, dampening",
    f"{FINE} --engine fast": "There is no such engine: got 'fast', allowed auto, stacked, plain, in --engine. "
    "Write instead: --engine auto",
    f"{FINE} --device tpu": "There is no such device here: got 'tpu'",
    f"{FINE} --schedule wave": "There is no such schedule: got 'wave', allowed constant, inverse_sqrt, warmup_cosine",
    f"{FINE} --order random": "There is no such order: got 'random', allowed shuffle, replacement, cyclic",
    f"{FINE} --budget soon": "This is no length of time: got 'soon', allowed a number with s, m or h, in --budget. "
    "Write instead: --budget 20m",
    f"{FINE} --budget 0s": "This is no length of time: got '0s'",
    f"{FINE} --budget=-3m": "This is no length of time: got '-3m'",
    # axes
    "map mine.py:fine --points 1": "This is no number of cells: got '1', allowed N or NxM, each in [2, 1000], "
    "in --points. Write instead: --points 24",
    "map mine.py:fine --points 3x": "This is no number of cells: got '3x'",
    "map mine.py:fine --points 100000": "This is no number of cells: got '100000'",
    f"{FINE} --x speed": "There is no such axis: got 'speed', allowed beta1, beta2, lr, eps, batch_size, weight_decay, "
    "in --x/--y. Write instead: --x beta1",
    f"{FINE} --y betta2=0:0.9": "There is no such axis: got 'betta2', allowed beta1, beta2, lr, eps, batch_size, "
    "weight_decay, in --x/--y. Write instead: --y beta2",
    f"{FINE} --x batchsize": "in --x/--y. Write instead: --x batch_size",
    f"{FINE} --x beta2": "Both axes are the same: got 'beta2'",
    f"{FINE} --x lr=1": "This is no range: got 'lr=1', allowed name=low:high, in --x/--y",
    f"{FINE} --x lr=1:fast": "This is no range: got 'lr=1:fast'",
    f"{FINE} --x lr=-1:1": "The range of the lr axis is not one: got (-1.0, 1.0), allowed low < high, both in (0, inf)",
    f"{FINE} --x lr=1:1": "The range of the lr axis is not one: got (1.0, 1.0)",
    f"{FINE} --x batch_size": "The batch size does not fit the data: got 256, allowed [1, 8]",
    f"{FINE} --x batch_size=0.5:4": "The range of the batch_size axis is not one: got (0.5, 4.0)",
    f"{FINE} --x batch_size=4:4.2": "The range of the batch_size axis is too narrow: got (4.0, 4.2)",
    f"{FINE} --y beta2=0.9:0.9000001": "The range of the beta2 axis is too narrow",
    # problems
    "map digit": "There is no such problem: got 'digit', allowed digits, mnist, ",
    "map mnist": "mnist needs data: in problem 'mnist'. Write instead: mnist:data=path/to/mnist",
    "map digits:hiden=3": "digits has no such option: got 'hiden'",
    "map mine.py:fine --data .": "A problem of your own reads its data by itself: got '.'",
    "map gone.py:fine": "There is no such problem file: got 'gone.py', allowed a Python file that exists",
    "map mine.py": "The name of the problem is missing: allowed line, ",
    "map mine.py:fin": "The file has no 'fin': allowed line, ",
    "map mine.py:number": "number is not a problem: got 'int', allowed a Problem, a Trainer, a function ",
    "map broken.py:fine": "The file raises an error when it is imported: in ",
    "map mine.py:raises": "mine.py, line 45: ZeroDivisionError: division by zero.",
    "map mine.py:nan": "inputs hold values that are not finite: got 8, allowed 0 NaN or infinite entries, in problem "
    "'line', inputs of shape (8, 1). Write instead: inputs=torch.nan_to_num(inputs)",
    "map mine.py:empty": "The data set is empty: got 0, allowed at least 1 example, in problem 'line'.",
    "map mine.py:batch": "The batch size does not fit the data: got 9, allowed [1, 8], in problem 'line'",
    "map mine.py:bare": "The module has no parameters to train: got 0, allowed at least 1, in problem 'line'.",
    "map mine.py:stuck --workers 0": "mine.py, line 20: RuntimeError: no way back.",
    # files
    f"{FINE} --store words.sqlite": "The file is not a store: got 'words.sqlite', allowed an SQLite file made by "
    "betaplane, in --store. Write instead: --store other.sqlite",
    f"{FINE} --store foreign.sqlite": "The file is another program's SQLite database: got 'foreign.sqlite'",
    f"{FINE} --store corrupt.sqlite": "The store is damaged: got ",
    f"{FINE} --store trainer.sqlite": "The store holds another problem: got 'train (",
    f"{FINE} --store trainer.sqlite --status": "The store holds another problem: got 'train (",
    f"{FINE} --store .": "The store is a folder: got '.', allowed a file, in --store",
    f"{FINE} --store mine.py/map.sqlite": "The store's folder cannot be made: got ",
    f"{FINE} --status": "There is no store yet: got 'out/line.sqlite', in --status. Write instead: betaplane map ",
    f"{FINE} --out mine.py": "The results cannot be written (File exists): got 'mine.py', allowed a folder that can be "
    "written, on a disk with free space, in --out. Write instead: --out FOLDER",
    f"{FINE} --out mine.py/out": "The results cannot be written (Not a directory): got 'mine.py/out'",
    f"{FINE} --store here.sqlite --merge gone.sqlite": "There is no store to merge: got 'gone.sqlite'",
    f"{FINE} --store here.sqlite --merge words.sqlite": "The file is not a store: got 'words.sqlite'",
    f"{FINE} --store here.sqlite --merge trainer.sqlite": "The store holds another problem: got 'train (",
    # memory
    "rules --rule lionn": f"There is no such rule: got 'lionn', allowed {', '.join(NAMES)}, in --rule. "
    "Write instead: --rule lion",
    "rules --params 70e9 --rule adamm": "There is no such rule: got 'adamm'",
    "rules --params -70e9": "params is out of range: got -70000000000.0, allowed [1, 1e18], in --params. "
    "Write instead: --params 70e9",
    "rules --params nan": "params is out of range: got nan",
    "rules --params 0": "params is out of range: got 0.0",
    "rules --params 1e9 --ranks 0": "ranks is out of range: got 0.0, allowed a whole number in [1, inf), in --ranks. "
    "Write instead: --ranks 64",
    "rules --params 1e9 --ranks 2.5": "ranks is out of range: got 2.5",
    "rules --params 1e9 --ranks=-8": "ranks is out of range: got -8.0",
    "rules --params 1e9 --ranks inf": "ranks is out of range: got inf",
    "rules --ranks 8": "--ranks needs --params: got 8.0, in --ranks. Write instead: --params 70e9 --ranks 8",
}  # fmt: skip

USAGE = {
    "map --seeds two": "Invalid value for '--seeds'",
    "rules --params 70B": "Invalid value for '--params'",
    "map --lr fast": "Invalid value for '--lr'",
    "map --sedes 2": "No such option: --sedes",
    "map digits digits": "unexpected extra argument",
    "mapp": "No such command 'mapp'",
}


@pytest.fixture(scope="module")
def trainer_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole store, of another problem."""
    folder = tmp_path_factory.mktemp("trainer")
    (folder / "mine.py").write_text(PROBLEMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        from betaplane.maps import map_phases

        map_phases("mine.py:train", points=3, seeds=1, workers=0, store="trainer.sqlite")
    return (folder / "trainer.sqlite").read_bytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer_store: bytes) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PROBLEMS)
    Path("broken.py").write_text("import nothing_of_that_name")
    Path("words.sqlite").write_text("words, not pages" * 500)
    Path("trainer.sqlite").write_bytes(trainer_store)
    Path("corrupt.sqlite").write_bytes(trainer_store[:4096] + b"\x55" * (len(trainer_store) - 4096))
    with closing(sqlite3.connect("foreign.sqlite")) as db:
        db.execute("CREATE TABLE other (a)")
    return tmp_path


def said(err: str) -> list[str]:
    """The lines of stderr, without what the user's file prints."""
    return [line for line in err.splitlines() if line != "read"]


@pytest.mark.parametrize(("words", "told"), ROWS.items(), ids=ROWS)
def test_bad_input(folder: Path, capsys, words: str, told: str):
    before = {path: path.read_bytes() for path in folder.glob("*.sqlite")}
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    (sentence,) = said(err)
    assert sentence.startswith("betaplane: ")
    assert told in sentence
    assert re.fullmatch(r"betaplane: [^:].*\.( Write instead: .*)?", sentence)
    assert not list(folder.glob("out/*"))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(("words", "told"), USAGE.items(), ids=USAGE)
def test_words_that_no_option_takes(folder: Path, capsys, words: str, told: str):
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    assert told in err
    assert "Usage: betaplane" in err
    assert "Traceback" not in err


def test_betas_without_a_bound_are_warned_of(folder: Path, capsys):
    code, _, err = ended(f"{FINE} --engine plain --seeds 1 --betas 0.99,0.5", capsys)
    assert code == 0
    assert "Warning: beta1 >= sqrt(beta2): |m| / sqrt(v) has no bound and can grow by a factor 1.4 a step" in err


def test_betas_with_a_bound_are_not_warned_of(folder: Path, capsys):
    assert "Warning" not in ended(f"{FINE} --engine plain --seeds 1 --betas 0,0", capsys)[2]


def test_as_a_process(folder: Path):
    words = "map mine.py:fine --store corrupt.sqlite --points 3"
    command = [sys.executable, "-c", "from betaplane.cli.main import main; main()", *words.split()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert [line.partition(": ")[0] for line in said(ran.stderr)] == ["betaplane"]
