"""The fast plane against its reference implementation and against a plain loop of Adam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from streams import noisy, stream, updates

from betaplane.replay import Gradients, Layer, replay_gradients
from betaplane.replay.moments import BLOCK_STEPS
from betaplane.replay.plane import COORDINATES_PER_TASK, WATCHED_COORDINATES

BETA1, BETA2 = [0.0, 0.9], [0.0, 0.5, 0.99]
EPS = 0.3


@pytest.mark.parametrize("frozen", [True, False])
def test_a_plain_loop_agrees(frozen: bool):
    g = noisy(200, 3)
    found = replay_gradients(
        stream(g, frozen=frozen), BETA1, BETA2, eps=EPS, dtype=torch.float64
    ).whole
    for i, beta1 in enumerate(BETA1):
        for j, beta2 in enumerate(BETA2):
            u, root = updates(
                g, beta1, beta2, EPS, rounds=20 if frozen else 1, corrected=not frozen
            )
            u, root, kept = (each if frozen else each[20:] for each in (u, root, g))
            mean, gbar = u.mean(0), kept.mean(0)
            cosine = mean @ gbar / np.linalg.norm(mean) / np.linalg.norm(gbar)
            flipped = (gbar**2)[mean * gbar < 0].sum() / (gbar**2).sum()
            assert found.cosine[i, j] == pytest.approx(cosine, rel=1e-9)
            assert found.flipped[i, j] == pytest.approx(flipped, abs=1e-12)
            assert found.rms[i, j] == pytest.approx(np.sqrt((u**2).mean()), rel=1e-9)
            assert found.signal[i, j] == pytest.approx((mean**2).sum() / u.var(0).sum(), rel=1e-9)
            assert found.spread[j] == pytest.approx((root.std(0) / root.mean(0)).mean(), rel=1e-6)
            assert found.below[j] == pytest.approx((root < EPS).mean(), abs=1e-12)
    assert 0 < found.below[0] < 1
    assert found.noise == pytest.approx(kept.var(0, ddof=1).sum() / (gbar**2).sum())


def test_the_cost_compares_with_a_constant_v():
    g = noisy(200, 3)
    found = replay_gradients(stream(g), BETA1, BETA2, eps=0.0, dtype=torch.float64).whole
    for i, beta1 in enumerate(BETA1):
        for j, beta2 in enumerate(BETA2):
            u, _ = updates(g, beta1, beta2, rounds=20)
            half, root = updates(g, beta1, 0.5, rounds=20)
            still = half * root / np.sqrt((g**2).mean(0))  # m over a v that stands still
            here, limit = (
                each.mean(0) @ g.mean(0) / (each**2).mean(0).sum() for each in (u, still)
            )
            want = limit / here if here > 0 else np.inf
            assert found.cost[i, j] == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_float32_has_a_slow_twin(frozen: bool):
    g = stream(
        noisy(BLOCK_STEPS + 100, COORDINATES_PER_TASK + 30)
        * np.geomspace(1e-9, 1e3, COORDINATES_PER_TASK + 30),
        frozen=frozen,
    )
    beta1, beta2 = [0.0, 0.5, 0.9, 0.99], [0.5, 0.9, 0.999, 0.99999]
    fast, slow = (
        replay_gradients(g, beta1, beta2, dtype=dtype).whole
        for dtype in (torch.float32, torch.float64)
    )
    np.testing.assert_allclose(fast.spread, slow.spread, rtol=2e-3, atol=1e-3)
    for name in ("cosine", "rms", "signal", "largest", "cost", "below"):
        np.testing.assert_allclose(
            getattr(fast, name), getattr(slow, name), rtol=2e-3, atol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(fast.flipped, slow.flipped, atol=1e-6)


def test_betas_near_one_and_tiny_gradients_stay_finite():
    found = replay_gradients(
        stream(noisy(64, 4) * 1e-18), [0.0, 0.999999], [0.0, 0.999999999], eps=0.0
    ).whole
    assert np.isfinite(found.rms).all()
    assert np.isfinite(found.cosine).all()


def test_the_largest_update_is_below_its_bound_and_can_reach_it():
    beta1, beta2 = 0.9, 0.95
    found = replay_gradients(
        stream(noisy(300, 40)), [beta1], [beta2, 0.999], eps=0.0, dtype=torch.float64
    ).whole
    assert (found.largest < found.bound).all()
    worst = (beta1 / beta2) ** np.arange(299, -1, -1.0)[:, None]  # theory.extremal_gradients
    reached = replay_gradients(
        stream(worst, frozen=False), [beta1], [beta2], eps=0.0, dtype=torch.float64
    ).whole
    assert reached.largest[0, 0] == pytest.approx(reached.bound[0, 0], rel=1e-3)


def test_only_some_coordinates_are_asked_for_the_largest_update():
    g = noisy(20, WATCHED_COORDINATES + 1)
    g[:, 1] *= np.where(np.arange(20) == 7, 1e6, 1)
    u, _ = updates(g[:, ::2], 0.0, 0.5, rounds=20)
    found = replay_gradients(stream(g), [0.0], [0.5], eps=0.0).whole
    assert found.largest[0, 0] == pytest.approx(abs(u).max(), rel=1e-5)


def test_a_layer_counts_by_its_size():
    g = noisy(100, 4)
    layers = (Layer("large", (30, 10), 2), Layer("small", (2,), 2))
    both = replay_gradients(Gradients(torch.from_numpy(g), layers), BETA1, BETA2)
    assert list(both.layers) == ["large", "small"]
    alone = replay_gradients(stream(g[:, :2]), BETA1, BETA2).whole
    np.testing.assert_allclose(both.layers["large"].cosine, alone.cosine, rtol=1e-6)
    np.testing.assert_allclose(both.layers["large"].rms, alone.rms, rtol=1e-6)
    small = replay_gradients(stream(g[:, 2:]), BETA1, BETA2).whole
    np.testing.assert_allclose(
        both.whole.rms**2, (300 * alone.rms**2 + 2 * small.rms**2) / 302, rtol=1e-6
    )
    repeated = np.concatenate([np.tile(g[:, :2], 150), g[:, 2:]], axis=1)
    np.testing.assert_allclose(
        both.whole.cost, replay_gradients(stream(repeated), BETA1, BETA2).whole.cost, rtol=1e-4
    )


def test_coordinates_that_never_get_a_gradient_do_nothing():
    g = noisy(50, 3)
    g[:, 1] = 0.0
    for eps in (0.0, 1e-8):
        found = replay_gradients(stream(g), BETA1, [0.9], eps=eps).whole
        alone = replay_gradients(stream(g[:, ::2]), BETA1, [0.9], eps=eps).whole
        np.testing.assert_allclose(found.cost, alone.cost, rtol=1e-6)
        np.testing.assert_allclose(found.rms**2, alone.rms**2 * 2 / 3, rtol=1e-6)


def test_the_gradients_unit_does_not_matter_without_eps():
    g = noisy(100, 5)
    one, other = (
        replay_gradients(stream(g * scale), BETA1, BETA2, eps=0.0).whole for scale in (1.0, 1e-12)
    )
    np.testing.assert_allclose(one.cosine, other.cosine, rtol=1e-5)
    np.testing.assert_allclose(one.cost, other.cost, rtol=1e-4)
