"""Every rule of the registry has documentation, numbers from elsewhere, and an optimizer."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import re
from pathlib import Path

import pytest
import test_rules
import torch
from torch import nn

import betaplane
import betaplane.optim
from betaplane.cli.catalog import rules_command
from betaplane.cli.parse import rule as rule_of
from betaplane.optim.storage_formats import STORAGES
from betaplane.rules import ALL, Rule

every = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


@every
def test_rule_has_equations_source_and_example(kind: type[Rule]) -> None:
    """Equations, source and an example whose numbers are run."""
    doc = inspect.getdoc(kind) or ""
    assert "```" in doc
    assert re.search(r"Source: .*\d{4}", doc, re.DOTALL)
    examples = doctest.DocTestParser().get_examples(doc)
    assert sum(bool(re.search(r"\d\.\d{3}", example.want)) for example in examples) >= 1
    assert re.search(r"\d{4}", kind.source)


@every
def test_rule_has_numbers_from_elsewhere(kind: type[Rule]) -> None:
    """Golden numbers or torch's class; else at least two steps computed by hand."""
    elsewhere = {rule for rule, _ in test_rules.GOLDEN} | {
        type(rule) for rule, *_ in test_rules.TORCH
    }
    steps = inspect.getdoc(kind).count(".step(")  # type: ignore[union-attr]
    assert kind in elsewhere or steps >= 2


@every
def test_rule_declares_laws_ranges_and_choices(kind: type[Rule]) -> None:
    source = ast.parse(Path(inspect.getfile(kind)).read_text())
    (body,) = [
        node.body
        for node in source.body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    written = {
        target.id for node in body if isinstance(node, ast.Assign) for target in node.targets
    }  # type: ignore[union-attr]
    assert {"laws", "ranges", "source"} <= written
    numbers = set(kind.hyperparameters())
    assert numbers <= set(kind.ranges)


def test_the_command_line_lists_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    rules_command(as_json=True)
    listed = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert listed == [kind.__name__.lower() for kind in ALL]
    assert [type(rule_of(name)) for name in listed] == list(ALL)


@every
@pytest.mark.parametrize("storage", STORAGES)
def test_rule_is_an_optimizer_in_every_format(kind: type[Rule], storage: str) -> None:
    p = nn.Parameter(torch.randn(40, 128, generator=torch.Generator().manual_seed(0)))
    optimizer = getattr(betaplane, kind.__name__, None) or betaplane.optim.optimizer_class(kind)
    made = optimizer([p], storage=storage)
    before = p.detach().clone()
    for seed in range(3):
        p.grad = torch.randn(40, 128, generator=torch.Generator().manual_seed(seed + 1))
        made.step()
    assert not torch.equal(p, before)
    held = [value for value in made.state[p].values() if value.shape == p.shape]
    kinds = {"parameter": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
    assert all(value.dtype == kinds.get(storage, torch.uint8) for value in held)


@every
def test_rule_imports_no_other_rule(kind: type[Rule]) -> None:
    names = {f"betaplane.rules.{one.__module__.rsplit('.')[-1]}" for one in ALL} - {kind.__module__}
    tree = ast.parse(Path(inspect.getfile(kind)).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & names
