"""Errors of the library name arguments; the command line shows them as flags."""

from __future__ import annotations

import pytest
from commands import command_of

from betaplane.cli.flags import with_flags
from betaplane.errors import BadInput, BadType

# command line, where, instead -> where and instead as they are printed
TRANSLATED = {
    ("map", "steps", "steps=100"): ("--steps", "--steps 100"),
    ("map", "batch_size", "batch_size=32"): ("--batch-size", "--batch-size 32"),
    ("map", "points, seeds", "points=64, seeds=2"): ("--points, --seeds", "--points 64 --seeds 2"),
    ("map", "lr", "lr=1e-3"): ("--lr", "--lr 1e-3"),
    ("map", "x or y", 'x="lr"'): ("--x or --y", "--x lr"),
    ("map", "x/y", 'y=("beta2", 0.9, 0.999)'): ("--x/--y", "--y beta2=0.9:0.999"),
    ("map", "points", "points=(7, 24)"): ("--points", "--points 7x24"),
    ("map", "seconds", 'budget="20m"'): ("--budget", "--budget 20m"),
    ("map", "settings", 'settings={"beta1": 0.9, "beta2": 0.98}'): ("--betas", "--betas 0.9,0.98"),
    ("map", "store", 'store="my maps/a.sqlite"'): ("--store", "--store 'my maps/a.sqlite'"),
    ("map", "trainings", 'budget="20m"  # or dense=False'): (
        "--trainings",
        "--budget 20m  # or --no-dense",
    ),
    ("map", "", 'engine="auto"'): ("", "--engine auto"),
    ("map", "settings", "settings=..."): ("--betas", "--betas ..."),
    ("advise", "after", 'after="batch=64"'): ("--to", "--to batch=64"),
    ("advise", "before", 'before="batch=512,lr=3e-4"'): ("--from", "--from batch=512,lr=3e-4"),
    ("inspect a.pt", "trained", "trained=(0.9, 0.999)"): (
        "--trained-with",
        "--trained-with 0.9,0.999",
    ),
    ("tune", "rule", 'rule="adam"'): ("--rule", "--rule adam"),
    ("map", "Adam", "beta1=0.9"): ("Adam", "--beta1 0.9"),
    ("map", "problem 'line'", "batch_size=8"): ("problem 'line'", "--batch-size 8"),
    ("map", "thresholds", "thresholds=Thresholds(good=0.05, failing=0.5)"): (
        "--good, --failing",
        "--good 0.05 --failing 0.5",
    ),
    ("map", "a.sqlite", "store_of(problem, \"b.sqlite\").merge('a.sqlite')  # whole runs"): (
        "a.sqlite",
        "--store b.sqlite --merge a.sqlite  # whole runs",
    ),
}

UNCHANGED = [
    ("map", "problem 'line'", "size=8"),
    ("map", "steps", "steps=8, size=8"),
    ("map", "mine.py, line 3", "loss(output, target).mean()"),
    ("map", "the data", "record_gradients(model, batch_size=32)"),
    ("record", "steps of the loop", "record.take()  # after each backward()"),
    ("tune", "points", "points=24"),
    ("map", "lr", "lr=my_lr"),
    ("map", "steps", "betaplane map digits"),
]


def translated(line: str, error: BadInput) -> BadInput:
    """The error as the command line with these words shows it."""
    command, *words = line.split()
    return with_flags(error, command_of(command).make_context(command, words))


@pytest.mark.parametrize(("case", "expected"), TRANSLATED.items(), ids=map(str, TRANSLATED))
def test_arguments_are_shown_as_flags(case: tuple[str, str, str], expected: tuple[str, str]):
    line, where, instead = case
    error = translated(line, BadInput("Wrong", value=0, where=where, instead=instead))
    assert (error.where, error.instead) == expected


@pytest.mark.parametrize(("line", "where", "instead"), UNCHANGED, ids=map(str, UNCHANGED))
def test_other_text_stays_as_it_is(line: str, where: str, instead: str):
    error = translated(line, BadInput("Wrong", where=where, instead=instead))
    assert error.instead == instead


def test_names_in_backticks_are_shown_as_flags():
    error = BadInput("`after` needs `before`", allowed="one of `tokens`, `batch`", where="advise")
    assert (
        str(translated("advise", error))
        == "--to needs --from: expected one of --tokens, `batch` (advise)."
    )


def test_the_type_of_the_error_stays():
    error = translated("map", BadType("steps is not a number", value="two", where="steps"))
    assert isinstance(error, TypeError)
    assert error.value == "two"
    assert error.where == "--steps"
