"""Planted causes are named first, healthy runs raise no alert, and remedies work."""

from __future__ import annotations

import pytest
from benchmarks.detection import first_cause, repeat_with_remedy
from benchmarks.failures.planted import HEALTHY, PLANTED

LONG = (
    "warmup too short",
    "stale second moment",
    "second moment underflow, standing still",
    "learning rate too large, later",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in PLANTED],
)
def test_the_planted_cause_is_named_first(name: str):
    watcher, _, _ = PLANTED[name]()
    assert first_cause(watcher) == watcher.alerts[0].cause == name.split(",")[0], (
        watcher.report().splitlines()[0]
    )
    assert watcher.alerts[0].remedy


QUICK = ("batch 4", "full batch", "rare words")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in HEALTHY],
)
def test_healthy_runs_raise_no_alert(name: str):
    watcher, _, losses = HEALTHY[name]()
    assert watcher.report().startswith(f"No alert in {len(losses)} steps, ")
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_remedies_end_most_failures():
    gone = {name: repeat_with_remedy(make)[3] for name, make in PLANTED.items()}
    assert sum(gone.values()) >= len(PLANTED) - 3, gone


def test_the_remedy_agrees_with_its_sentence():
    watcher, _, _ = PLANTED["beta1^2 >= beta2"]()
    alert = watcher.alerts[0]
    assert alert.remedy == {"beta2": 0.95}
    assert alert.change.startswith("beta2=0.95")
    assert alert.row()["remedy"] == alert.remedy


@pytest.mark.slow
def test_a_short_warmup_is_remedied_by_the_proposed_one():
    alert, before, after, gone = repeat_with_remedy(PLANTED["warmup too short"])
    assert gone
    assert alert.remedy == {"warmup": 2000}
    assert after < before / 2


def test_the_alert_contains_the_replay():
    watcher, _, _ = PLANTED["adaptive edge of stability"]()
    row = watcher.alerts[0].replayed
    assert row["last"] == watcher.alerts[0].step
    assert row["actual"] == pytest.approx(
        max(row["sizes"][len(row["sizes"]) // 2 :]) / row["band"], rel=1e-5
    )
    changes = [key for outcome in row["outcomes"] for key in outcome["change"]]
    # the first is the remedy
    assert sorted(changes) == ["beta1", "beta2", "beta2", "clip", "eps", "eps", "lr", "skip"]
