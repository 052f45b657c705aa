"""Whether code is the user's own or a library's."""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path

import torch

PREFIXES = (
    *(sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(torch.__file__).parents[1]),
    str(Path(__file__).parents[1]),
    "<frozen",
)
# Folders of libraries, wherever they are: of another environment on sys.path, of `pip install
# --user`, of a Linux distribution.
FOLDERS = {"site-packages", "dist-packages"}


@cache
def is_user_code(file: str | None) -> bool:
    """Whether the code of this file is the user's own; also if the file is not known.

    Example:
        >>> is_user_code(torch.__file__), is_user_code("/home/me/train.py"), is_user_code(None)
        (False, True, True)
        >>> is_user_code("/home/me/env/lib/python3.12/site-packages/transformers/__init__.py")
        False
    """
    if file is None:
        return True
    return not file.startswith(PREFIXES) and FOLDERS.isdisjoint(Path(file).parts)
