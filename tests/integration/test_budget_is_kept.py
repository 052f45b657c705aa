"""A budget of time ends a map that would take hours, with what was finished by then."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn

import betaplane
from betaplane.maps.plan import plan_for
from betaplane.maps.scheduler import Progress, RunScheduler
from betaplane.maps.store.store import Store

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))


def slow(settings: dict[str, float], seed: int) -> list[float]:
    """One run takes as long as its seed says: seed 0 ends at once, others outlast every budget
    here.
    """
    time.sleep(0.01 if seed == 0 else 60)
    return [1.0, settings["beta2"]]


def test_runs_under_way_are_given_up_soon_after_the_time_is_spent() -> None:
    began = time.monotonic()
    phase_map = betaplane.map_phases(
        betaplane.Trainer("slow", slow), points=3, seeds=2, budget=4, workers=2, progress=False
    )
    assert phase_map.facts["ended"] == "time spent"
    assert phase_map.trainings >= 1
    assert time.monotonic() - began < 55  # a run with seed 1 takes a minute


def test_the_first_run_is_waited_for() -> None:
    def train(settings: dict[str, float], seed: int) -> list[float]:
        time.sleep(0.3)
        return [1.0, settings["beta2"]]

    problem = betaplane.Trainer("late", train)
    phase_map = betaplane.map_phases(problem, points=3, seeds=1, budget=0.1, workers=0)
    assert phase_map.facts["ended"] == "time spent"
    assert 1 <= phase_map.trainings < 9


def test_an_absurd_grid_costs_no_more_than_its_budget() -> None:
    problem = betaplane.Problem(
        "wide", lambda: nn.Linear(8, 1), nn.functional.mse_loss, X, X[:, :1], steps=50
    )
    phase_map = betaplane.map_phases(problem, points=200, seeds=50, budget=3, workers=0)
    assert phase_map.facts["ended"] == "time spent"
    assert phase_map.verdicts.shape == (200, 200)


def test_the_clock_of_a_plan_starts_when_the_call_does(tmp_path: Path) -> None:
    problem = betaplane.Trainer("slow", slow)
    plan = plan_for(problem, points=3, budget=100)
    with Store.open(tmp_path / "s.sqlite", "0" * 16, "slow") as store:
        seen: list[Progress] = []
        scheduler = RunScheduler(
            plan, None, store, "callable", 1, seen.append, began=time.monotonic() - 101
        )  # type: ignore[arg-type]
        assert not scheduler._is_late()  # nothing is finished yet
        scheduler.known = {"a run": None}  # type: ignore[dict-item]
        assert scheduler._is_late()
        later = RunScheduler(plan, None, store, "callable", 1, seen.append)  # type: ignore[arg-type]
        later.known = scheduler.known
        assert not later._is_late()
