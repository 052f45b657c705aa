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
    "tests/optim/test_host.py",
    "tests/optim/test_loading.py",
    "tests/optim/test_names.py",
    "tests/optim/test_twins.py",
    "tests/checkpoints/test_checkpoint_kinds.py",
    "tests/replicas/test_stacked.py",
)


def main(pythons: list[str]) -> int:
    """Run every combination; returns 1 if tests failed in any."""
    results = [line for version in pythons or PYTHONS for line in runs(version)]
    print("\n".join(["", *results]))
    return int(any("failed" in line for line in results))


def runs(version: str) -> Iterator[str]:
    """One line per run of a Python."""
    python = interpreter(version)
    if python is None:
        yield f"Python {version}: skipped, it is not installed here."
        return
    for word, wanted in (("floor", floors()), ("newest", list(VARIED))):
        with tempfile.TemporaryDirectory(prefix="betaplane-floors-") as place:
            yield f"Python {version}, {word}: {tested(python, wanted, Path(place) / 'venv')}"


def interpreter(version: str) -> str | None:
    """The program of a Python, on the path or among pyenv's."""
    found = shutil.which(f"python{version}")
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    candidates = [*([found] if found else []), *map(str, pyenv)]
    return next(
        (path for path in candidates if call(path, "-c", "import venv").returncode == 0), None
    )


def floors() -> list[str]:
    """The oldest releases that pyproject.toml allows: ["torch==2.10.*", "numpy==1.26.*"]."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = [line.split(">=") for line in project["dependencies"]]
    return [f"{name}=={floor.split(',')[0]}.*" for name, floor in given if name in VARIED]


def tested(python: str, wanted: list[str], venv: Path) -> str:
    """Install and test; what came of it."""
    call(python, "-m", "venv", str(venv))
    program = str(venv / "bin" / "python")
    install = [program, "-m", "pip", "install", "-q", "--only-binary", "torch,numpy"]
    done = call(*install, *wanted, *TOOLS, str(ROOT))
    if done.returncode != 0:
        return f"skipped, {', '.join(wanted)} cannot be installed: {last(done.stderr)}"
    names = "import torch, numpy; print('torch', torch.__version__ + ', numpy', numpy.__version__)"
    versions = call(program, "-c", names).stdout.strip()
    done = call(program, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CORE)
    print(done.stdout[-3000:] if done.returncode else "", end="", flush=True)
    return (
        f"{versions}: {last(done.stdout)}"
        if done.returncode == 0
        else f"{versions}: failed, {last(done.stdout)}"
    )


def last(text: str) -> str:
    """The last line of a text."""
    return ([line for line in text.splitlines() if line.strip()] or ["no output"])[-1].strip()


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the root of the project."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
