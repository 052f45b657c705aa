"""CONTRIBUTING.md: its recipe for a rule runs in a copy of the project, and its paths exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
COPIED = ("src", "tools", "tests/rules", "tests/data", "pyproject.toml")
RULE = re.compile(r"1\. `(.+?)`:\n\n   ```python\n(.*?\n)   ```\n", re.DOTALL)
CHECK = """\
import inspect, torch, betaplane
from betaplane.cli.parse import rule
p = torch.nn.Parameter(torch.ones(3))
optimizer = betaplane.Signum([p], lr=0.1, betas=(0.5,))
p.grad = torch.ones(3)
optimizer.step()
assert p.tolist() == [torch.tensor(0.9).item()] * 3
assert "Signum" in dir(betaplane) and "Signum" in betaplane.__all__
assert "The tuple" not in betaplane.Signum.__doc__ and "beta1" in betaplane.Signum.__doc__
assert rule("signum") == betaplane.rules.Signum()
"""


def recipe() -> str:
    return PAGE.partition("## Adding a rule")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after the recipe's steps."""
    copy = tmp_path_factory.mktemp("project")
    for name in COPIED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        copy_of = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy_of(ROOT / name, copy / name)
    path, code = RULE.search(recipe()).groups()  # type: ignore[union-attr]
    (copy / path).write_text(textwrap.dedent(code))
    register(copy / "src/betaplane/rules/__init__.py")
    run(copy, "-m", "tools.stubs")
    return copy


def register(registry: Path) -> None:
    """The second step: import the rule, and add it to ALL and to __all__."""
    text = registry.read_text()
    text = text.replace("__all__ = [\n", '__all__ = [\n    "Signum",\n')
    text = text.replace("    AdamAtan2,\n)", "    AdamAtan2,\n    Signum,\n)")
    marker = "from betaplane.rules.sophia import Sophia\n"
    registry.write_text(
        text.replace(marker, f"from betaplane.rules.signum import Signum\n{marker}")
    )


def run(copy: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_rule_is_two_files_and_a_command() -> None:
    steps = re.findall(r"^\d\. (.*)$", recipe(), re.MULTILINE)
    assert [bool(re.search(r"`src/betaplane/rules/\w+\.py`", step)) for step in steps] == [
        True,
        True,
        False,
    ]
    assert "`.venv/bin/python -m tools.stubs`" in steps[2]


def test_rule_of_the_recipe_is_an_optimizer(project: Path) -> None:
    run(project, "-c", CHECK)
    stub = (project / "src/betaplane/optim/__init__.pyi").read_text()
    assert "class Signum(RuleOptimizer):" in stub


def test_rule_of_the_recipe_passes_the_tests_of_rules(project: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "-k", "Signum or signum or registry or exported")
    printed = run(project, "-m", "pytest", *options, "tests/rules", "src/betaplane/rules/signum.py")
    assert int(re.search(r"(\d+) passed", printed)[1]) >= 15  # type: ignore[index]


def test_every_path_of_the_page_exists() -> None:
    paths = re.findall(r"`((?:src|tests|tools)/[\w/.]+)`", PAGE)
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert missing == ["src/betaplane/rules/signum.py"]


@pytest.mark.parametrize("added", ["detector", "sink", "problem", "closed form", "axis"])
def test_other_recipes_have_five_lines(added: str) -> None:
    text = re.search(rf"## Adding an? {added}\n(.*?)\n## ", PAGE, re.DOTALL)[1]  # type: ignore[index]
    assert re.findall(r"^(\d)\. ", text, re.MULTILINE) == ["1", "2", "3", "4", "5"]
