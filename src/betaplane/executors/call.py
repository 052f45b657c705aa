"""A call in a worker: the settings of torch, and errors of the user's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from betaplane.problems import Problem, Trainer
from betaplane.problems.check import call_user_code


def call(function: Callable, problem: Problem | Trainer, arguments: tuple) -> Any:
    """The function's result; an exception of the user's code, which may not pickle, becomes a
    BadInput.
    """
    what = f"Training {problem.name!r} failed"
    return call_user_code(what, lambda: function(problem, *arguments))


def set_up_torch(threads: int = 1) -> None:
    """Use few threads, and flush subnormal numbers, which slow down arithmetic many times.

    Two threads on busy cores were measured to be many times slower than one.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


@contextmanager
def worker_settings(threads: int = 1) -> Iterator[None]:
    """Use a worker's settings of torch in this process, and restore them at the end."""
    before = torch.get_num_threads()
    set_up_torch(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
