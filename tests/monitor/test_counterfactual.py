"""Replays of the last steps: exact without a change, and right about the remedy of a planted spike."""

from __future__ import annotations

import pytest
import torch
from benchmarks.failures.planted import adam, train

from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.counterfactual import replay, update_sizes
from betaplane.monitor.recorders.ring_buffer import RecordedSteps, RingBuffer
from betaplane.problems import digits

NOW = StepValues(0.1, 0.9, 0.999, 1e-8)


def noise(steps: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(steps, 64, generator=torch.Generator().manual_seed(seed))


def past(g: torch.Tensor) -> RecordedSteps:
    return RecordedSteps(g, torch.zeros(64), torch.ones(64), 1e4, NOW)


def test_replay_of_a_real_run_reproduces_it():
    watcher, _, _ = train(digits(), 90, adam())
    layer = "2.bias"
    kept = watcher.history.recordings[layer].recorded()
    assert kept is not None
    assert len(kept.g) == 64
    read = [reading.lr * reading.update_rms for reading in watcher.history.readings[layer]]
    assert update_sizes(kept, kept.values).tolist() == pytest.approx(read, rel=1e-4)


def test_calm_steps_have_no_spike():
    found = replay(past(noise()))
    assert found is not None
    assert found.best is None
    assert str(found) == "the update stayed in its normal band"


def test_one_bad_batch_is_avoided_by_skipping_it():
    g = noise()
    g[48] *= 100
    found = replay(past(g))
    assert found.actual > 2
    skipped = {each.name: each for each in found.outcomes}["the largest gradient skipped"]
    assert skipped.averts
    assert not {each.name: each for each in found.outcomes}["eps=1e-10"].averts


def test_growing_gradients_need_a_shorter_memory_not_a_smaller_eps():
    g = noise()
    g[40:] *= 10
    peaks = {each.name: each.peak for each in replay(past(g)).outcomes}
    assert peaks["beta2=0.99"] < peaks["beta2=0.998"] < peaks["eps=1e-10"]


def test_remedy_is_one_alternative_and_listed_once():
    g = noise()
    g[40:] *= 10
    peaks = {
        each.name: each.peak for each in replay(past(g), {"beta2": 0.95, "max_norm": 1.0}).outcomes
    }
    assert peaks["beta2=0.95 (the remedy)"] < peaks["beta2=0.99"]
    halved = replay(past(g), {"lr": 0.05}).outcomes
    assert [each.name for each in halved if "lr" in each.change] == ["lr=0.05 (the remedy)"]
    assert len(replay(past(g), {"skip": 3}).outcomes) == len(replay(past(g)).outcomes) == 7


def test_short_or_non_finite_record_is_not_replayed():
    assert replay(past(noise(steps=7))) is None
    broken = noise()
    broken[3, 3] = torch.nan
    assert replay(past(broken)) is None


def test_missed_step_restarts_the_ring_buffer():
    ring, start = RingBuffer(4), (torch.zeros(1), torch.zeros(1), 0.0)
    for step in (1, 2, 3, 5, 6):
        ring.append(step, torch.ones(1), start, NOW)
    assert len(ring.recorded().g) == 2
