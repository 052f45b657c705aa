"""Every error of an unknown name is the same sentence, with the nearest name that exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import betaplane
from betaplane import advice, audit, monitor, problems, rules, theory
from betaplane.cli.main import main
from betaplane.errors import BadInput
from betaplane.maps import axis, plan_for
from betaplane.optim import Schedule
from betaplane.optim.as_rule import as_rule

SENTENCE = re.compile(
    r"Unknown [\w .]+ (?P<name>'.+?')\. Did you mean '(?P<close>.+?)'\? Choose one of: (?P<known>.+?)"
    r"( \(.+?\))?\. Try: (?P<line>.+)"
)


def params() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2))]


# what is unknown -> a call with a misspelled name, the name, and the nearest one
CALLS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "rule by name": (lambda: rules.by_name("adamww"), "adamww", "adamw"),
    "rule of a map": (lambda: as_rule("lionn"), "lionn", "lion"),
    "option of a rule": (lambda: as_rule("adam:debais=none"), "debais", "debias"),
    "value of a rule's option": (lambda: rules.Adam(eps_at="rooot"), "rooot", "root"),  # type: ignore[arg-type]
    "argument of an optimizer": (lambda: betaplane.Lion(params(), lrr=1), "lrr", "lr"),
    "argument of torch's class": (lambda: betaplane.AdamW(params(), beta=1), "beta", "betas"),
    "option of a group": (
        lambda: betaplane.Lion([{"params": params(), "weigth_decay": 1}]), "weigth_decay", "weight_decay",
    ),
    "path": (lambda: betaplane.Lion(params(), path="compile"), "compile", "compiled"),
    "nonfinite": (lambda: betaplane.Lion(params(), nonfinite="skips"), "skips", "skip"),
    "storage": (lambda: betaplane.Lion(params(), storage="8bits"), "8bits", "8bit"),
    "rounding": (lambda: betaplane.Lion(params(), rounding="kahn"), "kahn", "kahan"),
    "scheduled option": (
        lambda: Schedule(betaplane.Lion(params()), beta3=lambda step: 0.9), "beta3", "beta2",
    ),
    "argument of a function": (lambda: betaplane.load(referense="digits"), "referense", "reference"),
    "argument of a constructor": (
        lambda: betaplane.Problem("mine", modul=nn.Linear), "modul", "module",
    ),
    "problem": (lambda: betaplane.load("digit"), "digit", "digits"),
    "option of a problem": (lambda: betaplane.load("digits:hiden=3"), "hiden", "hidden"),
    "value of a problem's option": (lambda: problems.quadratic(order="cyclical"), "cyclical", "cyclic"),  # type: ignore[arg-type]
    "field of a problem": (lambda: problems.quadratic().with_(stepz=3), "stepz", "steps"),
    "axis": (lambda: axis("betta2", 0, 0.9, 3), "betta2", "beta2"),
    "scale": (lambda: axis("lr", 0.1, 1, 3, scale="logs"), "logs", "log"),  # type: ignore[arg-type]
    "argument of a map": (lambda: plan_for(problems.quadratic(), pionts=3), "pionts", "points"),
    "engine": (lambda: plan_for(problems.quadratic(), engine="stackd"), "stackd", "stacked"),
    "dtype": (lambda: advice.advise(batch_size=3, dtype="bfloat"), "bfloat", "bfloat16"),
    "sink": (
        lambda: monitor.watch(betaplane.Lion(params()), to="tensorbord"), "tensorbord", "tensorboard",
    ),
    "schedule": (lambda: theory.multipliers("constnt", 3), "constnt", "constant"),
    "format": (lambda: theory.number_bytes("bfloat"), "bfloat", "bfloat16"),
    "option of an audited class": (lambda: audit.audit(torch.optim.Adam, bettas=1), "bettas", "betas"),
}  # fmt: skip
# arguments of the command line -> the name and the nearest one
COMMANDS = {
    "mapp": ("mapp", "map"),
    "--versoin": ("--versoin", "--version"),
    "map --sedes 2": ("--sedes", "--seeds"),
    "map digits --rule adamm": ("adamm", "adam"),
    "map digits --x betta2": ("betta2", "beta2"),
    "map digits --scale logs": ("logs", "log"),
    "map digits --engine stackd": ("stackd", "stacked"),
    "map digits --schedule constnt": ("constnt", "constant"),
    "map digits --order shufle": ("shufle", "shuffle"),
    "map digitz": ("digitz", "digits"),
    "tune digits:hiden=3": ("hiden", "hidden"),
    "rules --rule lionn": ("lionn", "lion"),
    "init mine.py --from tensor": ("tensor", "tensors"),
    "advise --from batch=32,bats=1 --to batch=64": ("bats", "betas"),
    "advise --batch-sise 3": ("--batch-sise", "--batch-size"),
}


def check(text: str, name: str, close: str) -> None:
    match = SENTENCE.fullmatch(text.strip())
    assert match, text
    assert match["name"] == repr(name)
    assert match["close"] == close
    assert close in match["known"].split(", ")
    assert close in match["line"]


@pytest.mark.parametrize("what", CALLS)
def test_unknown_name_gets_the_nearest_one(what: str) -> None:
    call, name, close = CALLS[what]
    with pytest.raises(BadInput) as error:
        call()
    check(str(error.value), name, close)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_unknown_name_on_the_command_line_gets_the_nearest_one(
    arguments: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(arguments.split())
    assert error.value.code == 2
    check(capsys.readouterr().err.removeprefix("betaplane: "), *COMMANDS[arguments])
    assert not list(tmp_path.iterdir())
