"""Planted causes are named first; healthy runs raise no alarm."""

from __future__ import annotations

import pytest
from zoo import HEALTHY, PLANTED


@pytest.mark.parametrize("name", PLANTED)
def test_the_planted_cause_is_named_first(name: str):
    watcher, _, _ = PLANTED[name]()
    first = watcher.report().splitlines()[0]
    assert watcher.alerts[0].cause == name.split(",")[0], first
    assert f": {name.split(',')[0]}. " in first


QUICK = ("batch 4", "full batch", "rare words")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in HEALTHY]
)
def test_healthy_runs_raise_no_alarm(name: str):
    watcher, _, losses = HEALTHY[name]()
    assert watcher.report() == f"No alarm in {len(losses)} steps."
    assert losses[-1] < losses[0]
