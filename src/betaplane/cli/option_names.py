"""Errors of library functions in the words of the command line: options in place of arguments."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Collection
from inspect import signature

from betaplane.errors import BadInput

# options of an argument that has another name on the command line
OTHER_NAMES = {
    "thresholds": ("good", "failing"),
    "seconds": ("budget",),
    "settings": ("betas",),
}


def with_option_names(error: BadInput, command: Callable[..., None]) -> BadInput:
    """The same error, with the command's options in place of argument names.

    Args:
        error: raised by a library function; names arguments in `where` and `instead`.
        command: the command that called the function; its parameters are the options.

    Example:
        >>> def command(x: str, y: str, batch_size: int) -> None: ...
        >>> error = BadInput("Invalid range", where="x", instead='x=("lr", 0.01, 0.1), batch_size=8')
        >>> print(with_option_names(error, command))
        Invalid range (--x). Try: --x lr=0.01:0.1 --batch-size 8
    """
    options = {name.rstrip("_").removeprefix("as_") for name in signature(command).parameters}
    where = _named_options(error.where, options) or error.where
    instead = _pasted(error.instead, options) or error.instead
    return BadInput(
        error.what, value=error.value, allowed=error.allowed, where=where, instead=instead
    )


def _named_options(where: str, options: Collection[str]) -> str:
    """The options of "x, y"; "" unless these are all names of arguments."""
    names = [
        name for argument in where.split(", ") for name in OTHER_NAMES.get(argument, (argument,))
    ]
    return ", ".join(map(_option, names)) if all(name in options for name in names) else ""


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _pasted(code: str, options: Collection[str]) -> str:
    """The options that mean the same as keyword arguments such as `lr=0.1, x="beta1"`; "" if there
    are none.
    """
    if match := re.match(r'store_of\(problem, "(.*)"\)\.merge\((.*)\)', code):
        return f"--store {match[1]} --merge {shlex.quote(ast.literal_eval(match[2]))}"
    try:
        call = ast.parse(f"f({code})", mode="eval").body
    except SyntaxError:
        return ""
    if not isinstance(call, ast.Call) or call.args:
        return ""
    keywords = [inner for keyword in call.keywords for inner in _unfolded(keyword)]
    if not keywords or any(keyword.arg not in options for keyword in keywords):
        return ""
    try:
        return " ".join(_words(str(keyword.arg), keyword.value) for keyword in keywords)
    except ValueError:
        return ""


def _unfolded(keyword: ast.keyword) -> list[ast.keyword]:
    """`thresholds=Thresholds(good=0.05)` is `good=0.05`."""
    value = keyword.value
    return value.keywords if isinstance(value, ast.Call) else [keyword]


def _words(name: str, code: ast.expr) -> str:
    """An option and its value, as they are typed.

    Raises:
        ValueError: the value is not a literal that can be typed.
    """
    value = ast.literal_eval(code)
    if value is ...:
        raise ValueError
    if value is True:
        return _option(name)
    if isinstance(value, tuple):  # (name, low, high)
        first, *ends = value
        value = f"{first}={':'.join(f'{end:g}' for end in ends)}"
    return f"{_option(name)} {shlex.quote(str(value))}"
