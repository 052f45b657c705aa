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

from betaplane.errors import BadInput

# arguments of the library -> flags, if their names differ
OTHER_NAMES = {
    "thresholds": "--good, --failing",
    "seconds": "--budget",
    "settings": "--betas",
    "number": "--run",
}
MERGE = re.compile(r'store_of\(problem, "(.*)"\)\.merge\((.*)\)')


def with_flags(error: BadInput, context: Any) -> BadInput:
    """The same error with flags in place of arguments.

    Args:
        error: raised by the library. `where` is translated if it names arguments only, and
            `instead` if it is keyword arguments; in other text, names in backticks are translated.
        context: typer's context of the running command; arguments are translated if they are its
            options.
    """
    flags = _flags(context.command)
    translated = type(error)(
        _backticks(error.what, flags),
        value=error.value,
        allowed=_backticks(error.allowed, flags),
        where=_named(error.where, flags),
        instead=_pasted(error.instead, {**_positional(context), **flags}),
    )
    for note in getattr(error, "__notes__", ()):
        translated.add_note(note)
    return translated


def _flags(command: Any) -> dict[str, str]:
    """The flags of a command by the names of the arguments that they stand for."""
    flags = {
        param.name.rstrip("_"): max(param.opts, key=len)
        for param in command.params
        if param.param_type_name == "option"
    }
    known = set(flags.values())
    renamed = {name: flag for name, flag in OTHER_NAMES.items() if set(flag.split(", ")) <= known}
    return {**renamed, **flags}


def _positional(context: Any) -> dict[str, str]:
    """What to type before the value of each argument without a flag: the command."""
    return {
        param.name: context.command_path
        for param in context.command.params
        if param.param_type_name == "argument"
    }


def _named(where: str, flags: Mapping[str, str]) -> str:
    """The flags of "x, y" or "x or y"; other text with its backticks translated."""
    parts = re.split(r"(, | or | and |/)", where)
    if all(name in flags for name in parts[::2]):
        return "".join(flags.get(part, part) for part in parts)
    return _backticks(where, flags)


def _backticks(text: str, flags: Mapping[str, str]) -> str:
    """Text in which names in backticks are flags, if they are arguments of the command."""
    return re.sub(r"`(\w+)`", lambda name: flags.get(name[1], name[0]), text)


def _pasted(line: str, flags: Mapping[str, str]) -> str:
    """Keyword arguments of Python as flags; any other line as it is."""
    code, mark, comment = line.partition("  # ")
    comment = re.sub(r"\w+=\S+", lambda argument: _pasted(argument[0], flags), comment)
    if match := MERGE.fullmatch(code):
        arguments = [f"--store {match[1]}", f"--merge {shlex.quote(ast.literal_eval(match[2]))}"]
    else:
        arguments = [_argument(*keyword, flags) for keyword in _keywords(code)]
    return " ".join(arguments) + mark + comment if arguments and all(arguments) else line


def _keywords(code: str) -> list[tuple[str, ast.expr, str]]:
    """Name, value and source text of the keyword arguments in "lr=0.1, seeds=2".

    Arguments of a constructor count as arguments: `thresholds=Thresholds(good=0.05)`. There are
    none if the text is anything else.
    """
    source = f"f({code})"
    try:
        call = ast.parse(source, mode="eval").body
    except SyntaxError:
        return []
    if not isinstance(call, ast.Call) or call.args:
        return []
    keywords: list[ast.keyword] = []
    for keyword in call.keywords:
        value = keyword.value
        keywords += value.keywords if isinstance(value, ast.Call) else [keyword]
    return [(k.arg or "", k.value, ast.get_source_segment(source, k.value) or "") for k in keywords]


def _argument(name: str, node: ast.expr, source: str, flags: Mapping[str, str]) -> str:
    """One argument as a flag with its value; "" if it cannot be typed."""
    flag = flags.get(name, "")
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ""
    if not flag or value is True:
        return flag
    if value is False:
        return flag.replace("--", "--no-", 1)
    return f"{flag} {_typed(name, value, source)}"


def _typed(name: str, value: Any, source: str) -> str:
    """A value of Python as it is typed: an axis, a pair of numbers, a mapping, text, a number."""
    if name in ("x", "y") and isinstance(value, tuple):
        axis, *ends = value
        return f"{axis}={':'.join(f'{end:g}' for end in ends)}"
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return ("x" if name == "points" else ",").join(map(str, value))
    return shlex.quote(value) if isinstance(value, str) else source
