"""CONTRIBUTING.md: its recipes are followed in a copy of the project, and its paths exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integration.recipes import PAGE, ROOT, apply, commands, patched, recipes

RECIPES = recipes()
NAMES = ["rule", "detector", "sink", "problem", "claim", "closed form", "axis"]
COPIED = ("src", "tools", "benchmarks", "tests", "pyproject.toml")
UNUSED = shutil.ignore_patterns("__pycache__")
# One process, in which the imports are shared: run the commands, and print what came of each
DRIVER = """\
import io, json, sys
from contextlib import redirect_stdout
import pytest
from betaplane.cli.main import main
outcomes = {}
for name, tests, calls in json.loads(sys.argv[1]):
    printed = io.StringIO()
    with redirect_stdout(printed):
        codes = []
        for words in calls:
            try:
                main(words)
            except SystemExit as exit:
                codes.append(exit.code or 0)
        codes += [int(pytest.main(["-q", "-p", "no:cacheprovider", *words])) for words in tests]
    outcomes[name] = codes, printed.getvalue()
print(json.dumps(outcomes))
"""
CHECK = """\
import torch, betaplane
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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after the steps of all recipes, without their tests."""
    copy = tmp_path_factory.mktemp("project")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=UNUSED)
        else:
            shutil.copy(ROOT / name, copy / name)
    for blocks in RECIPES.values():
        apply(blocks, copy)
        for words in commands(blocks, "python"):
            run(copy, *words)
    return copy


@pytest.fixture(scope="module")
def outcomes(project: Path) -> dict[str, Any]:
    """The exit codes of each recipe's commands, and what they printed."""
    calls = [
        (name, commands(blocks, "pytest"), commands(blocks, "betaplane"))
        for name, blocks in RECIPES.items()
    ]
    return json.loads(run(project, "-c", DRIVER, json.dumps(calls)).splitlines()[-1])


def run(copy: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_recipe_is_followed() -> None:
    assert list(RECIPES) == NAMES
    assert all(commands(blocks, "pytest") for blocks in RECIPES.values())


def test_a_rule_is_two_files_and_a_command() -> None:
    blocks = RECIPES["rule"]
    files = [block.path for block in blocks if block.language != "bash"]
    assert files == ["src/betaplane/rules/signum.py", "src/betaplane/rules/__init__.py"]
    assert commands(blocks, "python") == [["-m", "tools.stubs"]]


def test_rule_of_the_recipe_is_an_optimizer(project: Path) -> None:
    run(project, "-c", CHECK)
    stub = (project / "src/betaplane/optim/__init__.pyi").read_text()
    assert "class Signum(RuleOptimizer):" in stub


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("rule", 15),
        ("detector", 2),
        ("sink", 1),
        ("problem", 4),
        ("claim", 3),
        ("closed form", 5),
        ("axis", 1),
    ],
)
def test_tests_and_commands_of_a_recipe_pass(
    name: str, least: int, outcomes: dict[str, Any]
) -> None:
    codes, printed = outcomes[name]
    assert set(codes) == {0}, printed
    assert sum(map(int, re.findall(r"(\d+) passed", printed))) >= least, printed


def test_maps_of_the_recipes_recommend_a_setting(outcomes: dict[str, Any]) -> None:
    for name in ("problem", "axis"):
        assert "Recommended" in outcomes[name][1]


def test_a_change_without_its_context_is_an_error() -> None:
    assert patched("a\nb\n", " a\n+c\n") == "a\nc\nb\n"
    with pytest.raises(ValueError, match="0 places have this context"):
        patched("a\nb\n", " x\n+c\n")
    with pytest.raises(ValueError, match="2 places have this context"):
        patched("a\na\n", " a\n+c\n")


def test_every_path_of_the_page_exists() -> None:
    created = {block.path for blocks in RECIPES.values() for block in blocks}
    paths = re.findall(r"`((?:src|tests|tools)/[\w/.]+)`", PAGE)
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert len(missing) == 11
    assert set(missing) <= created
