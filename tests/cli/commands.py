"""The command, run in this process."""

from __future__ import annotations

from typing import Any

import pytest

from betaplane.cli.main import app, main

PROBLEMS = """
import torch
from torch import nn
from betaplane.problems import Problem, Trainer

print("read")  # never a part of the result
ONES = torch.ones(8, 1)

def line(**changes):
    given = dict(module=lambda: nn.Linear(1, 1), loss=nn.functional.mse_loss, inputs=ONES, targets=ONES, batch_size=4)
    return Problem("line", **{**given, "steps": 20, **changes})

class Stuck(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        raise RuntimeError("no way back")

class OneWay(nn.Linear):
    def forward(self, x):
        return Stuck.apply(super().forward(x))

fine = line()
make = lambda: line()

def made():
    return line()

def nan():
    return line(inputs=ONES * torch.nan)

def empty():
    return line(inputs=ONES[:0], targets=ONES[:0])

def batch():
    return line(batch_size=9)

def bare():
    return line(module=nn.ReLU)

def raises():
    return 1 / 0

def stuck():
    return line(module=lambda: OneWay(1, 1))

def train(settings, seed):
    print("training")
    return [1.0, 0.1 if settings["beta2"] > settings["beta1"] else 0.9]

trainer = Trainer("trainer", train, best=0.0)
number = 3
"""


def ended(arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `betaplane` with these words."""
    with pytest.raises(SystemExit) as left:
        main(arguments.split())
    return int(left.value.code or 0), *capsys.readouterr()


def command_of(name: str) -> Any:
    """A command of the app, with its parameters."""
    import typer  # after betaplane.cli.main, which selects plain help texts

    commands: Any = typer.main.get_command(app)
    return commands.commands[name]
