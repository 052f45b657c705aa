"""The README: its code runs, and every file of the package says what it contains."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def test_every_file_says_what_it_contains():
    silent = [
        path.name
        for path in (ROOT / "src/betaplane").rglob("*.py")
        if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]
    assert not silent


def blocks() -> list[str]:
    """The README's code that is run here."""
    return re.findall(r"<!-- run by tests/test_readme.py -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_code_runs():
    code, _, _ = blocks()
    assert 8 <= len(code.strip().splitlines()) <= 12
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    first, second, third, *table = ran.stdout.splitlines()
    assert first == "good"
    assert second.startswith("{'beta1':")
    assert third.endswith(".")
    assert any(line.startswith("good") for line in table)


def test_the_optimizers_step():
    _, code, _ = blocks()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("RAdam (")


def test_the_watched_run_is_told_what_it_does_wrong():
    _, _, code = blocks()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("step 1: beta1^2 >= beta2. beta1^2 = 0.9025 >= beta2 = 0.85.")


def test_the_first_problem_of_the_readme_loads(tmp_path):
    code = re.search(r"```python\n(# my_problem.py.*?)```", README.read_text(), re.DOTALL)[1]
    (tmp_path / "my_problem.py").write_text(code)
    from betaplane import load

    assert load(f"{tmp_path}/my_problem.py:problem").steps == 300


def test_public_names_are_those_listed():
    import betaplane

    assert sorted(betaplane.__all__) == sorted({*betaplane._HOME})
    for name in betaplane.__all__:
        assert getattr(betaplane, name).__name__ == name
