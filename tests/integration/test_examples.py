"""Every example runs as a script in an empty folder, and every notebook runs as it is stored."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NEEDS = {"hugging_face": "transformers", "lightning_run": "lightning"}
PRINTS = {
    "plain_loop": "beta2 after loading: 0.999",
    "own_problem": "PhaseMap('mine', Adam, beta2 x lr, 4 x 4 cells",
    "own_loop": "PhaseMap('own loop', Adam, beta1 x beta2, 4 x 4 cells",
    "watched_run": "1 beta1^2 >= beta2 {'beta2': 0.95}",
    "hugging_face": "beta1^2 >= beta2",
    "lightning_run": "beta1^2 >= beta2",
}


def test_every_script_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PRINTS)


@pytest.mark.parametrize("name", PRINTS)
def test_example_prints_its_result(name: str, tmp_path: Path) -> None:
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}; `make clients` installs it")
    script = [sys.executable, str(EXAMPLES / f"{name}.py")]
    ran = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert PRINTS[name] in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["map", "spike"])
def test_notebook_runs_without_errors(name: str, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells)  # stored as executed
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
