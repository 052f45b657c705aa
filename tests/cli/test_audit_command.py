"""`betaplane audit`: classes from modules and files, as a table and as JSON; bad input as
sentences.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import ended

MINE = """
import torch

print("read")  # never a part of the result

class Mine(torch.optim.SGD):
    def __init__(self, params, lr=0.1, pace="slow"):
        super().__init__(params, lr={"slow": lr, "fast": 10 * lr}[pace])

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    Path("broken.py").write_text("import nothing_of_that_name")
    return tmp_path


def test_audit_of_a_file_prints_json(capsys):
    code, out, err = ended("audit mine.py:Mine --set pace=fast --set lr=0.01 --json", capsys)
    payload = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert "read" in err.splitlines()
    assert (payload["rule"], payload["options"]) == ("SGD", {"pace": "fast", "lr": 0.01})
    assert payload["error"] < 1e-9
    assert {
        "what": "gradients",
        "finding": "left alone",
        "number": 0.0,
        "trouble": False,
    } in payload["rows"]
    assert next(row for row in payload["rows"] if row["what"] == "copies")["trouble"] is False


def test_audit_of_a_module_prints_a_table(capsys):
    code, out, _ = ended("audit torch.optim:SGD", capsys)
    assert code == 0
    name, head, *lines = out.splitlines()
    assert name == "torch.optim.sgd.SGD"
    assert head.split() == ["what", "finding", "number"]
    assert lines[0].split()[:2] == ["rule", "SGD;"]
    assert [line.split()[1] for line in lines if line.startswith("!")] == ["bfloat16"]


ROWS = {
    "torch.optimm:Adam": "The module does not exist: got 'torch.optimm' (audit). Try: betaplane audit torch",
    "Adam": "The module does not exist: got 'Adam'",
    "torch.optim": "The name of the class is missing: expected ",
    "torch.optim:Adamm": "The module has no 'Adamm': expected ",
    "mine.py:mine": "The module has no 'mine': expected Mine (mine.py). Try: betaplane audit mine.py:Mine",
    "mine.py:number": "This is not an optimizer class: got 'int'; expected a subclass of torch.optim.Optimizer",
    "gone.py:Mine": "The file does not exist: got 'gone.py'; expected a Python file that exists (audit).",
    "broken.py:Mine": "The file raises an error when it is imported (",
    "mine.py:Mine --set lr": "Invalid constructor argument: got 'lr'; expected name=value (--set). Try: --set lr=0.001",
    "mine.py:Mine --set speed=1": "Unknown option 'speed'. Choose one of: lr, pace (Mine).",
    "mine.py:Mine --set lr=-1": "Mine cannot be constructed (ValueError: Invalid learning rate: -1).",
}


@pytest.mark.parametrize(("words", "message"), ROWS.items(), ids=ROWS)
def test_bad_input(capsys, words: str, message: str):
    code, out, err = ended(f"audit {words}", capsys)
    assert (code, out) == (2, "")
    (sentence,) = [line for line in err.splitlines() if line != "read"]
    assert sentence.startswith(f"betaplane: {message}")
