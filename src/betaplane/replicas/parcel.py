"""One problem on its way to worker processes: its data in a file that all of them map, its
functions beside it.
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
from betaplane.problems.problem import FUNCTIONS
from betaplane.problems.reproducible import check_same_contents

DATA = ("inputs", "targets")


class Parcel:
    """A problem, packed in the process that loaded it and opened in workers.

    Data are written once to a file in a temporary folder, and every worker maps it: there is one copy in memory, the
    same for all, and a worker that writes into it gets pages of its own. Functions are loaded by the problem's
    reference if it has one, else pickled. Either way the numbers they refer to are compared with the sender's.

    Args:
        problem: the problem as it is to be trained.
    """

    def __init__(self, problem: Problem | Trainer) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="betaplane-"))
        loaded = problem.origin.contents if problem.origin else {}
        self.contents = loaded or contents(problem, data=False)
        self.origin = problem.origin
        bare: Any = problem
        if isinstance(problem, Problem):
            bare = _without(problem, DATA + (FUNCTIONS if problem.origin else ()))
        try:
            # opened late: that may run the user's file, which may print
            self._pickled = cloudpickle.dumps(bare)
            if isinstance(problem, Problem):
                self._write(problem)
        except BaseException:
            self.remove()
            raise

    def opened(self) -> Problem | Trainer:
        """The problem, in a worker.

        Raises:
            BadInput: the functions refer to other numbers here than where they were sent.
        """
        problem: Problem | Trainer = cloudpickle.loads(self._pickled)
        if isinstance(problem, Problem):
            inputs, targets = torch.load(self.folder / "data", mmap=True, weights_only=False)
            problem = _filled(
                problem, inputs=inputs, targets=targets, **self._functions(inputs, targets)
            )
        check_same_contents(
            self.contents,
            problem,
            self.origin.reference if self.origin else f"problem {problem.name!r}",
        )
        return problem

    def remove(self) -> None:
        """Remove the file; doing so twice is fine."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, problem: Problem) -> None:
        try:
            torch.save((_alone(problem.inputs), _alone(problem.targets)), self.folder / "data")
        except (OSError, RuntimeError) as error:
            raise BadInput(
                f"The data cannot be written for the workers ({str(error).splitlines()[0]})",
                allowed=f"a temporary folder with {problem.inputs.nbytes + problem.targets.nbytes:,} free bytes",
                where=tempfile.gettempdir(),
                instead="--workers 0, or TMPDIR=/elsewhere",
            ) from error

    def _functions(self, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
        if self.origin is None:
            return {}
        found: Any = find_problem(self.origin.reference)
        for own, shared in ((found.inputs, inputs), (found.targets, targets)):
            # give back the worker's own copy, which the file's names still refer to
            with suppress(Exception):
                own.data = shared
        return {name: getattr(found, name) for name in FUNCTIONS}


def _alone(data: Tensor) -> Tensor:
    """The tensor, without the rest of a larger one that it is a part of."""
    large = data.layout == torch.strided and data.untyped_storage().nbytes() > 2 * max(
        data.nbytes, 1
    )
    return data.clone() if large else data


def _without(problem: Problem, names: tuple[str, ...]) -> Problem:
    return _filled(problem, **dict.fromkeys(names))


def _filled(problem: Problem, **fields: Any) -> Problem:
    """A copy with some fields set as they are: a problem without its data would fail its own
    checks.
    """
    new = copy.copy(problem)
    for name, value in fields.items():
        object.__setattr__(new, name, value)
    return new
