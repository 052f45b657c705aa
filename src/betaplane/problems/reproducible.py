"""Reject a problem file that does not give the same numbers at every load.

Worker processes load the file again, and so does a command that resumes a map. If random numbers
were drawn without a seed, each of them would train another problem.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from betaplane.errors import BadInput
from betaplane.problems._file import from_file
from betaplane.problems.contents import (
    Contents,
    Leaf,
    close,
    contents,
    differing_names,
    equal,
    leaf_of,
)
from betaplane.problems.generators import generator_states, preserve_generators
from betaplane.problems.module import fresh_imports
from betaplane.problems.problem import Problem, Trainer

SEED_CALLS = {
    "torch": "torch.manual_seed(0)",
    "NumPy": "numpy.random.seed(0)",
    "random": "random.seed(0)",
}
MAX_SHOWN_NAMES = 3


def load_twice(reference: str) -> tuple[Problem | Trainer, Contents]:
    """Load the problem in the user's file, and compare its contents with a second load.

    Raises:
        BadInput: the second load gives other numbers.
    """
    before = generator_states()
    problem = from_file(reference)
    drawn_from = [*generator_states().differences(before), "torch"][0]
    loaded = contents(problem)
    reloaded = _contents_of_second_load(reference)
    if reloaded is not None and (names := differing_names(loaded, reloaded, equal)):
        raise _difference(names, reference, SEED_CALLS[drawn_from])
    return problem, loaded


def check_same_contents(expected: Contents, problem: Problem | Trainer, where: str) -> None:
    """Raise BadInput if a problem's functions refer to other numbers than expected, up to
    rounding; data are not compared.
    """
    expected = {name: leaf for name, leaf in expected.items() if name not in ("inputs", "targets")}
    actual = contents(problem, data=False)
    names = differing_names(expected, actual, close)
    if extra := [name for name in names if name not in expected]:
        data = _data_leaves(problem)
        names = [name for name in names if name not in extra or actual[name] not in data]
    if names:
        raise _difference(names, where, SEED_CALLS["torch"])


def _data_leaves(problem: Problem | Trainer) -> list[Leaf]:
    """Inputs and targets: functions may refer to them too, and one process has them as one object
    and another as two.
    """
    if isinstance(problem, Trainer) or problem.data is not None:
        return []
    return [leaf_of(problem.inputs), leaf_of(problem.targets)]


def _difference(names: list[str], where: str, seed: str) -> BadInput:
    hidden = len(names) - MAX_SHOWN_NAMES
    shown = ", ".join(names[:MAX_SHOWN_NAMES]) + (f" and {hidden} more" if hidden > 0 else "")
    return BadInput(
        f"The data differ between two loads of the file ({shown})",
        allowed="the same numbers at every load, in every process",
        where=where,
        instead=f"{seed}  # before the first random number; or load saved tensors",
    )


def _contents_of_second_load(reference: str) -> Contents | None:
    """The contents of a second load that starts from other random states; None if the file can be
    loaded only once.
    """
    folder = Path(reference.rpartition(":")[0]).expanduser().resolve().parent
    with preserve_generators(), fresh_imports(folder):
        torch.seed()
        np.random.seed()
        random.seed()
        try:
            return contents(from_file(reference))
        except (Exception, SystemExit):  # such as a name that can be registered only once
            return None
