"""`betaplane record` and `betaplane replay`: a file, a predicted map, other batch sizes; bad input
as sentences.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from commands import PROBLEMS, ended
from torch import nn

from betaplane.problems import counterexample
from betaplane.replay import record_pass, record_problem, save


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PROBLEMS)
    Path("text.safetensors").write_text("no tensors")
    save(record_problem(counterexample(n=10), steps=160), "grads.safetensors")
    save(
        record_problem(counterexample(n=10), steps=160).with_(batch_size=None), "unsaid.safetensors"
    )
    return tmp_path


def test_recording_is_replayed(capsys):
    code, out, err = ended(
        "record mine.py:fine --steps 40 --after 3 --out mine.safetensors", capsys
    )
    assert (code, out.splitlines()[-1]) == (0, "mine.safetensors")
    assert out.startswith(
        "40 gradients of batch 4 at 2 coordinates of 2 tensors, weights frozen, after 3 steps"
    )
    assert "read" in err.splitlines()
    code, out, _ = ended("replay mine.safetensors --points 12 --betas 0.9,0.98", capsys)
    assert code == 0
    assert out.startswith("Where Adam should converge: line")
    assert "not failing cost < 20" in out
    assert "0.weight" not in out
    assert sorted(os.listdir("out")) == ["mine-predicted.html", "mine-predicted.png"]


def test_counterexample_prints_json(capsys):
    code, out, err = ended(
        "replay grads.safetensors --points 40 --batch-size 1 --batch-size 10 --json", capsys
    )
    alone, averaged = json.loads(out, parse_constant=pytest.fail)["maps"]
    assert (code, err) == (0, "")
    assert alone["verdicts"][0][0] == "failing"  # beta1 = beta2 = 0: the signs of n and -1
    assert alone["verdicts"][0][-1] == "not failing"
    # ten losses make the whole
    assert {each for row in averaged["verdicts"] for each in row} == {"not failing"}
    assert (averaged["batch_size"], averaged["changed"], averaged["steps"]) == (10, "averaged", 16)
    assert all(Path(path).stat().st_size > 0 for path in alone["files"] + averaged["files"])
    assert alone["threshold"]["cost 2"][0] == pytest.approx(0.978, abs=2e-3)
    assert len(alone["model"]["cosine"]) == len(alone["layers"]["x"]["rms"]) == 40


def test_extrapolation_prints_a_warning(capsys):
    ended("record digits:hidden=2 --steps 56 --coordinates 60 --out digits.safetensors", capsys)
    code, out, _ = ended("replay digits.safetensors --points 8 --batch-size 4", capsys)
    assert code == 0
    assert "EXTRAPOLATED" in out
    assert "out/digits-batch4-predicted.png" in out


def test_layer_without_gradients_is_named(capsys):
    net = nn.ModuleDict({"used": nn.Linear(1, 1), "unused": nn.Linear(1, 1)})
    stream = record_pass(net, lambda net, x: net["used"](x).square().mean(), torch.ones(40, 4, 1))
    save(stream, "unused.safetensors")
    code, out, _ = ended("replay unused.safetensors --points 8", capsys)
    line = next(line.split() for line in out.splitlines() if line.startswith("unused.weight"))
    assert (code, line[:4]) == (0, ["unused.weight", "no", "gradient", "-"])


FINE = "replay grads.safetensors --points 8"
ROWS = {
    "replay gone.safetensors": "There is no such file: got 'gone.safetensors'; expected a file of recorded gradients "
    "(load). Try: betaplane record digits",
    "replay text.safetensors": "This is not a complete safetensors file (",
    f"{FINE} --points 1": "Invalid number of cells: got '1'",
    f"{FINE} --eps -1": "eps is out of range: got -1.0; expected [0, inf)",
    f"{FINE} --eps nan": "eps is out of range: got nan",
    f"{FINE} --betas 0.9": "Invalid betas: got '0.9'",
    f"{FINE} --batch-size 0": "This batch size cannot be made from the recording: got 0; expected 1 to 1, and "
    "multiples of 1 up to 10, which leave 16 rows (--batch-size). Try: --batch-size 4",
    f"{FINE} --batch-size 11": "This batch size cannot be made from the recording: got 11",
    "replay unsaid.safetensors --batch-size 2": "The batch size of the recording is unknown (--batch-size). "
    "Try: record_gradients(model, batch_size=32)",
    f"{FINE} --out text.safetensors": "The results cannot be written (File exists): got 'text.safetensors'",
    "record digitz": "Unknown problem 'digitz'",
    "record mine.py:trainer": "The gradients of a Trainer cannot be recorded from outside: got 'mine.py:trainer'",
    "record mine.py:fine --steps 1": "steps is out of range: got 1; expected 2, 3, ...",
    "record mine.py:fine --coordinates 1": "There are fewer coordinates than tensors, and every tensor is recorded: "
    "got 1; expected [2, inf) (--coordinates). Try: --coordinates 20000",
    "record mine.py:fine --coordinates 0": "coordinates is out of range: got 0",
    "record mine.py:fine --after -1": "after is out of range: got -1; expected [0, inf) (--after",
    "record mine.py:fine --batch-size 9": "The batch size does not fit the data: got 9; expected [1, 8]",
    "record mine.py:fine --out .": "The path is a folder: got '.'; expected a file (--out). "
    "Try: --out grads.safetensors",
    "record mine.py:fine --seed 18446744073709551616": "The seed is too large: got 18446744073709551616; expected "
    "[-2**63, 2**63)",
    "record mine.py:fine --out nowhere/grads.safetensors": "The folder does not exist: got 'nowhere' (--out).",
}


@pytest.mark.parametrize(("words", "message"), ROWS.items(), ids=ROWS)
def test_bad_input_prints_one_sentence(capsys, words: str, message: str):
    before = sorted(os.listdir())
    code, out, err = ended(words, capsys)
    sentence = [line for line in err.splitlines() if line != "read"]
    assert (code, out) == (2, "")
    assert sentence[0].startswith(f"betaplane: {message}")
    assert sorted(name for name in os.listdir() if name != "__pycache__") == before
