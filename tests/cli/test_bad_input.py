"""Bad input as rows: what is typed, and the sentence it ends with; nothing is trained and nothing
is written.
"""

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
    f"{FINE} --betas 0.9,1.5": "Invalid betas: got '0.9,1.5'; expected two numbers in [0, 1) (--betas). "
    "Try: --betas 0.9,0.999",
    f"{FINE} --betas 0.9": "Invalid betas: got '0.9'",
    f"{FINE} --betas nan,0.9": "Invalid betas: got 'nan,0.9'",
    f"{FINE} --beta1 1": "beta1 is out of range: got 1.0; expected [0, 1) (Adam). Try: --beta1 0.9",
    f"{FINE} --beta2 1.5": "beta2 is out of range: got 1.5; expected [0, 1) (Adam). Try: --beta2 0.999",
    f"{FINE} --x lr --beta2 -0.1": "beta2 is out of range: got -0.1",
    f"{FINE} --y beta2=0:1": "Invalid range for the beta2 axis: got (0.0, 1.0); expected low < high, both in "
    "[0, 1) (--y). Try: --y beta2=0:0.9999",
    f"{FINE} --strict --betas 0.99,0.5": "beta1 >= sqrt(beta2): |m| / sqrt(v) has no bound and can grow by a factor "
    "1.4 per step: got (0.99, 0.5); expected beta1 < sqrt(beta2) (--betas). Try: --betas 0.99,0.999",
    f"{FINE} --strict --x lr --y eps --beta1 0.9999 --beta2 0": "can grow by a factor inf per step: got (0.9999, 0.0); "
    "expected beta1 < sqrt(beta2) (--beta1, --beta2). Try: --beta1 0.9999 --beta2 0.9999",
    # other numbers
    f"{FINE} --lr -1": "lr is out of range: got -1.0; expected (0, inf) (--lr). Try: --lr 0.001",
    f"{FINE} --lr nan": "lr is out of range: got nan",
    f"{FINE} --lr fast": "Invalid learning rate: got 'fast'; expected a number, fixed, or a number and fixed (--lr",
    f"{FINE} --lr 0.1,loose": "Invalid learning rate: got '0.1,loose'",
    "map mine.py:train --workers 0 --lr 0": "lr is out of range: got 0.0",
    f"{FINE} --eps -1": "eps is out of range: got -1.0; expected [0, inf) (Adam). Try: --eps 1e-08",
    f"{FINE} --weight-decay -1": "weight_decay is out of range: got -1.0",
    f"{FINE} --warmup 2": "warmup is out of range: got 2.0; expected [0, 1) (problem 'line'",
    f"{FINE} --steps 0": "steps is out of range: got 0; expected [1, inf) (--steps). Try: --steps 1000",
    f"{FINE} --seeds 0": "seeds is out of range: got 0",
    f"{FINE} --boundary-seeds -2": "boundary_seeds is out of range: got -2; expected [1, 1000] (--boundary-seeds",
    f"{FINE} --trainings 0": "trainings is out of range: got 0; expected [1, inf) (--trainings",
    f"{FINE} --dense --trainings 5": "A dense map trains every cell with every seed: got 5; expected [18, inf)",
    f"{FINE} --good 0.7": "The thresholds are not in order: got (0.7, 0.5); expected 0 < good <= failing",
    f"{FINE} --good nan": "The thresholds are not in order: got (nan, 0.5)",
    f"{FINE} --batch-size 9": "The batch size does not fit the data: got 9; expected [1, 8] (problem 'line'). "
    "Try: --batch-size 8",
    "map mine.py:train --workers 0 --batch-size 0": "batch_size is out of range: got 0",
    "map mine.py:fine --workers -1": "workers is out of range: got -1; expected [0, ",
    "map mine.py:fine --workers 1000": "workers is out of range: got 1000; expected [0, ",
    f"{FINE} --seeds 10000000": "seeds is out of range: got 10000000; expected [1, 1000] (--seeds). Try: ",
    f"{FINE} --boundary-seeds 10000000": "boundary_seeds is out of range: got 10000000; expected [1, 1000]",
    f"{FINE.replace('3', '1000')} --seeds 50 --dense": "A dense map trains every cell with every seed: got 50000000; ",
    # words
    f"{FINE} --rule adamm": f"Unknown rule 'adamm'. Did you mean 'adam'? Choose one of: {', '.join(NAMES)} "
    "(--rule). Try: --rule adam",
    f"{FINE} --rule lionn": "--rule). Try: --rule lion",
    f"{FINE} --rule adam:debias=nein": "Unknown debias 'nein'. Choose one of: both, second",
    f"{FINE} --rule adam:debia=none": "Unknown option of Adam 'debia'. Did you mean 'debias'? Choose one of: ",
    f"{FINE} --rule adam:debias": "--rule). Try: --rule adam:debias=both",
    f"{FINE} --rule xyz": "Unknown rule 'xyz'. Choose one of: sgd, ",
    f"{FINE} --rule sgd": "SGD has no beta1 to put on an axis: got 'beta1'; expected lr, batch_size, weight_decay",
    f"{FINE} --rule sgd --x lr --y weight_decay --eps 1": "SGD has no eps: got 1.0; expected momentum, dampening",
    f"{FINE} --engine fast": "Unknown engine 'fast'. Choose one of: auto, stacked, plain (--engine).",
    f"{FINE} --device tpu": "The device is not available: got 'tpu'",
    f"{FINE} --schedule wave": "Unknown schedule 'wave'. Choose one of: constant, inverse_sqrt, warmup_cosine",
    f"{FINE} --order random": "Unknown order 'random'. Choose one of: shuffle, replacement, cyclic",
    f"{FINE} --budget soon": "Invalid duration: got 'soon'; expected a number with s, m or h (--budget). "
    "Try: --budget 20m",
    f"{FINE} --budget 0s": "Invalid duration: got '0s'",
    f"{FINE} --budget=-3m": "Invalid duration: got '-3m'",
    # places
    f"{FINE.replace(' --workers 0', '')} --per-gpu 2": "The number of runs per GPU is given without the GPUs: got 2 "
    "(--per-gpu). Try: --gpus 0 --per-gpu 2",
    f"{FINE} --executor ray": "got 'ray'; expected one of them (--executor, --workers, --gpus). Try: --executor ray",
    "map mine.py:fine --executor slurm:partion=gpu": "Try: --executor slurm:partition=gpu",
    "map mine.py:fine --executor ray:cpus=many": "cpus is not a number: got 'many'; expected a number >= 0 "
    "(--executor). Try: --executor ray:cpus=1",
    f"{FINE} --plan --gpus 0": "A plan is measured in worker processes of this machine: got '0' (--gpus). Try: "
    "--plan --plan-workers 8",
    f"{FINE} --plan --executor dask:h:1": "A plan is measured in worker processes of this machine: got 'dask:h:1'",
    f"{FINE} --plan --device tpu": "The device is not available: got 'tpu'",
    f"{FINE} --plan --plan-workers 0": "--plan-workers is out of range: got 0; expected [1, inf). Try: --plan "
    "--plan-workers 8",
    f"{FINE} --run-seconds 3": "--run-seconds describes a plan: got 3.0. Try: --plan --run-seconds 3",
    "status mine.py": "The file is not a store: got 'mine.py'; expected an SQLite file made by betaplane (store). Try: "
    "betaplane status other.sqlite",
    # axes
    "map mine.py:fine --points 1": "Invalid number of cells: got '1'; expected N or NxM, each in [2, 1000] "
    "(--points). Try: --points 24",
    "map mine.py:fine --points 3x": "Invalid number of cells: got '3x'",
    "map mine.py:fine --points 100000": "Invalid number of cells: got '100000'",
    f"{FINE} --x speed": "Unknown axis 'speed'. Choose one of: beta1, beta2, lr, eps, batch_size, weight_decay "
    "(--x).",
    f"{FINE} --y betta2=0:0.9": "Unknown axis 'betta2'. Did you mean 'beta2'? Choose one of: beta1, beta2, lr, eps, "
    "batch_size, weight_decay (--y). Try: --y beta2",
    f"{FINE} --x batchsize": "(--x). Try: --x batch_size",
    f"{FINE} --x beta2": "Both axes are the same: got 'beta2'",
    f"{FINE} --x lr=1": "Invalid range of an axis: got 'lr=1'; expected name=low:high, or ",
    f"{FINE} --x lr=1:fast": "Invalid range of an axis: got 'lr=1:fast'",
    f"{FINE} --x lr=-1:1": "Invalid range for the lr axis: got (-1.0, 1.0); expected low < high, "
    "both in (0, inf)",
    f"{FINE} --x lr=1:1": "Invalid range for the lr axis: got (1.0, 1.0)",
    f"{FINE} --x batch_size": "The batch size does not fit the data: got 256; expected [1, 8]",
    f"{FINE} --x batch_size=0.5:4": "Invalid range for the batch_size axis: got (0.5, 4.0)",
    f"{FINE} --x batch_size=4:4.2": "The range of the batch_size axis is too narrow: got (4.0, 4.2)",
    f"{FINE} --y beta2=0.9:0.9000001": "The range of the beta2 axis is too narrow",
    # problems
    "map digit": "Unknown problem 'digit'. Did you mean 'digits'? Choose one of: digits, mnist, ",
    "map mnist": "mnist needs data (problem 'mnist'). Try: mnist:data=path/to/mnist",
    "map digits:hiden=3": "Unknown option 'hiden'. Did you mean 'hidden'?",
    "map mine.py:fine --data .": "A problem of your own reads its own data: got '.'",
    "map gone.py:fine": "The problem file does not exist: got 'gone.py'; expected a Python file that exists",
    "map mine.py": "The name of the problem is missing: expected line, ",
    "map mine.py:fin": "The file has no 'fin': expected line, ",
    "map mine.py:fine2": "Try: mine.py:fine",
    "map mine.py:number": "number is not a problem: got 'int'; expected a Problem, a Trainer, a Command, ",
    "map broken.py:fine": "The file raises an error when it is imported (",
    "map mine.py:raises": "mine.py, line 45: ZeroDivisionError: division by zero).",
    "map mine.py:nan": "inputs contain values that are not finite: got 8; expected 0 NaN or infinite entries (problem "
    "'line', inputs of shape (8, 1)). Try: inputs=torch.nan_to_num(inputs)",
    "map mine.py:empty": "The data set is empty: got 0; expected at least 1 example (problem 'line').",
    "map mine.py:batch": "The batch size does not fit the data: got 9; expected [1, 8] (problem 'line'",
    "map mine.py:bare": "The module has no parameters to train: got 0; expected at least 1 (problem 'line').",
    "map mine.py:stuck --workers 0": "mine.py, line 20: RuntimeError: no way back).",
    # files
    f"{FINE} --store words.sqlite": "The file is not a store: got 'words.sqlite'; expected an SQLite file made by "
    "betaplane (--store). Try: --store other.sqlite",
    f"{FINE} --store foreign.sqlite": "The file is another program's SQLite database: got 'foreign.sqlite'",
    f"{FINE} --store corrupt.sqlite": "The store is damaged: got ",
    f"{FINE} --store trainer.sqlite": "The store contains another problem: got 'train (",
    f"{FINE} --store trainer.sqlite --status": "The store contains another problem: got 'train (",
    f"{FINE} --store .": "The store is a folder: got '.'; expected a file (--store",
    f"{FINE} --store mine.py/map.sqlite": "The store's folder cannot be created: got ",
    f"{FINE} --status": "The store does not exist yet: got 'out/line.sqlite' (--status). Try: betaplane map ",
    f"{FINE} --out mine.py": "The results cannot be written (File exists): got 'mine.py'; expected a folder that can "
    "be "
    "written, on a disk with free space (--out). Try: --out FOLDER",
    f"{FINE} --out mine.py/out": "The results cannot be written (Not a directory): got 'mine.py/out'",
    f"{FINE} --store here.sqlite --merge gone.sqlite": "There is no store to merge: got 'gone.sqlite'",
    f"{FINE} --store here.sqlite --merge words.sqlite": "The file is not a store: got 'words.sqlite'",
    f"{FINE} --store here.sqlite --merge trainer.sqlite": "The store contains another problem: got 'train (",
    # memory
    "rules --rule lionn": f"Unknown rule 'lionn'. Did you mean 'lion'? Choose one of: {', '.join(NAMES)} (--rule). "
    "Try: --rule lion",
    "rules --params 70e9 --rule adamm": "Unknown rule 'adamm'",
    "rules --params -70e9": "params is out of range: got -70000000000.0; expected [1, 1e18] (--params). "
    "Try: --params 70e9",
    "rules --params nan": "params is out of range: got nan",
    "rules --params 0": "params is out of range: got 0.0",
    "rules --params 1e9 --ranks 0": "ranks is out of range: got 0.0; expected a whole number in [1, inf) (--ranks). "
    "Try: --ranks 64",
    "rules --params 1e9 --ranks 2.5": "ranks is out of range: got 2.5",
    "rules --params 1e9 --ranks=-8": "ranks is out of range: got -8.0",
    "rules --params 1e9 --ranks inf": "ranks is out of range: got inf",
    "rules --ranks 8": "--ranks needs --params: got 8.0 (--ranks). Try: --params 70e9 --ranks 8",
}  # fmt: skip

USAGE = {
    "map --seeds two": "Invalid value for '--seeds'",
    "rules --params 70B": "Invalid value for '--params'",
    "map --eps fast": "Invalid value for '--eps'",
    "map digits digits": "unexpected extra argument",
    "import": "Missing argument 'source'",
    "plan": "Missing argument 'file'",
    "map digits --seeds": "Option '--seeds' requires an argument",
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


def messages(err: str) -> list[str]:
    """The lines of stderr, without what the user's file prints."""
    return [line for line in err.splitlines() if line != "read"]


@pytest.mark.parametrize(("command", "message"), ROWS.items(), ids=ROWS)
def test_bad_input_prints_one_sentence(folder: Path, capsys, command: str, message: str):
    before = {path: path.read_bytes() for path in folder.glob("*.sqlite")}
    code, out, err = ended(command, capsys)
    assert (code, out) == (2, "")
    (sentence,) = messages(err)
    assert sentence.startswith("betaplane: ")
    assert message in sentence
    assert re.fullmatch(r"betaplane: [^:].*\.( Try: .*)?", sentence)
    assert not list(folder.glob("out/*"))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(("command", "message"), USAGE.items(), ids=USAGE)
def test_invalid_option_prints_one_sentence(folder: Path, capsys, command: str, message: str):
    code, out, err = ended(command, capsys)
    assert (code, out) == (2, "")
    (line,) = messages(err)
    assert line.startswith("betaplane: ")
    assert message in line
    assert line.endswith(f" Try: betaplane {command.split()[0]} --help")


def test_unbounded_betas_print_a_warning(folder: Path, capsys):
    code, _, err = ended(f"{FINE} --engine plain --seeds 1 --lr fixed --betas 0.99,0.5", capsys)
    assert code == 0
    assert (
        "Warning: beta1 >= sqrt(beta2): |m| / sqrt(v) has no bound and can grow by a factor 1.4 per step"
        in err
    )


def test_bounded_betas_print_no_warning(folder: Path, capsys):
    assert (
        "Warning" not in ended(f"{FINE} --engine plain --seeds 1 --lr fixed --betas 0,0", capsys)[2]
    )


def test_error_of_a_process_is_one_line(folder: Path):
    words = "map mine.py:fine --store corrupt.sqlite --points 3"
    command = [sys.executable, "-c", "from betaplane.cli.main import main; main()", *words.split()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert [line.partition(": ")[0] for line in messages(ran.stderr)] == ["betaplane"]
