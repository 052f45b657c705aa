"""Large gradients are compared with those of the start, too: near a loss of 0 most have vanished."""

from __future__ import annotations

import pytest
from tests.monitor.test_detector_rules import find, history_of, run


def seen(norms: list[float]):
    history = history_of(*run(20))
    history.gradients.start(["w"])
    for step, norm in enumerate(norms, 1):
        history.gradients.add(step, [norm], [0])
    return find("exploding gradients", history)


USUAL, ONE_HUGE = [1.0] * 60, [*[1.0] * 50, 40.0, *[1.0] * 12]


def test_rare_gradients_far_above_the_usual_ones_explode():
    found = seen([*ONE_HUGE, 40.0])
    assert found is not None
    assert found.remedy == {"max_norm": 1.0}
    assert seen([*USUAL, 40.0]) is None  # one may be a corrupt batch
    assert seen([*ONE_HUGE, 29.0]) is None


@pytest.mark.parametrize(("largest", "explodes"), [(9.9, False), (10.1, True)])
def test_gradients_as_large_as_those_of_the_start_do_not_explode(largest, explodes):
    converged = [*[1.0] * 16, *[0.001] * 64]
    assert bool(seen([*converged, largest, *[0.001] * 5, largest])) is explodes
