"""What a map will cost: the expected rounds, the time on any number of workers, operations."""

from __future__ import annotations

import math
import time
from itertools import product

import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.maps import map_cost, plan_for
from betaplane.maps.cost import ChunkSeconds, _makespan
from betaplane.maps.requested import chooser_of, searches_lr
from betaplane.maps.rounds import expected_rounds, typical_verdicts
from betaplane.problems import Problem, Trainer, counterexample, load
from betaplane.replicas import Options, Run
from betaplane.replicas.timing import _extrapolated, step_flops
from betaplane.rules import Adam

SMALL = counterexample(n=5, steps=200)


def test_a_dense_plan_is_expected_to_train_every_cell():
    plan = plan_for(SMALL, points=(6, 5), dense=True, seeds=3, search_lr=False)
    rounds = expected_rounds(plan, chooser_of(plan), 20, searches_lr(SMALL, plan))
    # chunks of one seed each, and a cell that gets twice the seeds of a boundary
    assert rounds == [[20, 10] * 3, [1] * 5]
    assert sum(rounds[0]) == 6 * 5 * 3


def test_expected_rounds_are_those_of_the_chooser_on_a_typical_map():
    plan = plan_for(SMALL, points=12, search_lr=False)
    rounds = expected_rounds(plan, chooser_of(plan), 1000, searches_lr(SMALL, plan))
    runs = sum(map(sum, rounds))
    assert 12 * 12 / 2 < runs < 12 * 12 * plan.boundary_seeds
    assert len(rounds) > 2
    failing = typical_verdicts(plan) == 2
    beta1, beta2 = plan.x.values, plan.y.values
    expected = [[b1 >= math.sqrt(b2) for b2 in beta2] for b1 in beta1]
    assert failing.tolist() == expected


def test_batch_sizes_are_not_expected_in_one_chunk():
    problem = load("digits")
    plan = plan_for(
        problem, x=("batch_size", 4, 64), points=3, seeds=1, search_lr=False, dense=True
    )
    assert expected_rounds(plan, chooser_of(plan), 100, False) == [[3, 3, 3]]


def test_a_limit_of_runs_is_not_exceeded():
    plan = plan_for(SMALL, points=32, trainings=60)
    rounds = expected_rounds(plan, chooser_of(plan), 100, searches_lr(SMALL, plan))
    assert sum(map(sum, rounds)) <= 60


def test_makespan_is_that_of_the_last_worker():
    seconds_of = ChunkSeconds(1.0, 0.5)
    for sizes, workers in product(([2], [2, 2, 2], [8, 2, 2, 2]), (1, 2, 9)):
        ends = [0.0] * workers
        for size in sizes:
            first = ends.index(min(ends))
            ends[first] += seconds_of(size)
        assert _makespan(sizes, seconds_of, workers) == pytest.approx(max(ends))


def test_operations_of_a_step_are_those_of_its_matrix_products():
    problem = Problem(
        "line", lambda: nn.Linear(6, 3), nn.functional.mse_loss, torch.ones(8, 6), torch.ones(8, 3),
        batch_size=4, steps=10, lr=0.1,
    )  # fmt: skip
    forward = 2 * 4 * 6 * 3
    assert step_flops(problem, Run(Adam(), 0.1, 4, 0)) == 2 * forward  # and the weight's gradient
    assert step_flops(SMALL, Run(Adam(), 0.1, 1, 0)) is None  # nothing that could be counted


def test_a_line_through_two_measurements_is_extrapolated():
    assert _extrapolated([(10, 2.0), (40, 5.0)], 100) == 11.0
    assert _extrapolated([(10, 2.0), (40, 1.0)], 100) == 1.0  # never less than was measured
    assert _extrapolated([(10, 2.0), (100, 5.0)], 100) == 5.0


def test_a_known_time_of_a_run_decides_the_time():
    trainer = Trainer("mine", lambda settings, seed: [1.0, settings["beta2"]])
    plan = plan_for(trainer, points=4, dense=True, seeds=1, search_lr=False)
    cost = map_cost(trainer, plan, workers=0, run_seconds=3600.0)
    assert cost.worker_seconds() == 16 * 3600
    assert cost.seconds_on(16) == 3600
    assert cost.seconds_on(5, speed=2.0) == 4 * 3600 / 2
    assert (cost.flops, cost.usage.step_flops) == (None, None)
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(BadInput, match="run_seconds is out of range"):
            map_cost(trainer, plan, workers=0, run_seconds=bad)


def test_a_run_of_a_function_is_timed():
    calls = []

    def train(settings, seed):
        calls.append(seed)
        return [1.0, settings["beta2"] * settings["beta1"]]

    plan = plan_for(Trainer("mine", train), points=3, dense=True, seeds=1, search_lr=False)
    cost = map_cost(Trainer("mine", train), plan, workers=0)
    assert cost.engine == "callable"
    assert len(calls) == 2  # the first, which may load something, and a usual one
    assert 0 < cost.worker_seconds() < 60


def test_what_the_first_run_loads_is_counted_once():
    loaded = []

    def train(settings, seed):
        if not loaded:
            time.sleep(0.3)
        loaded.append(seed)
        return [1.0, settings["beta2"] * settings["beta1"]]

    plan = plan_for(Trainer("mine", train), points=3, dense=True, seeds=1, search_lr=False)
    cost = map_cost(Trainer("mine", train), plan, workers=0)
    assert cost.setup >= 0.3
    assert cost.worker_seconds() < 9 * 0.3


def test_options_of_the_plan_reach_the_probe():
    plan = plan_for(load("digits"), points=4, options=Options(points=3), seeds=1, engine="plain",
                    steps=8, search_lr=False)  # fmt: skip
    cost = map_cost(load("digits"), plan, workers=0)
    assert (cost.engine, cost.steps, cost.is_extrapolated) == ("plain", 8, False)
    assert cost.flops == cost.runs * 8 * (cost.usage.step_flops or 0)
