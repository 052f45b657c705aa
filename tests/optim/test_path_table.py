"""Every rule x option x path x size x gradient: paths agree. `pytest -m slow -s
tests/optim/test_path_table.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from path_table import AROUND, LARGE, SMALL, compared, stacked, variants

from betaplane.optim.base import GROUP_OPTIONS, OPTIMIZER_OPTIONS
from betaplane.rules import ALL, Rule

every = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


@pytest.fixture(scope="module")
def totals() -> Iterator[Counter]:
    """Counts over all tests of the module, printed at its end."""
    counts: Counter = Counter()
    yield counts
    print(f"\n{counts['combinations']:,} combinations, {counts['disagreements']} disagreements")


def check(totals: Counter, checked: list[tuple[int, list[str]]]) -> None:
    wrong = [text for _, found in checked for text in found]
    totals["combinations"] += sum(count for count, _ in checked)
    totals["disagreements"] += len(wrong)
    assert not wrong, "\n".join(wrong)


def test_every_option_of_the_optimizers_is_in_the_table() -> None:
    assert set(AROUND) == {*GROUP_OPTIONS, *OPTIMIZER_OPTIONS, "maximize"} - {"path"}


@every
def test_paths_agree_at_the_defaults(kind: type[Rule], totals: Counter) -> None:
    plain, *others = variants(kind)
    options = [one for one in others if one.options.keys() & {"clip", "cautious", "d"}][:1]
    check(
        totals,
        [
            compared(plain, (255, 4096, 65_536)),
            stacked(plain),
            *(compared(one, (65_536,)) for one in options),
        ],
    )


@pytest.mark.slow
@every
def test_paths_agree_at_every_option(kind: type[Rule], totals: Counter) -> None:
    check(totals, [compared(variant, (*SMALL, *LARGE)) for variant in variants(kind)])


@pytest.mark.slow
@every
def test_stacked_replicas_agree_at_every_option(kind: type[Rule], totals: Counter) -> None:
    check(
        totals, [stacked(one) for one in variants(kind) if not one.options.keys() & AROUND.keys()]
    )
