"""Which loss scores 0: per seed, and per batch size where it varies."""

from __future__ import annotations

import numpy as np
import pytest

from betaplane.maps import DEGRADED, GOOD, map_phases
from betaplane.maps.grid import explicit
from betaplane.maps.plan import Plan, plan_for
from betaplane.maps.score_scale import ScoreScale, known_bests
from betaplane.maps.store.run_record import Record
from betaplane.problems import Trainer, counterexample


def record(seed: int, final: float, initial: float = 10.0) -> Record:
    return Record(f"{seed} {final}", {}, seed, 1, initial, final, np.array([final], np.float32))


def plan(seeds: int = 2) -> Plan:
    axes = explicit("beta1", [0.0, 0.9]), explicit("beta2", [0.9, 0.99])
    return Plan(*axes, lr=0.1, batch_size=4, steps=1, seeds=seeds)


def test_each_seed_is_scored_against_its_own_best():
    """Seed 1 is lucky everywhere: 1 and 2 against 5 and 6. Both seeds score alike."""
    records = {(0, 0): [record(0, 5.0), record(1, 1.0)], (1, 0): [record(0, 6.0), record(1, 2.8)]}
    scale = ScoreScale(plan(), records, None)
    scores = [[scale.score(spot, run) for run in runs] for spot, runs in records.items()]
    assert scores == [[0.0, 0.0], [pytest.approx(0.2), pytest.approx(0.2)]]


def test_a_seed_that_only_ran_near_a_change_is_scored_against_the_mean_best_of_the_others():
    """Seed 2 ran at one bad cell only: its best there, 7, is no reference; (2 + 4) / 2 is."""
    near = [record(0, 8.0), record(1, 9.0), record(2, 7.0)]
    records = {(0, 0): [record(0, 2.0), record(1, 4.0)], (1, 0): near}
    scale = ScoreScale(plan(), records, None)
    assert scale.score((1, 0), near[2]) == pytest.approx((7 - 3) / (10 - 3))


def test_a_known_best_is_the_same_for_all():
    records = {(0, 0): [record(0, 5.0), record(1, 1.0)]}
    scale = ScoreScale(plan(), records, 0.0)
    assert [scale.score((0, 0), run) for run in records[0, 0]] == [0.5, 0.1]


def losses(settings: dict[str, float], seed: int) -> list[float]:
    """4 at batch size 4 and 2 at 16, half as much at beta2 = 0.99; seed 1 ends 0.1 higher."""
    half = 0.5 if settings["beta2"] == 0.99 else 1.0
    return [10.0, half * 16 / settings["batch_size"] ** 0.5 / 2 + 0.1 * seed]


def test_batch_sizes_are_compared_with_themselves_and_the_page_says_so():
    axes = explicit("batch_size", [4, 16]), explicit("beta2", [0.9, 0.99])
    found = map_phases(Trainer("sizes", losses), *axes, dense=True, workers=0)
    assert found.verdicts.tolist() == [[DEGRADED, GOOD], [DEGRADED, GOOD]]
    assert found.best == 1.0
    assert found.facts["best loss, each batch size"] == "the lowest loss reached with it scores 0"
    betas = explicit("beta1", [0.0, 0.9]), axes[1]
    other = map_phases(
        Trainer("sizes", losses, defaults={"batch_size": 4}), *betas, dense=True, workers=0
    )
    assert other.best == 2.0
    assert "best loss, each batch size" not in other.facts


def test_runs_without_an_initial_loss_do_not_count_in_its_median():
    found = ScoreScale(
        plan(), {(0, 0): [record(s, 1.0, i) for s, i in ((0, np.inf), (1, 8.0))]}, None
    )
    assert found.initial == 8.0
    lost = ScoreScale(plan(), {(0, 0): [record(0, np.inf, np.nan)]}, 0.0)
    assert np.isnan(lost.initial)


def test_each_variant_of_a_problem_has_its_own_scale():
    """n = 5 begins at 4 and reaches 1, n = 20 begins at 40 and reaches 20; 2.5 and 30 are halfway."""
    sizes = plan_for(counterexample(), ("n", 5, 20), ("beta2", 0.9, 0.99), points=2)
    records = {
        (0, 0): [record(0, 1.0, 4.0)],
        (0, 1): [record(0, 2.5, 4.0)],
        (1, 0): [record(0, 20.0, 40.0)],
        (1, 1): [record(0, 30.0, 40.0)],
    }
    scale = ScoreScale(sizes, records, None)
    assert [scale.score(spot, run) for spot, [run] in records.items()] == [0.0, 0.5, 0.0, 0.5]
    assert sorted(scale.best.values()) == [1.0, 20.0]
    assert scale.initial == 22.0


def test_the_known_best_is_that_of_each_variant():
    """-3 / (2 n) on the counterexample."""
    problem = counterexample()
    sizes = plan_for(problem, ("n", 5, 20), ("beta2", 0.9, 0.99), points=2)
    best_of = known_bests(problem, sizes)
    assert [best_of((i, j)) for i in (0, 1) for j in (0, 1)] == pytest.approx(
        [-0.3, -0.3, -0.075, -0.075]
    )
    betas = plan_for(problem, points=2)
    assert known_bests(problem, betas) == problem.best
    trainer = Trainer("mine", losses, best=0.25)
    assert known_bests(trainer, plan()) == 0.25
    scale = ScoreScale(sizes, {(0, 0): [record(0, 1.0)], (1, 1): [record(0, 2.0)]}, best_of)
    assert sorted(scale.best.values()) == pytest.approx([-0.3, -0.075])
