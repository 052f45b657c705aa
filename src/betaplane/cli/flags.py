"""Replace the argument names in errors of the library by the flags of the running command.

The library names arguments ("steps", "steps=100"); a user of the command line types flags
("--steps", "--steps 100"). Only this file translates the one into the other.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from typing import Any

import typer

from betaplane.errors import BadInput

# arguments of the library -> parameters of the commands, if their names differ
ALIASES = {"seconds": "budget", "settings": "betas", "source": "problem", "path": "file"}
LIST_OF_NAMES = re.compile(r"\w+(?:(?:, | and | or |/)\w+)*")


def with_flags(error: BadInput, context: typer.Context) -> BadInput:
    """The same error with flags in place of arguments.

    `where` is translated if it names arguments of the running command only, and words in backticks
    are translated everywhere. A line to paste ("steps=100, seeds=2") is translated if `where` was,
    or if the user typed all of its arguments.

    Args:
        error: raised by the library.
        context: of the running command.
    """
    flags = _flags(context)
    named = bool(LIST_OF_NAMES.fullmatch(error.where)) and all(
        name in flags for name in _names(error.where)
    )
    where = _replace(error.where, flags) if named else error.where
    text = [_backticks(part, flags) for part in (error.what, error.allowed, where)]
    what, allowed, where = text
    typed = flags if named or not error.where else _typed(flags, context)
    instead = _pasted(error.instead, typed) if error.instead else ""
    return type(error)(what, value=error.value, allowed=allowed, where=where, instead=instead)


def _flags(context: typer.Context) -> dict[str, Any]:
    """The options of a command by the names of the arguments that they stand for."""
    options = {
        (param.name or "").rstrip("_"): param
        for param in context.command.params
        if param.param_type_name == "option"
    }
    renamed = {name: options[other] for name, other in ALIASES.items() if other in options}
    return {**options, **{name: p for name, p in renamed.items() if name not in options}}


def _typed(flags: Mapping[str, Any], context: typer.Context) -> dict[str, Any]:
    """The options that the user gave on the command line."""
    source = context.get_parameter_source
    given = [name for name, param in flags.items() if _is_typed(source(param.name))]
    return {name: flags[name] for name in given}


def _is_typed(source: Any) -> bool:
    return source is not None and source.name == "COMMANDLINE"


def _names(text: str) -> list[str]:
    return [name for name in re.findall(r"\w+", text) if name not in ("and", "or")]


def _replace(text: str, flags: Mapping[str, Any]) -> str:
    """Every word that is an argument's name as its flag."""
    return re.sub(r"\w+", lambda word: _flag(flags[word[0]]) if word[0] in flags else word[0], text)


def _backticks(text: str, flags: Mapping[str, Any]) -> str:
    """Text whose names in backticks are flags, if they are arguments of the command.

    A name of any other thing keeps its backticks.
    """
    found = re.compile(r"`(\w+)`")
    return found.sub(lambda name: _flag(flags[name[1]]) if name[1] in flags else name[0], text)


def _flag(param: Any) -> str:
    return max(param.opts, key=len)


def _pasted(line: str, flags: Mapping[str, Any]) -> str:
    """Keyword arguments of Python as flags; any other line as it is."""
    code, mark, comment = line.partition("  # ")
    try:
        call = ast.parse(f"f({code})", mode="eval").body
    except SyntaxError:
        return line
    known = isinstance(call, ast.Call) and not call.args and call.keywords
    if not known or not all(keyword.arg in flags for keyword in call.keywords):
        return line
    words = [_words(flags[str(each.arg)], each.arg, each.value) for each in call.keywords]
    comment = re.sub(r"\w+=\S+", lambda argument: _pasted(argument[0], flags), comment)
    return " ".join(words) + mark + comment


def _words(param: Any, name: str | None, node: ast.expr) -> str:
    """One flag with its value."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return f"{_flag(param)} {shlex.quote(ast.unparse(node))}"
    if value is True:
        return _flag(param)
    if value is False:
        return max(param.secondary_opts, key=len, default=f"without {_flag(param)}")
    return f"{_flag(param)} {_value(name, value)}"


def _value(name: str | None, value: Any) -> str:
    """A value of Python as it is typed: an axis, a pair of numbers, a mapping, text."""
    if value is ...:
        return "..."
    if name in ("x", "y") and isinstance(value, tuple):
        axis, *ends = value
        return f"{axis}={':'.join(f'{end:g}' for end in ends)}"
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        separator = "x" if name == "points" else ","
        return separator.join(map(_plain, value))
    return _plain(value)


def _plain(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else shlex.quote(str(value))
