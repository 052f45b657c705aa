"""Twelve users' trainings: at most five lines of betaplane each, and the verdicts of plain loops."""

from __future__ import annotations

import pytest
from benchmarks.user_forms import FORMS, MAX_LINES, compare, user_form

NEEDS = {"libraries": "lightning", "gpt2": "transformers"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("name", FORMS)
def test_verdicts_of_a_users_training_equal_those_of_a_loop(name: str) -> None:
    module, prefix = FORMS[name]
    for needed in (NEEDS.get(module), NEEDS.get(prefix)):
        if needed:
            pytest.importorskip(needed)
    compared = compare(name)
    assert user_form(name).lines <= MAX_LINES
    assert compared.equal == len(compared.cells) == 10
    assert compared.largest_difference < 1e-4
    assert len({cell.verdict for cell in compared.phase_map.cells.values()}) >= 2
