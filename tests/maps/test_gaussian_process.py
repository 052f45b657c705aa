"""P(fail) between few, noisy trainings."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.synthetic_maps import Bay

from betaplane.errors import BadInput
from betaplane.maps.sampling.gaussian_process import MAX_POINTS, fit, p_fail
from betaplane.maps.sampling.wilson import wilson

CELLS = np.indices((64, 64)).reshape(2, -1).T.astype(float)


def sample(width, count, seed=0, trainings=1):
    """Points on the 64 x 64 grid, failures there, and the true P(fail) of every cell."""
    random, truth = np.random.default_rng(seed), Bay(7, 64).p_fail(width).reshape(-1)
    chosen = random.permutation(len(CELLS))[:count]
    return (
        CELLS[chosen],
        random.binomial(trainings, truth[chosen]),
        np.full(count, trainings),
        truth,
    )


def test_wilson_pencil_numbers():
    z2 = 1.959963984540054**2
    assert wilson(0, 4) == pytest.approx((0, z2 / (4 + z2)))
    assert wilson(4, 4) == pytest.approx((4 / (4 + z2), 1))
    assert wilson(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert wilson(0, 0) == (0, 1)


def test_wilson_covers_p_about_95_percent_of_the_time():
    p, trials = 0.3, 20
    drawn = np.random.default_rng(0).binomial(trials, p, 2000)
    covered = [low <= p <= high for low, high in (wilson(int(fails), trials) for fails in drawn)]
    assert 0.93 < np.mean(covered) < 0.985


def test_it_recovers_a_noisy_surface():
    points, fails, trials, truth = sample(width=0.03, count=600, trainings=2)
    found = p_fail(points, fails, trials, CELLS)
    assert np.abs(found - truth).mean() < 0.04
    assert ((found > 0.5) != (truth > 0.5)).mean() < 0.04


def test_it_follows_a_sharp_boundary():
    points, fails, trials, truth = sample(width=0.0, count=600)
    found = p_fail(points, fails, trials, CELLS)
    assert ((found > 0.5) != (truth > 0.5)).mean() < 0.02
    assert np.abs(found - truth).mean() < 0.05


def test_pure_noise_is_called_noise():
    random = np.random.default_rng(0)
    points = random.uniform(size=(300, 2))
    found = p_fail(points, random.integers(0, 2, 300), np.ones(300), points)
    assert np.abs(found - 0.5).max() < 0.25


@pytest.mark.parametrize("failing", [0, 1])
def test_one_label_only(failing):
    found = p_fail(CELLS[::50], np.full(82, failing), np.ones(82), CELLS)
    assert np.abs(found - failing).max() < 0.1


def test_a_single_point():
    assert (
        p_fail(np.array([[2.0, 3.0]]), np.array([1]), np.array([1]), np.array([[2.0, 3.0]]))[0]
        > 0.5
    )


def test_laws_of_the_surface():
    points, fails, trials, _ = sample(width=0.03, count=150)
    found = p_fail(points, fails, trials, CELLS)
    order = np.random.default_rng(1).permutation(150)
    assert np.array_equal(p_fail(points[order], fails[order], trials[order], CELLS), found)
    assert np.allclose(p_fail(points, trials - fails, trials, CELLS), 1 - found, atol=1e-2)
    scale = np.array([0.01, 30.0])
    assert np.allclose(p_fail(points * scale, fails, trials, CELLS * scale), found, atol=1e-6)
    assert np.allclose(p_fail(points[:, ::-1], fails, trials, CELLS[:, ::-1]), found, atol=1e-2)


def test_repeats_at_a_spot_are_the_same_as_counts():
    points, fails, trials, _ = sample(width=0.03, count=100, trainings=2)
    twice = np.repeat(points, 2, axis=0)
    each = np.stack([fails > 0, fails > 1], axis=1).reshape(-1)
    kernel = fit(points, fails, trials).kernel
    together, apart = fit(points, fails, trials, kernel), fit(twice, each, np.ones(200), kernel)
    assert np.allclose(together.p_fail(CELLS), apart.p_fail(CELLS), atol=1e-3)
    assert np.allclose(together.latent(CELLS), apart.latent(CELLS), atol=0.1)


def test_doubt_is_small_where_much_was_trained():
    left = np.array([[x, y] for x in range(10) for y in range(10)], float)
    far = np.array([[40.0, 5.0]])
    surface = fit(np.concatenate([left, far]), np.r_[left[:, 1] < 5, 1], np.full(101, 4))
    _, sd = surface.latent(np.array([[5.0, 5.0], [25.0, 5.0]]))
    assert sd[0] < sd[1]


def test_nothing_given_is_changed():
    points, fails, trials, _ = sample(width=0.03, count=60)
    before = points.copy(), fails.copy(), trials.copy()
    p_fail(points, fails, trials, CELLS)
    assert all(
        np.array_equal(now, then) for now, then in zip((points, fails, trials), before, strict=True)
    )


def test_a_dense_grid_is_merged_and_still_judged_right():
    points, fails, trials, truth = sample(width=0.0, count=4096)
    surface = fit(points, fails, trials)
    assert len(surface.points) <= MAX_POINTS
    assert ((surface.p_fail(CELLS) > 0.5) != (truth > 0.5)).mean() < 0.005


def test_merging_ends_where_every_neighbour_disagrees():
    fails = np.random.default_rng(0).integers(0, 2, 4096)
    assert len(fit(CELLS, fails, np.ones(4096)).points) <= MAX_POINTS


BAD = [
    (lambda: p_fail(np.zeros((0, 2)), np.zeros(0), np.zeros(0), CELLS), "do not match"),
    (lambda: p_fail(np.zeros((3, 2)), np.zeros(2), np.ones(3), CELLS), "got ((3, 2), (2,), (3,))"),
    (lambda: p_fail(np.zeros((3, 1)), np.zeros(3), np.ones(3), CELLS), "(n, 2), (n,) and (n,)"),
    (lambda: p_fail(np.zeros((1, 2)), np.array([2]), np.array([1]), CELLS), "0 <= fails <= trials"),
    (lambda: p_fail(np.full((1, 2), np.nan), np.array([0]), np.array([1]), CELLS), "finite points"),
    (lambda: wilson(3, 2), "more failures than runs: got (3, 2)"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_input_raises(call, text):
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)
