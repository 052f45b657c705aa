"""Maps assembled from handmade runs: which axis is which, and what each number is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps.assemble import (
    MAX_FITTED_CELLS,
    assemble_map,
    informative_cells,
    judged_cells,
    map_facts,
)
from betaplane.maps.engine import Choice
from betaplane.maps.grid import explicit
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD, PhaseMap
from betaplane.maps.plan import Plan
from betaplane.maps.score_scale import ScoreScale, seed_verdicts
from betaplane.maps.store.run_record import Record
from betaplane.problems import Trainer
from betaplane.replicas import Options, Speeds

TRAINER = Trainer("mine", lambda settings, seed: [1.0])
BETA1S, BETA2S = (0.0, 0.9, 0.99), (0.9, 0.99, 0.999, 0.9999)


def record(seed: int, final: float, initial: float = 10.0) -> Record:
    return Record(f"{seed} {final}", {}, seed, 1, initial, final, np.array([final], np.float32))


def plan(**changes) -> Plan:
    axes = {"x": explicit("beta1", BETA1S), "y": explicit("beta2", BETA2S)}
    return Plan(**{**axes, "lr": 0.1, "batch_size": 4, "steps": 7, **changes})


def runs(last_of: dict | None = None) -> dict[tuple[int, int], list[Record]]:
    """Two seeds in each cell; beta2 = 0.9 fails, and so does beta1 = 0.99 below 0.9999."""
    last_of = last_of or {}
    finals = {
        (i, j): 9.0 if j == 0 or (i == 2 and j < 3) else 1.0 + 0.01 * (i + j)
        for i in range(3)
        for j in range(4)
    }
    return {
        spot: [record(0, final), record(1, last_of.get(spot, final))]
        for spot, final in reversed(finals.items())
    }


def assembled(records=None, settings=None, **changes) -> PhaseMap:
    return assemble_map(TRAINER, plan(**changes), records or runs(), settings, {"ended": "x"})


def test_a_map_is_judged_along_its_own_axes() -> None:
    found = assembled()
    expected = [[FAILING, GOOD, GOOD, GOOD], [FAILING, GOOD, GOOD, GOOD], [FAILING] * 3 + [GOOD]]
    assert found.verdicts.tolist() == expected
    assert (found.x.values, found.y.values) == (BETA1S, BETA2S)
    assert list(found.cells) == sorted(found.cells)
    assert found.cells[1, 2].settings["beta1"] == 0.9
    assert found.cells[1, 2].settings["beta2"] == 0.999
    assert (found.initial, found.best, found.trainings, found.steps) == (10.0, 1.01, 24, 7)
    assert (found.problem, found.rule, found.fixed["lr"]) == ("mine", "Adam", 0.1)
    assert ((found.p_fail > 0.5) == (found.verdicts == FAILING)).all()


def test_a_map_recommends_and_marks_on_its_own_axes() -> None:
    found = assembled(settings={"beta1": 0.99, "beta2": 0.9})
    assert found.recommendation.settings["beta1"] == BETA1S[found.recommendation.spot[0]]
    assert found.recommendation.settings["beta2"] == BETA2S[found.recommendation.spot[1]]
    assert found.recommendation.spot == (0, 1)
    assert {mark.label: (mark.x, mark.y, mark.verdict) for mark in found.marks} == {
        "(0.9, 0.999) torch's default": (0.9, 0.999, GOOD),
        "(0.9, 0.95) language models": (0.9, 0.95, FAILING),
        "yours": (0.99, 0.9, FAILING),
    }
    assert [curve.label for curve in found.curves] == ["beta1 = sqrt(beta2)", "beta1 = beta2"]
    assert "yours" not in [mark.label for mark in assembled().marks]
    other = assembled(y=explicit("lr", [1e-4, 1e-3, 1e-2, 0.1]), settings={"lr": 0.1})
    assert [mark.label for mark in other.marks] == []
    assert other.curves == ()


def test_with_a_limited_number_of_runs_a_surface_judges() -> None:
    """One bad seed of a cell amid good ones is outvoted there; alone it decides its cell."""
    axes = {
        "x": explicit("lr", np.geomspace(1e-4, 1, 8)),
        "y": explicit("eps", np.geomspace(1e-8, 1, 9)),
    }
    records = {
        (i, j): [record(0, 9.0 if j < 3 else 1.0), record(1, 9.0 if j < 3 else 1.0)]
        for i in range(8)
        for j in range(9)
    }
    records[4, 7][1] = record(1, 9.0)
    assert assembled(records, **axes).verdicts[4, 7] == FAILING
    limited = assembled(records, trainings=200, **axes)
    assert limited.verdicts.shape == (8, 9)
    assert limited.verdicts[4].tolist() == [FAILING] * 3 + [GOOD] * 6


def test_the_best_losses_are_of_each_batch_size_and_seed() -> None:
    """Of seeds beyond the plan's, the best is at most the mean best of the plan's own seeds."""
    sizes = plan(x=explicit("batch_size", [4, 16]), y=explicit("beta2", [0.9, 0.99]), seeds=2)
    records = {
        (0, 0): [record(0, 4.0), record(1, 6.0), record(2, 9.0)],
        (0, 1): [record(0, 5.0), record(1, 5.0)],
        (1, 0): [record(0, 2.0), record(1, 1.0), record(2, 0.5)],
        (1, 1): [record(2, math.inf)],
    }
    scale = ScoreScale(sizes, records, None)
    assert scale.best == {
        ((4,), 0): 4.0,
        ((4,), 1): 5.0,
        ((4,), 2): 4.5,
        ((16,), 0): 2.0,
        ((16,), 1): 1.0,
        ((16,), 2): 0.5,
    }
    alone = ScoreScale(sizes, {(0, 0): [record(2, 3.0)], (1, 0): [record(0, 8.0)]}, None)
    assert alone.best == {((4,), 2): 3.0, ((16,), 0): 8.0}
    assert scale.initial == 10.0
    middle = ScoreScale(sizes, {(0, 0): [record(s, 1.0, 8.0 + s) for s in (0, 1, 4)]}, None)
    assert middle.initial == 9.0


def test_a_run_that_diverged_is_no_best() -> None:
    scale = ScoreScale(plan(), {(0, 0): [record(0, math.nan), record(1, math.inf)]}, None)
    assert scale.best == {((), 0): 10.0, ((), 1): 10.0}
    assert scale.score((0, 0), record(0, math.nan)) == math.inf


def test_no_run_is_no_map() -> None:
    with pytest.raises(BadInput, match="No run was finished: got 0; expected at least 1"):
        ScoreScale(plan(), {(0, 0): []}, None)


def test_verdicts_are_of_each_seed_and_cells_of_all() -> None:
    records = runs({(0, 1): 1.4, (0, 2): 9.0})
    votes = seed_verdicts(plan(), records, 1.0)
    assert (votes[0, 1], votes[0, 2], votes[0, 0]) == (
        [GOOD, GOOD],
        [GOOD, FAILING],
        [FAILING, FAILING],
    )
    cells = judged_cells(plan(), records, 1.0)
    assert (cells[0, 2].verdict, cells[0, 2].p_fail) == (FAILING, 0.5)
    assert cells[0, 2].finals == (1.02, 9.0)
    assert judged_cells(plan(), runs({(0, 1): 3.0}), 1.0)[0, 1].verdict == DEGRADED


def test_a_surface_is_fitted_to_cells_near_a_change_and_a_selection_of_the_others() -> None:
    verdicts = np.zeros((40, 30), np.int8)
    verdicts[20:] = FAILING
    votes = {(x, y): [int(verdicts[x, y])] for x in range(40) for y in range(30)}
    near = {(x, y) for x in (19, 20) for y in range(30)}
    assert set(informative_cells(votes, verdicts, limit=2000)) == set(votes)
    for limit, near_kept, far_kept in (
        (60, 60, 60),
        (59, 30, 57),
        (1139, 60, 570),
        (1140, 60, 1140),
    ):
        found = informative_cells(votes, verdicts, limit=limit)
        assert len(near & set(found)) == near_kept
        assert len(set(found) - near) == far_kept
        assert all(found[spot] == votes[spot] for spot in found)
    assert len(set(informative_cells(votes, verdicts)) - near) == 380  # every third of 1,140
    assert MAX_FITTED_CELLS == 400


def test_facts_state_what_the_map_rests_on() -> None:
    facts = map_facts(TRAINER, plan(), Choice("callable"), 0, "finished")
    assert facts["ended"] == "finished"
    assert facts["engine"] == "callable"
    assert facts["minibatches"] == "the same for all runs of a seed"
    assert not {"why plain", "damaged runs", "best loss, each batch size"} & set(facts)
    options = Options(independent=True)
    sizes = plan(y=explicit("batch_size", [4, 16]), options=options)
    plain = Choice("plain", Speeds(0.0, 1.0, "it draws"))
    facts = map_facts(TRAINER, sizes, plain, 3, "finished")
    assert facts["why plain"] == "not stacked, because it draws"
    assert facts["damaged runs"] == "3 in the store, trained again"
    assert facts["minibatches"] == "each run its own"
    assert "best loss, each batch size" in facts
    known = Trainer("mine", TRAINER.train, best=0.0)
    assert "best loss, each batch size" not in map_facts(known, sizes, plain, 3, "finished")
