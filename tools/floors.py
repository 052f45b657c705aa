"""Run the core of the tests on the oldest and the newest releases of Python, torch and NumPy that
are supported.

Each run has a virtual environment of its own in a temporary folder, removed after it: up to 8 GB
for a build with CUDA. A release without a wheel for a Python, or a Python that is not installed, is
skipped with a sentence.

    python tools/floors.py              all runs
    python tools/floors.py 3.12         those of one Python
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
VARIED = ("torch", "numpy")  # the rest is installed as pip chooses
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "expecttest", "pandas", "pyarrow")
CORE = (
    "tests/rules/test_rules.py",
    "tests/optim/test_from_rule.py",
    "tests/optim/test_loading.py",
    "tests/optim/test_match_names.py",
    "tests/optim/test_torch_classes.py",
    "tests/checkpoints/test_checkpoint_kinds.py",
    "tests/replicas/test_stacked.py",
)


def main(pythons: list[str]) -> int:
    """Run every combination; return 1 if tests failed in any of them."""
    outcomes = [line for version in pythons or PYTHONS for line in runs(version)]
    print("\n".join(["", *outcomes]))
    return int(any("failed" in line for line in outcomes))


def runs(version: str) -> Iterator[str]:
    """One line per run with a version of Python."""
    python = interpreter(version)
    if python is None:
        yield f"Python {version}: skipped, it is not installed here."
        return
    for label, requirements in (("oldest", oldest_releases()), ("newest", list(VARIED))):
        with tempfile.TemporaryDirectory(prefix="betaplane-floors-") as folder:
            outcome = test_result(python, requirements, Path(folder) / "venv")
            yield f"Python {version}, {label}: {outcome}"


def interpreter(version: str) -> str | None:
    """The path of a Python interpreter, on PATH or installed by pyenv."""
    on_path = shutil.which(f"python{version}")
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    candidates = [*([on_path] if on_path else []), *map(str, pyenv)]
    return next(
        (path for path in candidates if call(path, "-c", "import venv").returncode == 0), None
    )


def oldest_releases() -> list[str]:
    """The oldest releases that pyproject.toml allows: ["torch==2.10.*", "numpy==1.26.*"]."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = [line.split(">=") for line in project["dependencies"]]
    return [f"{name}=={oldest.split(',')[0]}.*" for name, oldest in bounds if name in VARIED]


def test_result(python: str, requirements: list[str], venv: Path) -> str:
    """Install the requirements in a virtual environment and run the tests; return the result."""
    call(python, "-m", "venv", str(venv))
    program = str(venv / "bin" / "python")
    install = [program, "-m", "pip", "install", "-q", "--only-binary", "torch,numpy"]
    installed = call(*install, *requirements, *TOOLS, str(ROOT))
    if installed.returncode != 0:
        names = ", ".join(requirements)
        return f"skipped, {names} cannot be installed: {last_line(installed.stderr)}"
    code = "import torch, numpy; print('torch', torch.__version__ + ', numpy', numpy.__version__)"
    versions = call(program, "-c", code).stdout.strip()
    tests = call(program, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CORE)
    print(tests.stdout[-3000:] if tests.returncode else "", end="", flush=True)
    failed = "failed, " if tests.returncode else ""
    return f"{versions}: {failed}{last_line(tests.stdout)}"


def last_line(text: str) -> str:
    """The last line of a text."""
    return ([line for line in text.splitlines() if line.strip()] or ["no output"])[-1].strip()


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the root of the project."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
