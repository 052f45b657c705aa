"""Send a problem to worker processes: data in a memory-mapped file, functions by reference or
pickle.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems import Problem, Trainer
from betaplane.problems.contents import contents
from betaplane.problems.load import find_problem
from betaplane.problems.problem import SOURCES
from betaplane.problems.problem_checks import FUNCTIONS
from betaplane.problems.reproducible import check_same_contents

DATA = ("inputs", "targets")
CODE = (*FUNCTIONS, *SOURCES)  # fields that workers load by the problem's reference


class Parcel:
    """A problem that one process packs and worker processes open.

    The data are written once to a file in a temporary folder, and every worker maps it: all share
    one copy in memory, and a worker that writes into it gets private pages. Functions are loaded by
    the problem's reference if it has one, else they are pickled. In both cases, the numbers that
    they refer to are compared with the sender's.

    Args:
        problem: the problem to train.
    """

    def __init__(self, problem: Problem | Trainer) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="betaplane-"))
        loaded = problem.origin.contents if problem.origin else {}
        self.contents = loaded or contents(problem, data=False)
        self.origin = problem.origin
        stripped: Any = problem
        if isinstance(problem, Problem):
            stripped = _without(problem, DATA + (CODE if problem.origin else ()))
        try:
            # unpickled only in `open`: that may run the user's file, which may print
            self._pickled = cloudpickle.dumps(stripped)
            if isinstance(problem, Problem) and problem.data is None:
                self._write(problem)
        except BaseException:
            self.remove()
            raise

    def open(self) -> Problem | Trainer:
        """Load the problem in a worker.

        Raises:
            BadInput: the functions refer to other numbers than in the process that sent them.
        """
        problem: Problem | Trainer = cloudpickle.loads(self._pickled)
        if isinstance(problem, Problem):
            inputs, targets = self._tensors()
            functions = self._functions(inputs, targets)
            problem = _with_fields(problem, inputs=inputs, targets=targets, **functions)
        source = self.origin.reference if self.origin else f"problem {problem.name!r}"
        check_same_contents(self.contents, problem, source)
        return problem

    def remove(self) -> None:
        """Remove the file, if it exists."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, problem: Problem) -> None:
        try:
            tensors = _compact(problem.inputs), _compact(problem.targets)
            torch.save(tensors, self.folder / "data")
        except (OSError, RuntimeError) as error:
            size = problem.inputs.nbytes + problem.targets.nbytes
            raise BadInput(
                f"The data cannot be written for the workers ({str(error).splitlines()[0]})",
                allowed=f"a temporary folder with {size:,} free bytes",
                where=tempfile.gettempdir(),
                instead="workers=0, or TMPDIR=/elsewhere",
            ) from error

    def _tensors(self) -> tuple[Tensor | None, Tensor | None]:
        """Inputs and targets; None if the problem has other data."""
        path = self.folder / "data"
        if not path.exists():
            return None, None
        return torch.load(path, mmap=True, weights_only=False)

    def _functions(self, inputs: Tensor | None, targets: Tensor | None) -> dict[str, Any]:
        if self.origin is None:
            return {}
        problem: Any = find_problem(self.origin.reference)
        for copy_of_worker, shared in ((problem.inputs, inputs), (problem.targets, targets)):
            # free the worker's own copy, to which globals of the user's file still refer
            with suppress(Exception):  # there is no copy of data that are not in memory
                copy_of_worker.data = shared
        return {name: getattr(problem, name) for name in CODE}


def _compact(tensor: Tensor) -> Tensor:
    """The tensor with its own storage if it is a small part of a larger one."""
    if tensor.layout != torch.strided:
        return tensor
    return (
        tensor.clone() if tensor.untyped_storage().nbytes() > 2 * max(tensor.nbytes, 1) else tensor
    )


def _without(problem: Problem, names: tuple[str, ...]) -> Problem:
    return _with_fields(problem, **dict.fromkeys(names))


def _with_fields(problem: Problem, **fields: Any) -> Problem:
    """A copy with some fields replaced, not checked: a problem without data is not valid."""
    new = copy.copy(problem)
    for name, value in fields.items():
        object.__setattr__(new, name, value)
    return new
