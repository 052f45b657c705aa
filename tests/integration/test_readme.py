"""The README: every block runs, in order, in one folder that is empty at the start."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README]
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>python|bash)\n(?P<code>.*?)```",
    re.DOTALL,
)
# a block that starts with a file name is that file
NAMED = re.compile(r"^# (\w+\.py)$", re.MULTILINE)

# The reader's own optimizer, as the README's commands name it.
MY_OPTIMIZER = """
import torch

class MyAdam(torch.optim.Adam):
    pass
"""


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: Path
    language: str
    code: str
    reason: str | None  # why it is not run


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text())
    return [Block(page, each["language"], each["code"], each["reason"]) for each in found]


EVERY = [block for page in PAGES for block in blocks(page)]


def commands(block: Block) -> list[str]:
    return [line for line in block.code.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder, with the checkpoints and the optimizer that the README's commands name."""
    folder = tmp_path_factory.mktemp("reader")
    model = torch.nn.Linear(8, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(100):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
    (folder / "checkpoint-5000").mkdir()
    torch.save(optimizer.state_dict(), folder / "checkpoint-5000" / "optimizer.pt")
    torch.save(optimizer.state_dict(), folder / "opt.pt")
    torch.save(
        {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]},
        folder / "last.ckpt",
    )
    (folder / "my_optimizer.py").write_text(MY_OPTIMIZER)
    (folder / "docs").mkdir()  # in the project's own folder it is there
    return folder


def run(command: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    inherited = os.environ.get("PYTHONPATH", "")
    environment = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), inherited]),
    }
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    assert "Traceback" not in ran.stderr
    return ran.stdout


def test_every_block_runs_in_order(reader: Path) -> None:
    printed: dict[str, str] = {}
    for block in (each for each in EVERY if each.reason is None):
        if named := NAMED.match(block.code):
            (reader / named[1]).write_text(block.code)
        elif block.language == "python":
            printed[block.code] = run([sys.executable, "-W", "error", "-c", block.code], reader)
        else:
            for command in commands(block):
                printed[command.split("  #")[0].strip()] = run(["bash", "-c", command], reader)
    check_outcomes(printed)


def check_outcomes(printed: dict[str, str]) -> None:
    """What a newcomer should see."""
    first = printed["betaplane map my_problem.py:problem --points 12"]
    assert "·· good" in first
    assert "Recommended" in first
    assert "··" in first.split("horizon 1/(1-β₁)")[0]  # cells that are good
    predicted = printed["betaplane replay grads.safetensors"]
    assert "nothing trained" in predicted
    assert "published experiment" in next(
        text for code, text in printed.items() if "advise" in code
    )
    watched = [text for code, text in printed.items() if "betaplane.watch(optimizer)" in code]
    assert watched[0].startswith("step 1: beta1^2 >= beta2. beta1^2 = 0.9025 >= beta2 = 0.85.")


def test_the_same_command_reuses_the_store(reader: Path) -> None:
    status = ["betaplane", "map", "my_problem.py:problem", "--status", "--json"]
    before = json.loads(run(status, reader))
    run(["betaplane", "map", "my_problem.py:problem", "--points", "12", "--json"], reader)
    assert json.loads(run(status, reader)) == before
    assert before["trainings"] > 100
    assert before["under way"] == 0


def test_blocks_that_are_not_run_say_why() -> None:
    assert [block.code.split()[0] for block in EVERY if block.reason] == ["pip"]


def test_every_file_says_what_it_contains() -> None:
    silent = [
        path.name
        for path in (ROOT / "src/betaplane").rglob("*.py")
        if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]
    assert not silent


def test_public_names_are_those_listed() -> None:
    import betaplane

    assert sorted(betaplane.__all__) == sorted({*betaplane._HOME})
    for name in betaplane.__all__:
        assert getattr(betaplane, name).__name__ == name


def test_every_package_is_an_attribute() -> None:
    code = "import betaplane; print(betaplane.audit.audit.__name__, betaplane.optim.schedule_functions.__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == (
        "audit betaplane.optim.schedule_functions\n"
    )
