"""The public surface: every optimizer is visible without running code, with every argument."""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest
from tools import stubs

import betaplane
from betaplane.docstrings import arguments
from betaplane.rules import ALL

ROOT = Path(__file__).resolve().parents[1]
NAMES = [rule.__name__ for rule in ALL]
every = pytest.mark.parametrize("name", NAMES)
SCRIPT = """\
import torch
import betaplane

model = torch.nn.Linear(2, 2)
optimizer = betaplane.AdEMAMix(model.parameters(), betas=(0.9, 0.95, 0.999), storage="8bit")
optimizer.step()
betaplane.optim.AdamW(model.named_parameters(), lr=1e-3, eps_at="hat")
betaplane.AdmW(model.parameters())
betaplane.AdamW(model.parameters(), eps_att=1)
betaplane.Lion(model.parameters(), decay="l3")
"""
FLAGGED = {8: '"AdmW"', 9: '"eps_att"', 10: "'l3'"}  # the lines with a mistake, and what it is


def test_generated_files_are_current() -> None:
    for path, text in stubs.generate().items():
        assert (ROOT / path).read_text() == text, f"{path} is stale: run `{stubs.COMMAND}`"


def test_names_are_listed_without_importing_torch() -> None:
    code = "import betaplane, sys; print([*dir(betaplane), 'torch' in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    *names, imports_torch = ast.literal_eval(printed)
    assert set(NAMES) <= set(names)
    assert set(NAMES) <= set(betaplane.__all__)
    assert not imports_torch


def test_packages_of_the_list_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(betaplane.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    aliases = {
        node.names[0].asname for node in imports if node.module == "betaplane" and node.level == 0
    }
    assert aliases - {None} == set(betaplane._PACKAGES)
    for name in betaplane._PACKAGES:
        assert getattr(betaplane, name).__name__ == f"betaplane.{name}"


@every
def test_class_is_pickled_by_the_name_that_it_is_imported_as(name: str) -> None:
    kind = getattr(betaplane, name)
    assert kind.__name__ == kind.__qualname__ == name
    assert pickle.loads(pickle.dumps(kind)) is kind


@every
def test_help_describes_every_argument_with_range_and_default(name: str) -> None:
    kind = getattr(betaplane, name)
    described = arguments(inspect.getdoc(kind))
    parameters = inspect.signature(kind).parameters
    assert list(described) == list(parameters)
    for argument, parameter in parameters.items():
        meaning, _, default = described[argument].partition("Default: ")
        assert len(meaning.split()) >= 5, argument
        assert default == f"{parameter.default!r}." or argument == "params"
    assert described["betas" if "betas" in described else "lr"].count("In [0, ") >= 1
    assert "storage: Format of the state" in pydoc.render_doc(kind)


@every
def test_every_option_of_a_rule_has_a_meaning_and_its_range(name: str) -> None:
    kind = getattr(betaplane, name)
    described = " ".join(arguments(inspect.getdoc(kind)).values())
    for option, allowed in kind.rule.ranges.items():
        assert f"In {allowed.text}." in described or option == "power"
    for option, choices in kind.rule.choices.items():
        if not isinstance(choices[0], bool):
            assert ", ".join(map(repr, choices)) in described, option


@pytest.mark.slow
def test_type_checker_flags_misspelled_names(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", tmp_path, script]
    command += ["--pythonpath", sys.executable]
    report = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
    errors = json.loads(report)["generalDiagnostics"]
    lines = {error["range"]["start"]["line"] + 1: error["message"] for error in errors}
    assert lines.keys() == FLAGGED.keys()
    assert all(word in lines[line] for line, word in FLAGGED.items())
