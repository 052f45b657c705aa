"""Where a command writes its losses: `stdout:REGEX`, `jsonl:PATH:FIELD`, `csv:PATH:COLUMN`, ..."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from betaplane.errors import BadInput, nearest
from betaplane.problems.commands.event_files import EventFiles
from betaplane.problems.commands.line_files import CsvFile, JsonLines
from betaplane.problems.commands.streams import MatchingLines, Streams
from betaplane.problems.commands.template import fill, placeholders
from betaplane.problems.commands.trainer_state import TrainerState

FORMS = {
    "stdout": "stdout:REGEX",
    "stderr": "stderr:REGEX",
    "jsonl": "jsonl:PATH:FIELD",
    "csv": "csv:PATH:COLUMN",
    "tensorboard": "tensorboard:DIR:TAG",
    "hf": "hf:DIR",
}
EXAMPLES = {
    "stdout": r'loss=r"stdout:loss=(\S+)"',
    "stderr": r'loss=r"stderr:loss=(\S+)"',
    "jsonl": 'loss="jsonl:{run}/log.jsonl:loss"',
    "csv": 'loss="csv:{run}/log.csv:loss"',
    "tensorboard": 'loss="tensorboard:{run}:train/loss"',
    "hf": 'loss="hf:{run}"',
}
READERS: Mapping[str, Callable[[Path, str], Follower]] = {
    "jsonl": JsonLines,
    "csv": CsvFile,
    "tensorboard": EventFiles,
    "hf": lambda path, _: TrainerState(path),
}


class Follower(Protocol):
    """Reads the losses of one run while they are written."""

    def read(self, ended: bool) -> list[float]:
        """The losses since the last call; after the run ended, also those of an unfinished line."""
        ...

    def missing(self) -> str:
        """Why there are no losses, as the end of a sentence."""
        ...


@dataclass(frozen=True)
class LossSource:
    """A parsed `loss` of a command."""

    form: str  # a key of FORMS
    path: str  # with placeholders; "" for streams
    key: str  # the regular expression, field, column or tag; "" for hf

    def follow(self, values: Mapping[str, str], streams: Streams) -> Follower:
        """A reader of the losses of one run.

        Args:
            values: values of the placeholders.
            streams: what the command prints.
        """
        if not self.path:
            return MatchingLines(streams, self.form, re.compile(self.key))
        return READERS[self.form](Path(fill(self.path, values)).expanduser(), self.key)

    @property
    def example(self) -> str:
        """An argument of this form."""
        return EXAMPLES[self.form]

    @property
    def placeholders(self) -> list[str]:
        """The names of the placeholders in the path."""
        return placeholders(self.path)


def parse_loss_source(text: str) -> LossSource:
    r"""The source of the losses that a text describes.

    Raises:
        BadInput: its form is unknown, or the regular expression is invalid or has no group.

    Example:
        >>> parse_loss_source("csv:{run}/log.csv:train loss")
        LossSource(form='csv', path='{run}/log.csv', key='train loss')
        >>> parse_loss_source("stdout:loss=.*")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: The regular expression has no group for the loss: got 'loss=.*'; ...
    """
    form, _, rest = text.partition(":")
    if form not in FORMS:
        raise BadInput(
            f"Unknown form of the loss {form!r}",
            allowed=f"one of {', '.join(FORMS.values())}",
            where="loss",
            instead=EXAMPLES[nearest(form, FORMS, "stdout")],
        )
    if form in ("stdout", "stderr"):
        _check_expression(rest, form)
        return LossSource(form, "", rest)
    path, _, key = (rest, "", "") if form == "hf" else rest.rpartition(":")
    if not path or (not key and form != "hf"):
        raise _bad_loss(f"The loss does not have the form {FORMS[form]}", text, FORMS[form], form)
    if form in ("jsonl", "csv") and not placeholders(path):
        what = "All runs would write their losses to one file"
        raise _bad_loss(
            what, text, "a path with {run}, the folder of the run, or with settings", form
        )
    return LossSource(form, path, key)


def _check_expression(expression: str, form: str) -> None:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        what = f"The regular expression of the loss is not valid ({error})"
        raise _bad_loss(what, expression, "a regular expression of Python", form) from None
    if not pattern.groups:
        what = "The regular expression has no group for the loss"
        raise _bad_loss(what, expression, "parentheses around the number", form)


def _bad_loss(what: str, value: str, allowed: str, form: str) -> BadInput:
    return BadInput(what, value=value, allowed=allowed, where="loss", instead=EXAMPLES[form])
