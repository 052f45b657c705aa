"""Parts of the sampling, on grids small enough to follow by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.synthetic_maps import train

from betaplane.errors import BadInput
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD
from betaplane.maps.sampling.ask_tell import Refine
from betaplane.maps.sampling.gaussian_process import _KernelSearch, fit
from betaplane.maps.sampling.infer import fill, fill_by_surface
from betaplane.maps.sampling.laplace import BIAS, Kernel, laplace
from betaplane.maps.sampling.quadtree import UNKNOWN, levels, roots, start_cells
from betaplane.maps.sampling.thin import thinned
from betaplane.maps.sampling.votes import verdict, verdict_grid
from betaplane.maps.sampling.wilson import wilson


@pytest.mark.parametrize("turned", [False, True])
def test_boxes_of_two_steps_are_split_and_of_one_step_are_not(turned: bool) -> None:
    seen = np.array([[GOOD] * 2, [UNKNOWN] * 2, [FAILING] * 2, [UNKNOWN] * 2, [FAILING] * 2])
    first, second = levels(seen.T if turned else seen, 9, guard=False)
    rest = [0, 1, 2, 4] if turned else [2, 4, 0, 1]
    assert (first[0].tolist(), first[1].tolist()) == ([], [rest])
    assert second[0].tolist() == ([[0, 1], [1, 1]] if turned else [[1, 0], [1, 1]])
    narrow = np.array([[GOOD, GOOD], [FAILING, FAILING]])
    [(missing, leaves)] = levels(narrow, 9, guard=False)
    assert (missing.tolist(), leaves.tolist()) == ([], [[0, 1, 0, 1]])


def test_boxes_of_the_start_grid_touch_and_cover() -> None:
    assert roots((7, 2), 9).tolist() == [[0, 3, 0, 1], [3, 6, 0, 1]]
    assert roots((1, 4), 9).tolist() == [[0, 0, 0, 2], [0, 0, 2, 3]]
    assert start_cells((7, 2), 9) == 6
    assert start_cells((1, 1), 9) == 1


def test_points_on_a_line_have_an_extent_of_one_across_it() -> None:
    points = np.array([[0.0, 5.0], [4.0, 5.0], [2.0, 5.0]])
    ones = np.ones(3)
    assert _KernelSearch(points, ones, ones).extent == [4.0, 1.0]
    assert _KernelSearch(points[:, ::-1], ones, ones).extent == [1.0, 4.0]


def test_variance_at_a_point_falls_by_what_its_run_explains() -> None:
    """One run of two: f = 0 if half fail, so the noise is 1 / (2 / 4) = 2."""
    kernel = Kernel((1.0, 1.0), 2.0)
    prior = 4.0 + BIAS**2
    surface = laplace(kernel, np.zeros((1, 2)), np.ones(1), np.full(1, 2.0))
    mean, deviation = surface.latent(np.array([[0.0, 0.0], [100.0, 0.0]]))
    assert mean == pytest.approx([0.0, 0.0], abs=1e-9)
    there = BIAS**2  # far away only the constant is shared
    assert deviation**2 == pytest.approx(
        [prior - prior**2 / (prior + 2), prior - there**2 / (prior + 2)]
    )


def test_start_that_is_worse_than_zero_is_not_taken() -> None:
    kernel = Kernel((1.0, 1.0), 2.0)
    points, fails, trials = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([1.0, 0.0]), np.ones(2)
    alone = laplace(kernel, points, fails, trials)
    for start in (np.array([9.0, -9.0]), np.array([-50.0, 50.0]), np.zeros(2)):
        found = laplace(kernel, points, fails, trials, start)
        assert found.evidence == pytest.approx(alone.evidence, abs=1e-3)
        assert found.slope == pytest.approx(alone.slope, abs=1e-2)


def test_three_verdicts_are_filled_by_their_surfaces() -> None:
    trained = {
        (x, y): [GOOD if x < 3 else DEGRADED if x < 6 else FAILING] * 3
        for x in range(9)
        for y in range(0, 9, 2)
    }
    filled, p_fail = fill_by_surface((9, 9), trained)
    assert filled[:, 1].tolist() == [GOOD] * 3 + [DEGRADED] * 3 + [FAILING] * 3
    assert p_fail[1, 1] < 0.1 < 0.9 < p_fail[7, 1]


def test_cells_outside_the_grid_and_grids_without_cells_are_refused() -> None:
    for cell in ((2, 0), (0, 2), (-1, 0)):
        with pytest.raises(BadInput):
            fill((2, 2), {cell: GOOD})
    with pytest.raises(BadInput):
        fill((2, 2), {})


def test_batch_is_a_twentieth_of_the_budget_and_at_least_eight() -> None:
    sizes = {None: 8, 100: 8, 179: 8, 180: 9, 400: 20}
    for budget, size in sizes.items():
        assert Refine((64, 64), budget=budget).batch == size
    assert Refine((64, 64), budget=400, batch=3).batch == 3
    for name, low in (
        ("seeds", 1),
        ("boundary_seeds", 1),
        ("start", 2),
        ("budget", 1),
        ("batch", 1),
    ):
        Refine((64, 64), **{name: low})
        with pytest.raises(BadInput, match=f"{name} is too small: got {low - 1}"):
            Refine((64, 64), **{name: low - 1})


def test_intervals_stay_within_0_and_1() -> None:
    for trials in range(1, 60):
        for fails in range(trials + 1):
            low, high = wilson(fails, trials)
            assert 0.0 <= low < high <= 1.0
            assert low - 1e-12 < fails / trials < high + 1e-12


def test_a_quarter_of_a_batch_follows_the_splits_of_the_tree() -> None:
    """A disk of failures; the tree alone would take 7 of the 16 runs, the surface alone none."""
    chooser = Refine((65, 65), seeds=1, budget=240, start=5, batch=16)
    first = chooser.ask()
    chooser.tell({(x, y): [FAILING if x * x + y * y < 1000 else GOOD] for (x, y), _ in first})
    missing = [
        {(int(x), int(y)) for x, y in spots}
        for spots, _ in levels(verdict_grid((65, 65), chooser.votes), 5, chooser.guard)
    ]
    batch = chooser.ask()
    assert (len(first), len(missing[0]), len(missing[1])) == (25, 0, 33)
    assert sum(spot in missing[1] for spot, _ in batch) == 4


def test_a_fixed_subset_of_the_points_chooses_the_kernel() -> None:
    """Labels of points outside of the 200 that are drawn do not change it."""
    cells = np.indices((20, 20)).reshape(2, -1).T.astype(float)
    drawn = np.sort(np.random.default_rng(0).permutation(400)[:200])
    fails = (cells[:, 1] < 10).astype(float)
    noisy = np.random.default_rng(1).integers(0, 2, 400).astype(float)
    noisy[drawn] = fails[drawn]
    ones = np.ones(400)
    assert fit(cells, noisy, ones).kernel == fit(cells, fails, ones).kernel
    noisy[drawn[::2]] = 1 - noisy[drawn[::2]]
    assert fit(cells, noisy, ones).kernel != fit(cells, fails, ones).kernel


def test_points_of_other_shapes_are_refused() -> None:
    for points in (np.zeros(2), np.zeros((2, 3)), np.zeros((2, 2, 1)), np.zeros((0, 2))):
        with pytest.raises(BadInput, match="shapes of the trained points do not match"):
            fit(points, np.zeros(len(points)), np.ones(len(points)))
    for trials in (np.ones(1), np.ones(3)):
        with pytest.raises(BadInput, match="do not match"):
            fit(np.zeros((2, 2)), np.zeros(2), trials)
    for fails, trials in (([-1.0, 0.0], [1.0, 1.0]), ([0.0, 0.0], [1.0, 0.5]), ([0, 2], [1, 1])):
        with pytest.raises(BadInput, match="Invalid counts of failures"):
            fit(np.zeros((2, 2)), np.array(fails), np.array(trials))
    for point in ([math.nan, 1.0], [1.0, math.inf]):
        with pytest.raises(BadInput, match="expected finite points"):
            fit(np.array([[0.0, 0.0], point]), np.zeros(2), np.ones(2))
    assert fit(np.zeros((2, 2)), np.array([0, 1]), np.ones(2)).evidence < 0


def test_a_budget_is_spent_on_runs_that_are_worth_a_thousandth() -> None:
    """Of 64 cells in a row the last repeats are worth 0.001 to 0.01 each."""
    runs = train(
        Refine((64, 1), seeds=1, boundary_seeds=2, budget=2000, batch=40),
        lambda spot, _: FAILING if spot[0] < 4 else GOOD,
    )
    assert [len(votes) for votes in runs.values()] == [2] * 64


def test_the_verdict_of_a_cell_is_the_upper_median() -> None:
    votes = {(GOOD,): 0, (GOOD, FAILING): 2, (0, 1, 2): 1, (0, 0, 1, 1): 1, (0, 0, 0, 2): 0}
    assert {seeds: verdict(seeds) for seeds in votes} == votes
    grid = verdict_grid((2, 3), {(0, 1): [GOOD, FAILING], (1, 2): [DEGRADED]})
    assert grid.tolist() == [[-1, 2, -1], [-1, -1, 1]]


def test_blocks_of_agreeing_points_become_one_point_each() -> None:
    """Of 4 x 4 points, columns 0 and 1 are merged first, then 2 as well; 3 is a block of its own."""
    cells = np.indices((4, 4)).reshape(2, -1).T.astype(float)
    points, fails, trials = thinned(cells, np.zeros(16), np.ones(16), 4)
    assert points.tolist() == [[1, 1], [1, 3], [3, 1], [3, 3]]
    assert (fails.tolist(), trials.tolist()) == ([0] * 4, [9, 3, 3, 1])
    points, _, trials = thinned(cells, np.zeros(16), np.ones(16), 9)
    assert sorted({x for x, _ in points.tolist()}) == [0.5, 2, 3]
    assert trials.tolist() == [4, 2, 2, 2, 1, 1, 2, 1, 1]
    assert len(thinned(cells, np.zeros(16), np.ones(16), 16)[0]) == 16


def test_points_that_disagree_are_merged_last() -> None:
    """One failure in a corner: its block stays apart until the limit leaves no choice."""
    cells = np.indices((4, 4)).reshape(2, -1).T.astype(float)
    fails = np.zeros(16)
    fails[0] = 1
    points, failed, trials = thinned(cells, fails, np.ones(16), 12)
    assert (len(points), failed.sum(), trials.sum()) == (12, 1, 16)
    assert trials[failed > 0].tolist() == [1]
    points, failed, trials = thinned(cells, fails, np.ones(16), 1)
    assert (points.tolist(), failed.tolist(), trials.tolist()) == ([[1.5, 1.5]], [1], [16])


def test_boxes_of_the_usual_start_grid_are_filled_from_their_own_corners() -> None:
    """(4, 2) is nearer to a failure at (6, 2), in the next box, than to a corner of its own."""
    shape = (40, 40)
    trained = {request.spot: GOOD for request in Refine(shape).ask()} | {(6, 2): FAILING}
    filled = fill(shape, trained)
    assert filled[4, 2] == GOOD
    assert np.array_equal(filled, fill(shape, trained, start=Refine(shape).start))
    assert fill(shape, trained, start=10)[4, 2] == FAILING  # whose corners were not trained
