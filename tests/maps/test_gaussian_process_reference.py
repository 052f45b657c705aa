"""The surface and the worth of a training against the textbook's formulas, written out with full
matrices.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD
from betaplane.maps.sampling.acquisition import BatchPlan, Surfaces, Uncertainty
from betaplane.maps.sampling.ask_tell import Dense, Refine, lattice
from betaplane.maps.sampling.gaussian_process import (
    AMPLITUDES,
    ASPECTS,
    LENGTHS,
    MAX_POINTS,
    fit,
)
from betaplane.maps.sampling.infer import fill, nearest
from betaplane.maps.sampling.laplace import Kernel, sigmoid
from betaplane.maps.sampling.quadtree import UNKNOWN, levels, mixed, split, start_lines
from betaplane.maps.sampling.quadtree import _sums as sums_of
from betaplane.maps.sampling.thin import _merged, thinned
from betaplane.maps.sampling.votes import beside_change
from betaplane.maps.store.store import Store


def sample(n: int = 40, seed: int = 0):
    random = np.random.default_rng(seed)
    points = random.uniform(0, 10, (n, 2))
    trials = random.integers(1, 4, n)
    return (
        points,
        random.binomial(trials, sigmoid(3 * (5 - points[:, 1] + np.sin(points[:, 0])))),
        trials,
    )


KERNEL = Kernel((3.0, 2.0), 4.0)


def test_the_kernel_is_matern_five_halves_plus_a_constant():
    """At (3, 0) and (0, 2) the distance is one length: c = sqrt(5)."""
    c = math.sqrt(5)
    one = 16 * (1 + c + 5 / 3) * math.exp(-c) + 4
    places = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [3.0, 2.0]])
    np.testing.assert_allclose(KERNEL(places[:1], places[:3]), [[20.0, one, one]])
    c = math.sqrt(10)
    assert KERNEL(places[:1], places[3:])[0, 0] == pytest.approx(
        16 * (1 + c + 10 / 3) * math.exp(-c) + 4
    )
    assert KERNEL.variance == 20.0


def test_the_fit_is_the_mode_of_the_posterior():
    """At the mode K^-1 f is the slope of the log likelihood (Rasmussen & Williams, 3.17)."""
    points, fails, trials = sample()
    surface = fit(points, fails, trials, KERNEL)
    order = np.lexsort((points[:, 1], points[:, 0]))
    np.testing.assert_array_equal(surface.points, points[order])
    f = KERNEL(surface.points, surface.points) @ surface.slope
    np.testing.assert_allclose(surface.slope, fails[order] - trials[order] * sigmoid(f), atol=0.02)
    assert np.abs(f).max() < 20
    np.testing.assert_allclose(surface.p_fail(surface.points), sigmoid(f), atol=1e-6)


def test_the_evidence_and_the_variance_are_those_of_laplace():
    """log p(y) = log p(y | f) - f K^-1 f / 2 - log |1 + W K| / 2, var = k - k* (K + W^-1)^-1 k*
    (3.32 and 3.24).
    """
    points, fails, trials = sample()
    order = np.lexsort((points[:, 1], points[:, 0]))
    points, fails, trials = points[order], fails[order], trials[order]
    surface = fit(points, fails, trials, KERNEL)
    covariance = KERNEL(points, points)
    f = covariance @ surface.slope
    w = trials * sigmoid(f) * sigmoid(-f)
    likelihood = (fails * f - trials * np.log1p(np.exp(f))).sum()
    expected = likelihood - f @ np.linalg.solve(covariance + 1e-9 * np.eye(40), f) / 2
    expected -= np.linalg.slogdet(np.eye(40) + w[:, None] * covariance)[1] / 2
    assert surface.evidence == pytest.approx(expected, abs=0.02)
    where = np.array([[1.0, 1.0], [5.0, 5.5], [30.0, 5.0]])
    cross = KERNEL(where, points)
    mean, sd = surface.latent(where)
    np.testing.assert_allclose(mean, cross @ surface.slope)
    removed = np.einsum("ij,ji->i", cross, np.linalg.solve(covariance + np.diag(1 / w), cross.T))
    np.testing.assert_allclose(sd**2, 20 - removed, rtol=1e-5)


def test_the_chosen_kernel_is_likelier_than_its_neighbors():
    points, fails, trials = sample(80)
    best = fit(points, fails, trials)
    (x, y), amplitude = best.kernel.length, best.kernel.amplitude
    assert amplitude in AMPLITUDES
    extent = np.ptp(points, axis=0)
    assert (
        min(abs(math.log(math.sqrt(x * y / extent.prod()) / length)) for length in LENGTHS) < 1e-9
    )
    for factor in (0.6, 1.6):
        assert (
            fit(points, fails, trials, Kernel((x * factor, y * factor), amplitude)).evidence
            < best.evidence + 0.05
        )
        assert (
            fit(points, fails, trials, Kernel((x * factor, y / factor), amplitude)).evidence
            < best.evidence + 0.05
        )


def test_a_long_strip_has_a_long_kernel_along_it():
    cells = np.indices((12, 12)).reshape(2, -1).T.astype(float)
    x, y = fit(cells, cells[:, 1] < 6, np.ones(144)).kernel.length
    assert x > y
    x, y = fit(cells, cells[:, 0] < 6, np.ones(144)).kernel.length
    assert x < y


def test_merged_points_are_weighted_means_and_keep_their_counts():
    points = np.array([[0.0, 0.0], [3.0, 6.0], [9.0, 9.0]])
    found = _merged(points, np.array([1, 0, 2]), np.array([1, 2, 4]), np.array([0, 0, -1]))
    assert [part.tolist() for part in found] == [[[2.0, 4.0], [9.0, 9.0]], [1.0, 2.0], [3.0, 4.0]]


def test_what_agrees_is_merged_first():
    """Of 1,600 cells in two halves those at the change stay single, and all counts are kept."""
    cells = np.indices((40, 40)).reshape(2, -1).T.astype(float)
    fails = (cells[:, 1] < 21).astype(float)
    points, failed, tried = thinned(cells, fails, np.ones(1600), MAX_POINTS)
    assert (failed.sum(), tried.sum()) == (fails.sum(), 1600)
    assert len(points) < 600
    assert np.isin(failed / tried, (0, 1)).all()
    many = np.indices((100, 100)).reshape(2, -1).T.astype(float)
    points, failed, tried = thinned(
        many, (many[:, 1] < 51).astype(float), np.ones(10_000), MAX_POINTS
    )
    assert (len(points) < 1200, failed.sum(), tried.sum()) == (True, 5100, 10_000)
    assert np.isin(failed / tried, (0, 1)).all()
    few = cells[:1200], fails[:1200], np.ones(1200)
    assert all(
        np.array_equal(now, then) for now, then in zip(thinned(*few, MAX_POINTS), few, strict=True)
    )


def doubt(max_runs: int = 4):
    points, fails, trials = sample()
    surface = fit(points, fails, trials, KERNEL)
    candidates = np.array([[1.0, 1.0], [5.0, 5.0], [5.0, 5.5], [9.0, 9.5]])
    return surface, candidates, Uncertainty(surface, candidates, max_runs)


def test_the_worth_of_a_training_is_doubt_of_the_sign_times_what_it_removes():
    surface, candidates, found = doubt()
    mean, sd = surface.latent(candidates)
    p = sigmoid(mean)
    for n in (1, 3):
        noise = np.minimum(1 / (p * (1 - p)), 50.0)
        wrong = 1 / (1 + np.exp(1.702 * np.abs(mean) / sd))
        expected = wrong * sd**2 / (sd**2 + noise / n) / n
        np.testing.assert_allclose(found.worth(np.full(4, n)), expected, rtol=1e-6)


def test_a_planned_training_removes_doubt_as_an_observation_would():
    """Conditioning on one more observation of noise s^2 / n: var - cov^2 / (var + noise / n)."""
    surface, candidates, found = doubt()
    mean, _ = surface.latent(candidates)
    p = sigmoid(mean)
    noise = np.minimum(1 / (p * (1 - p)), 50.0)
    white = surface.whiten(KERNEL(candidates, surface.points))
    posterior = KERNEL(candidates, candidates) - white @ white.T
    for index, n in ((1, 2), (2, 1)):
        found.add(index, n)
        column = posterior[:, index]
        posterior = posterior - np.outer(column, column) / (
            posterior[index, index] + noise[index] / n
        )
        wrong = 1 / (1 + np.exp(1.702 * np.abs(mean) / np.sqrt(np.diag(posterior))))
        expected = wrong * np.diag(posterior) / (np.diag(posterior) + noise)
        np.testing.assert_allclose(found.worth(np.ones(4)), expected, rtol=1e-5)


def plan(**how):
    points, fails, trials = sample()
    asked = {(5, 5): 1, (5, 6): 3, (9, 9): 1}
    options = {"seeds": 2, "cap": 3, "size": 6, **how}
    return BatchPlan(
        [fit(points, fails, trials, KERNEL)], asked, [(1, 1), (4, 5), (6, 5)], **options
    )


def test_a_plan_keeps_its_size_and_its_cap():
    found = plan()
    found.take(6)
    assert found.left == 0
    before = {(5, 5): 1, (5, 6): 3, (9, 9): 1}
    assert sum(n - before.get(spot, 0) for spot, n in found.chosen.items()) == 6
    assert max(found.chosen.values()) <= 3
    assert (5, 6) not in found.chosen  # it has as many as the cap
    everything = plan(size=100)
    everything.take(100)
    assert everything.chosen == {(5, 5): 3, (9, 9): 3, (1, 1): 3, (4, 5): 3, (6, 5): 3}
    assert everything.left == 100 - 4 - 9


def test_a_plan_takes_only_what_it_may_and_what_is_worth_it():
    found = plan()
    found.take(2, among=[(1, 1)])
    assert found.chosen == {(1, 1): 2}
    assert found.left == 4
    found.take(6, min_worth=1.0)
    assert found.chosen == {(1, 1): 2}
    odd = plan(size=1)
    odd.take(9, among=[(4, 5)])
    assert odd.chosen == {(4, 5): 1}  # a new spot gets what is left
    assert plan(seeds=2).chosen == {}


def test_a_known_spot_gets_one_more_run_and_a_new_one_its_seeds():
    known = plan(cap=2, size=2)
    known.take(2, among=[(5, 5)])
    assert (known.chosen, known.left) == ({(5, 5): 2}, 1)
    new = plan(cap=4, seeds=3, size=3)
    new.take(3, among=[(1, 1), (4, 5), (6, 5)])
    assert list(new.chosen.values()) == [3]


def test_of_cells_that_are_worth_the_same_the_first_is_taken():
    """So far away, the covariances with all points are equal to the last bit."""
    points, fails, trials = sample()
    far = [(3000, 0), (1000, 0), (2000, 0)]
    found = BatchPlan([fit(points, fails, trials, KERNEL)], {}, far, seeds=2, cap=2, size=4)
    found.take(4)
    assert found.chosen == {(1000, 0): 2, (2000, 0): 2}


def test_a_kernel_is_chosen_again_when_a_quarter_more_is_known():
    surfaces = Surfaces()
    votes = {(x, y): [FAILING if y < 4 else GOOD] for x in range(8) for y in range(8)}
    first = surfaces.fit(votes)
    assert len(first) == 1
    more = {**votes, **{(x, 8): [GOOD] for x in range(15)}}
    assert surfaces.fit(more)[0].kernel is first[0].kernel
    # 80 = 1.25 x 64
    assert surfaces.fit({**more, (15, 8): [GOOD]})[0].kernel is not first[0].kernel


def test_each_kind_of_change_has_a_surface():
    kinds = {(0, 0): [GOOD], (0, 5): [DEGRADED], (5, 0): [FAILING], (5, 5): [GOOD]}
    assert len(Surfaces().fit(kinds)) == 2
    assert len(Surfaces().fit({**kinds, (5, 0): [DEGRADED]})) == 1
    assert len(Surfaces().fit({**kinds, (0, 5): [GOOD]})) == 1
    assert len(Surfaces().fit({spot: [DEGRADED] for spot in kinds} | {(1, 1): [FAILING]})) == 1
    for one in (GOOD, DEGRADED, FAILING):
        assert Surfaces().fit({spot: [one] for spot in kinds}) == []


# the quadtree


def test_start_lines_are_three_apart_but_at_least_three():
    expected = {
        (1, 9): [0],
        (2, 9): [0, 1],
        (4, 9): [0, 2, 3],
        (5, 9): [0, 2, 4],
        (6, 9): [0, 2, 5],
        (7, 9): [0, 3, 6],
        (10, 9): [0, 3, 6, 9],
        (9, 3): [0, 4, 8],
    }
    assert {given: start_lines(*given).tolist() for given in expected} == expected


def test_boxes_are_halved_along_each_axis_that_is_wide():
    quarters = [[0, 1, 0, 1], [0, 1, 1, 2], [1, 2, 0, 1], [1, 2, 1, 2]]
    assert sorted(split(np.array([[0, 2, 0, 2]])).tolist()) == quarters
    assert split(np.array([[3, 4, 5, 6]])).tolist() == [[3, 4, 5, 6]]
    assert sorted(split(np.array([[0, 5, 7, 8]])).tolist()) == [[0, 2, 7, 8], [2, 5, 7, 8]]


def test_a_box_is_mixed_by_what_lies_within_its_reach():
    box = np.array([[0, 3, 0, 3]])
    places = {
        (7, 1): (False, False),
        (6, 6): (False, True),
        (3, 3): (True, True),
        (4, 0): (False, True),
    }
    for place, (alone, guarded) in places.items():
        seen = np.full((12, 12), UNKNOWN)
        seen[0, 0], seen[place] = GOOD, FAILING
        assert mixed(box, sums_of(seen), guard=False).tolist() == [alone]
        assert mixed(box, sums_of(seen), guard=True).tolist() == [guarded]


def test_the_ring_around_a_box_ends_at_the_edge_of_the_grid():
    for shape in ((4, 4), (4, 12), (12, 4)):
        seen = np.full(shape, UNKNOWN)
        seen[0, 0] = GOOD
        box = np.array([[0, 3, 0, 3]])
        assert mixed(box, sums_of(seen), guard=True).tolist() == [False]
        seen[-1, -1] = FAILING
        reached = max(shape) < 8
        assert mixed(box, sums_of(seen), guard=True).tolist() == [reached]
        seen[3, 3] = FAILING
        assert mixed(box, sums_of(seen), guard=True).tolist() == [True]
        last = np.array([[shape[0] - 4, shape[0] - 1, shape[1] - 4, shape[1] - 1]])
        assert mixed(last, sums_of(seen), guard=False).tolist() == [reached]


def test_only_boxes_of_known_corners_are_left_or_split():
    seen = np.full((7, 7), UNKNOWN)
    seen[0, 0] = seen[0, 3] = seen[3, 0] = GOOD
    missing, leaves = next(iter(levels(seen, 9, guard=False)))
    assert missing.tolist() == [[0, 6], [3, 3], [3, 6], [6, 0], [6, 3], [6, 6]]
    assert leaves.tolist() == []
    seen[3, 3] = GOOD
    assert next(iter(levels(seen, 9, guard=False)))[1].tolist() == [[0, 3, 0, 3]]
    seen[3, 3] = FAILING
    walked = list(levels(seen, 9, guard=False))
    assert walked[0][1].tolist() == []
    assert walked[1][0].tolist() == [[0, 1], [1, 0], [1, 1], [1, 3], [3, 1]]


def test_cells_are_filled_from_their_box_or_the_nearest_trained_one():
    assert nearest(np.array([[0, -1, -1, -1, 2]])).tolist() == [[0, 0, 0, 2, 2]]
    seen = np.full((5, 5), UNKNOWN)
    seen[3, 3], seen[0, 4] = GOOD, FAILING  # sqrt(18) and 4 from the corner
    assert nearest(seen)[0, 0] == FAILING
    assert fill((1, 7), {(0, 0): GOOD, (0, 3): GOOD, (0, 6): FAILING}).tolist() == [
        [0, 0, 0, 0, 0, 2, 2]
    ]
    inside = fill(
        (1, 7), {(0, 0): GOOD, (0, 1): GOOD, (0, 3): GOOD, (0, 6): FAILING, (0, 5): FAILING}
    )
    assert inside.tolist() == [[0, 0, 0, 0, 0, 2, 2]]


def test_a_budget_looks_at_up_to_64_cells_a_side():
    assert {x for x, _ in lattice((64, 1))} == set(range(64))
    assert sorted({x for x, _ in lattice((65, 1))}) == list(range(0, 65, 2))
    assert sorted({y for _, y in lattice((1, 193))}) == list(range(1, 193, 4))


def test_both_sides_of_a_change_are_beside_it():
    seen = np.array([[0, 0, 2], [0, 0, -1], [1, 0, 2]])
    assert beside_change(seen).tolist() == [
        [False, True, True],
        [True, False, False],
        [True, True, True],
    ]


# the chooser


def test_the_defaults_of_a_chooser():
    usual = Refine((100, 100))
    assert (usual.seeds, usual.boundary_seeds, usual.start, usual.guard, usual.batch) == (
        2,
        4,
        9,
        True,
        8,
    )
    assert usual.ask()[0].seeds == 2
    assert len(usual.ask()) == 81
    assert Refine((100, 100), budget=400).batch == 20
    assert Refine((100, 100), budget=159).batch == 8
    assert Dense((2, 2)).ask()[0].seeds == 2


def test_a_start_grid_takes_at_most_half_of_a_budget():
    """A start of 9 is 81 spots of one seed each, of 8 it is 64."""
    assert Refine((100, 100), seeds=1, budget=162).start == 9
    assert Refine((100, 100), seeds=1, budget=161).start == 8
    assert Refine((100, 100), seeds=2, budget=324).start == 9
    assert Refine((100, 100), seeds=2, budget=323).start == 8
    assert Refine((100, 100), seeds=1, budget=1).start == 2
    assert [request.seeds for request in Refine((100, 100), seeds=2, budget=5).ask()] == [2, 2, 1]


def test_spots_whose_seeds_disagree_are_trained_again():
    chooser = Refine((3, 3), seeds=3, boundary_seeds=4)
    votes = {request.spot: [GOOD] * 3 for request in chooser.ask()}
    votes[0, 0] = [GOOD, GOOD, FAILING]  # its verdict is good as that of all others
    chooser.tell(votes)
    while batch := chooser.ask():
        assert [(request.spot, request.seeds) for request in batch] == [((0, 0), 4)] or batch[
            0
        ].seeds == 3
        chooser.tell(
            {
                spot: [GOOD, GOOD, FAILING, GOOD][:seeds] if spot == (0, 0) else [GOOD] * 3
                for spot, seeds in batch
            }
        )
    assert len(chooser.votes[0, 0]) == 4
    assert all(len(given) == 3 for spot, given in chooser.votes.items() if spot != (0, 0))


def test_under_a_budget_a_quarter_of_a_batch_follows_the_tree():
    """Of a batch of 8 two runs go to the boxes along the change, coarsest first; all stay within
    the budget.
    """
    chooser = Refine((33, 33), seeds=1, budget=120, batch=8, start=5)
    runs = {}
    while batch := chooser.ask():
        runs |= {spot: [FAILING if spot[1] < 16.5 else GOOD] * seeds for spot, seeds in batch}
        chooser.tell(runs)
    assert sum(map(len, runs.values())) <= 120
    assert len(runs) > 25


def test_lengths_and_amplitudes_are_tried_on_ladders():
    """Lengths from 6% of the extent to all of it in steps of about sqrt(2); amplitudes double;
    aspects mirror.
    """
    steps = np.array(LENGTHS[1:]) / LENGTHS[:-1]
    assert (LENGTHS[0], LENGTHS[-1]) == (0.06, 1.0)
    assert ((steps > 1.4) & (steps < 1.6)).all()
    assert [math.log2(amplitude) for amplitude in AMPLITUDES] == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(np.array(ASPECTS) * ASPECTS[::-1], 1.0, atol=0.021)
    assert (ASPECTS[0], ASPECTS[2], ASPECTS[-1]) == (0.5, 1.0, 2.0)


def test_an_empty_file_is_no_store_to_read_from(tmp_path):
    (tmp_path / "map.sqlite").touch()
    with pytest.raises(BadInput, match="There is no such store"):
        Store.reopen(tmp_path / "map.sqlite")
