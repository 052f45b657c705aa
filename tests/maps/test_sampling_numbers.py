"""Parts of the sampling, on grids small enough to follow by hand."""

from __future__ import annotations

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD
from betaplane.maps.sampling.ask_tell import Refine
from betaplane.maps.sampling.gaussian_process import _KernelSearch
from betaplane.maps.sampling.infer import fill, fill_by_surface
from betaplane.maps.sampling.laplace import BIAS, Kernel, laplace
from betaplane.maps.sampling.quadtree import UNKNOWN, levels, roots, start_cells


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
