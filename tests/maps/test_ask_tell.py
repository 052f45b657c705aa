"""The chooser against planes whose verdicts are known everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.synthetic_maps import Bay, counterexample, labels, tongue, train
from hypothesis import given, settings
from hypothesis import strategies as st

from betaplane.errors import BadInput
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD
from betaplane.maps.sampling.ask_tell import Dense, Refine, Request, fill, fill_by_surface, verdict

BUDGET = 400


def verdicts_of(runs):
    return {spot: verdict(votes) for spot, votes in runs.items()}


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize(
    ("shape", "share"), [((64, 64), 0.35), ((128, 128), 0.2), ((24, 24), 0.6), ((30, 7), 0.95)]
)
def test_the_counterexample_is_judged_right_from_a_part_of_its_cells(shape, share, guard):
    truth = counterexample(*shape)
    runs = train(
        Refine(shape, seeds=1, boundary_seeds=1, guard=guard), lambda spot, _: int(truth[spot])
    )
    judged = fill(shape, verdicts_of(runs))
    assert len(runs) <= share * truth.size
    assert (judged != truth).mean() <= 0.005
    assert judged.dtype == np.int8


@pytest.mark.parametrize("width", [1.5, 3.0])
def test_a_tongue_that_leaves_the_boundary_is_followed(width):
    truth, strip = tongue(64, width, seed=3)
    runs = train(
        Refine((64, 64), seeds=1, boundary_seeds=1),
        lambda spot, _: FAILING if truth[spot] else GOOD,
    )
    assert (fill((64, 64), verdicts_of(runs))[strip] == FAILING).all()


def test_three_verdicts_are_distinguished():
    x, y = np.indices((40, 50))
    truth = np.select([x + y < 30, x + y < 45], [FAILING, DEGRADED], GOOD)
    runs = train(Refine((40, 50), seeds=1, boundary_seeds=1), lambda spot, _: int(truth[spot]))
    assert np.array_equal(fill((40, 50), verdicts_of(runs)), truth)
    runs = train(Refine((40, 50), seeds=1, budget=300), lambda spot, _: int(truth[spot]))
    assert (fill_by_surface((40, 50), runs)[0] != truth).mean() < 0.02


def misjudged(variant, width, seed, points):
    truth = Bay(variant, points).p_fail(width)
    runs = train(Refine((points, points), seeds=1, budget=BUDGET), labels(truth, seed))
    assert 0.9 * BUDGET < sum(map(len, runs.values())) <= BUDGET
    return ((fill_by_surface((points, points), runs)[0] == FAILING) != (truth > 0.5)).mean()


def test_400_trainings_misjudge_little_of_a_wave_and_an_island():
    assert misjudged(variant=11, width=0.0, seed=0, points=128) <= 0.01


def test_400_noisy_trainings_misjudge_little_too():
    assert (
        np.mean(
            [misjudged(variant=11 + seed, width=0.03, seed=seed, points=128) for seed in range(2)]
        )
        <= 0.031
    )


@pytest.mark.slow
def test_400_trainings_over_variants_and_noise_seeds():
    assert max(misjudged(variant, 0.0, 0, 256) for variant in range(20, 25)) <= 0.01
    assert (
        np.mean(
            [misjudged(variant, 0.03, seed, 256) for variant in range(20, 25) for seed in range(2)]
        )
        <= 0.031
    )


CHOOSERS = {
    "dense": lambda shape: Dense(shape, seeds=2),
    "refined": lambda shape: Refine(shape, seeds=2, boundary_seeds=4),
    "within a budget": lambda shape: Refine(shape, seeds=1, budget=150, batch=20),
}


def asks(chooser, label, *, more=0, pieces=1, backwards=False):
    """Every batch that is asked for; runs in so many pieces, in either order, with more seeds than
    were asked for.
    """
    history, runs = [], {}
    while batch := chooser.ask():
        history.append(batch)
        for part in range(pieces):
            for spot, seeds in batch[part::pieces]:
                runs[spot] = [label(spot, seed) for seed in range(seeds + more)]
            chooser.tell(dict(reversed(runs.items())) if backwards else runs)
            remaining = {
                spot for piece in range(part + 1, pieces) for spot, _ in batch[piece::pieces]
            }
            assert not remaining or {spot for spot, _ in chooser.ask()} == remaining
    return history


@pytest.mark.parametrize("kind", CHOOSERS)
def test_the_same_results_lead_to_the_same_questions(kind):
    label = labels(Bay(1, 40).p_fail(0.03), seed=0)
    history = asks(CHOOSERS[kind]((40, 40)), label)
    assert len(history) > 1 or kind == "dense"
    assert all(batch == sorted(batch) for batch in history)
    assert asks(CHOOSERS[kind]((40, 40)), label, more=3) == history
    assert asks(CHOOSERS[kind]((40, 40)), label, pieces=3) == history
    assert asks(CHOOSERS[kind]((40, 40)), label, backwards=True) == history


def test_what_was_not_asked_for_is_not_looked_at():
    chooser, other = Refine((20, 20), seeds=1), Refine((20, 20), seeds=1)
    first = {request.spot: [GOOD] for request in chooser.ask()}
    other.ask()
    chooser.tell(first)
    other.tell({**first, (1, 1): [FAILING]})
    assert chooser.ask() == other.ask() == []


def test_spots_beside_a_change_and_spots_that_disagree_are_repeated():
    runs = train(
        Refine((30, 30), seeds=2, boundary_seeds=5),
        lambda spot, _: FAILING if spot[1] < 12 else GOOD,
    )
    assert all(len(votes) == (5 if spot[1] in (11, 12) else 2) for spot, votes in runs.items())
    runs = train(
        Refine((9, 9), seeds=2, boundary_seeds=3),
        lambda spot, seed: FAILING * (spot == (0, 0) and seed == 0),
    )
    assert len(runs[(0, 0)]) == 3
    assert verdict(runs[(0, 0)]) == GOOD


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("budget", [1, 2, 5, 17, 90, 163])
def test_a_budget_is_kept(budget, seeds):
    label = labels(Bay(2, 30).p_fail(0.05), seed=0)
    runs = train(Refine((30, 30), seeds=seeds, boundary_seeds=6, budget=budget), label)
    assert 0 < sum(map(len, runs.values())) <= budget
    if budget >= 90:
        assert sum(map(len, runs.values())) == budget


def test_a_budget_beyond_the_whole_grid_ends():
    runs = train(
        Refine((6, 5), seeds=1, boundary_seeds=2, budget=10_000),
        labels(Bay(0, 6).p_fail(0.1), seed=0),
    )
    assert all(len(votes) <= 2 for votes in runs.values())


def test_a_budget_repeats_where_p_fail_is_near_one_half():
    truth = Bay(3, 64).p_fail(0.03)
    runs = train(Refine((64, 64), seeds=1, budget=300), labels(truth, seed=0))
    repeated = np.array([truth[spot] for spot, votes in runs.items() if len(votes) > 1])
    single = np.array([truth[spot] for spot, votes in runs.items() if len(votes) == 1])
    assert len(repeated) > 10
    assert np.abs(repeated - 0.5).mean() < np.abs(single - 0.5).mean()


shapes = st.tuples(st.integers(1, 14), st.integers(1, 14))


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 2**32), st.booleans(), st.integers(2, 9))
def test_on_any_grid_it_ends_and_keeps_what_was_trained(shape, seed, guard, start):
    truth = np.random.default_rng(seed).integers(0, 3, shape)
    runs = train(
        Refine(shape, seeds=1, boundary_seeds=2, start=start, guard=guard),
        lambda spot, _: int(truth[spot]),
    )
    judged = fill(shape, verdicts_of(runs), start=start)
    assert judged.shape == shape
    assert all(judged[spot] == truth[spot] for spot in runs)
    assert {(0, 0), (shape[0] - 1, shape[1] - 1)} <= set(runs)


def test_dense_is_every_cell_once():
    chooser = Dense((3, 2), seeds=2)
    assert chooser.ask() == [Request((x, y), 2) for x in range(3) for y in range(2)]
    assert len(train(chooser, lambda *_: GOOD)) == 6
    assert chooser.ask() == []


def test_fill_without_a_tree_takes_the_nearest():
    judged = fill((5, 5), {(1, 1): FAILING, (3, 4): GOOD}, start=2)
    assert judged[0, 0] == FAILING
    assert judged[4, 4] == GOOD


def test_fill_by_surface_outvotes_a_stray_label():
    votes = {(x, y): [FAILING if y < 6 else GOOD] * 3 for x in range(12) for y in range(12)}
    votes[(3, 9)] = [FAILING, GOOD, GOOD]
    judged, p_fail = fill_by_surface((12, 12), votes)
    assert judged[3, 9] == GOOD
    assert np.array_equal(judged[:, 0], np.full(12, FAILING))
    assert p_fail.min() >= 0
    assert p_fail.max() <= 1


@pytest.mark.parametrize("kind", [GOOD, DEGRADED, FAILING])
def test_one_verdict_everywhere(kind):
    runs = train(Refine((20, 20), seeds=1, budget=100), lambda *_: kind)
    assert (fill((20, 20), verdicts_of(runs), start=7) == kind).all()
    judged, p_fail = fill_by_surface((20, 20), runs)
    assert (judged == kind).all()
    assert ((p_fail > 0.5) == (kind == FAILING)).all()


BAD = [
    (lambda: Refine((0, 5)), "at least one cell: got (0, 5)"),
    (lambda: Refine((5, 5), seeds=0), "seeds is too small: got 0"),
    (lambda: Refine((5, 5), boundary_seeds=-1), "boundary_seeds is too small"),
    (lambda: Refine((5, 5), start=1), "expected [2, inf)"),
    (lambda: Refine((5, 5), budget=0), "budget=1"),
    (lambda: Refine((5, 5), budget=9, batch=-1), "batch is too small"),
    (lambda: Dense((5, 5), seeds=-3), "got -3"),
    (lambda: fill((5, 5), {}), "No cell was trained"),
    (lambda: fill_by_surface((5, 5), {}), "No cell was trained"),
    (lambda: fill((5, 5), {(5, 0): GOOD}), "outside the grid: got (5, 0)"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_input_raises(call, text):
    with pytest.raises(BadInput) as caught:
        call()
    assert text in str(caught.value)
