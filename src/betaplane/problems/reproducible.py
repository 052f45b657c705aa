"""Refuse a problem file that does not give the same numbers at every load.

Worker processes load the file again, and so does the command that resumes a map: with random
numbers that were drawn without a seed, each of them would train another problem.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from betaplane.errors import BadInput
from betaplane.problems._file import from_file
from betaplane.problems.contents import Contents, close, contents, differing, equal
from betaplane.problems.module import imported_again
from betaplane.problems.problem import Problem, Trainer

# one for each of `_states`
SEEDS = ("torch.manual_seed(0)", "numpy.random.seed(0)", "random.seed(0)")
SHOWN = 3  # names in the sentence


def reproducible(reference: str) -> tuple[Problem | Trainer, Contents]:
    """The problem in the user's file and its contents, which a second load of the file has
    confirmed.

    Raises:
        BadInput: the second load gives other numbers.
    """
    before = _states()
    found = from_file(reference)
    after = _states()
    made_of = contents(found)
    again = _loaded_again(reference)
    if again is not None and (names := differing(made_of, again, equal)):
        raise _refusal(
            names,
            reference,
            next((s for s, b, a in zip(SEEDS, before, after, strict=True) if b != a), SEEDS[0]),
        )
    return found, made_of


def check_same(expected: Contents, found: Problem | Trainer, where: str) -> None:
    """Refuse a problem whose functions refer to other numbers than expected, rounding aside; data
    are not compared.
    """
    expected = {name: leaf for name, leaf in expected.items() if name not in ("inputs", "targets")}
    if names := differing(expected, contents(found, data=False), close):
        raise _refusal(names, where, SEEDS[0])


def _refusal(names: list[str], where: str, seed: str) -> BadInput:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return BadInput(
        f"The data differ between two loads of the file ({', '.join(names[:SHOWN])}{more})",
        allowed="the same numbers at every load, in every process",
        where=where,
        instead=f"{seed}  # before the first random number; or load tensors that you saved",
    )


def _loaded_again(reference: str) -> Contents | None:
    """The contents at a second load, which starts from other random states; None if the file loads
    only once.
    """
    folder = Path(reference.rpartition(":")[0]).expanduser().resolve().parent
    with _other_states(), imported_again(folder):
        try:
            return contents(from_file(reference))
        except (Exception, SystemExit):  # such as a name that can be registered only once
            return None


def _states() -> list[Any]:
    numpy_state = np.random.get_state(legacy=False)
    return [torch.get_rng_state().tolist(), repr(numpy_state), random.getstate()]


@contextmanager
def _other_states() -> Iterator[None]:
    """Fresh entropy for the three global generators; afterwards they are as before."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.seed()
    np.random.seed()
    random.seed()
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
