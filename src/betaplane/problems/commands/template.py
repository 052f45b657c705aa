"""Placeholders such as {beta2} in a command and in a path."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from betaplane.errors import BadInput, unknown
from betaplane.text import setting_of

# {{name}} stands for the text {name}; other braces, as in JSON, are left as they are
PLACEHOLDER = re.compile(r"\{\{(?P<literal>[\w.]+)\}\}|\{(?P<name>[A-Za-z_]\w*(?:\.\w+)*)\}")
WHOLE = ("batch_size", "seed", "steps")
REALS = ("lr", "beta1", "beta2", "beta3", "eps", "weight_decay")


def placeholders(text: str) -> list[str]:
    """The names of the placeholders in a text, in order, each once.

    Example:
        >>> placeholders('train --lr {lr} --json {"a": 1} --keep {{this}} --lr {lr} --seed {seed}')
        ['lr', 'seed']
        >>> placeholders("train --embedding-lr {embedding.lr}")
        ['embedding.lr']
    """
    names = [match["name"] for match in PLACEHOLDER.finditer(text) if match["name"]]
    return list(dict.fromkeys(names))


def fill(text: str, values: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
    """A text with values in place of its placeholders.

    Args:
        text: the text.
        values: the values by name.
        quote: applied to each value.

    Raises:
        BadInput: a placeholder has no value.

    Example:
        >>> fill("{run}/log-{lr}.csv", {"run": "/tmp/a b", "lr": "0.1"}), fill("{{run}}", {})
        ('/tmp/a b/log-0.1.csv', '{run}')
    """

    def replaced(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        check_known(match["name"], values)
        return quote(values[match["name"]])

    return PLACEHOLDER.sub(replaced, text)


def check_known(name: str, known: Sequence[str] | Mapping[str, str]) -> None:
    """Raise BadInput for a placeholder that is no setting."""
    if name not in known:
        error = unknown("placeholder", f"{{{name}}}", [*known], where="command")
        raise BadInput(
            f"{error.what}; {{{{{name}}}}} stands for the text {{{name}}}", where="command"
        )


def arguments(command: str | Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The arguments of a command: the text is split first, so that a value is never split.

    Example:
        >>> arguments("python 'my train.py' --out {run}", {"run": "/tmp/a b; rm c"})
        ['python', 'my train.py', '--out', '/tmp/a b; rm c']
    """
    parts = shlex.split(command) if isinstance(command, str) else command
    return [fill(part, values) for part in parts]


def as_text(name: str, value: float) -> str:
    """A setting as it is written in a command: every digit, and whole numbers without a fraction.

    Example:
        >>> as_text("beta2", 0.9999), as_text("lr", 1.0), as_text("batch_size", 32.0)
        ('0.9999', '1.0', '32')
        >>> as_text("layers", 4.0), as_text("dropout", 0.5)
        ('4', '0.5')
    """
    name = setting_of(name)
    if name in WHOLE or (name not in REALS and float(value).is_integer()):
        return str(int(value))
    return repr(float(value))
