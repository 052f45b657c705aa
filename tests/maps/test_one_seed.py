"""Runs that do not depend on their seed: proved or not taken, and one run per cell then."""

import numpy as np
import pytest
import torch
from torch import nn

from betaplane import Problem, map_phases
from betaplane.maps.decision import gain
from betaplane.maps.mapper import run_plan
from betaplane.maps.plan import plan_for
from betaplane.maps.store.store import Store
from betaplane.problems import Trainer, counterexample
from betaplane.replicas import Options, Run, train_stacked
from betaplane.replicas.seeds import is_same_for_all_seeds
from betaplane.rules import Adam

X = torch.linspace(-1, 1, 8)[:, None]
PROBLEM = counterexample(n=5, steps=200)
RUN = Run(Adam(), 0.1, 1, 0)
SMALL = {"points": 4, "workers": 0, "seeds": 2, "boundary_seeds": 3}


class Slope(nn.Module):
    """y = w x from w = 0."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.w * x


class Drawn(Slope):
    """w is drawn, and overwritten: something else could have been kept of it."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(nn.init.normal_(self.w))


class ReadsSeed(Slope):
    """w is the seed, which is read and not drawn."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([float(torch.initial_seed())]))


class Hidden(Slope):
    """The seed is in a plain attribute."""

    def __init__(self):
        super().__init__()
        self.shift = float(torch.initial_seed())

    def forward(self, x):
        return self.w * x + self.shift


class Noisy(Slope):
    def forward(self, x):
        return self.w * x + 0.01 * torch.randn_like(x)


def problem(make, **fields):
    own = {"batch_size": 8, "steps": 20, "lr": 0.1, "order": "cyclic", **fields}
    return Problem(make.__name__, make, nn.functional.mse_loss, X, 2 * X, **own)


@pytest.mark.parametrize("found", [PROBLEM, problem(Slope), problem(Slope, batch_size=3)])
def test_a_run_that_draws_nothing_is_the_same_for_all_seeds(found):
    assert is_same_for_all_seeds(found, RUN, Options())


@pytest.mark.parametrize("make", [Drawn, ReadsSeed, Hidden, Noisy])
def test_a_module_that_draws_or_reads_the_seed_is_not(make):
    assert not is_same_for_all_seeds(problem(make), RUN, Options())


@pytest.mark.parametrize(
    "fields",
    [{"order": "shuffle"}, {"order": "replacement"}, {"validation": (X, X)}],
)
def test_drawn_minibatches_and_held_out_data_are_not_proved(fields):
    """A full batch in another order is another sum."""
    assert not is_same_for_all_seeds(problem(Slope, **fields), RUN, Options())


def test_runs_with_settings_of_their_own_in_the_seed_are_not_proved():
    assert not is_same_for_all_seeds(PROBLEM, RUN, Options(independent=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("one") / "one.sqlite"


@pytest.fixture(scope="module")
def one(store):
    return map_phases(PROBLEM, store=store, **SMALL)


def test_a_map_trains_one_seed_per_cell(one, store):
    assert one.facts["seeds"] == "1; runs do not depend on the seed"
    assert {len(cell.finals) for cell in one.cells.values()} == {1}
    with Store.reopen(store) as runs:
        assert {record.seed for record in runs.all()} == {0}


def test_what_is_proved_holds_for_whole_runs_of_the_stacked_engine():
    plan = plan_for(PROBLEM, points=4)
    spots = [(0, 0), (1, 3), (3, 1)]
    of_seeds = [train_stacked(PROBLEM, [plan.run(at, seed) for at in spots]) for seed in (0, 1, 2)]
    curves = [tuple(outcome.curve.tobytes() for outcome in outcomes) for outcomes in of_seeds]
    assert len(set(curves)) == 1


def test_learning_rates_are_compared_on_one_seed(one):
    found = one.recommendation.decision
    assert found.gain.seeds == 1
    assert found.gain.low == found.gain.middle == found.gain.high
    assert found.gain.is_measurable == (found.gain.middle >= 0.01)
    if not found.keeps_lr:
        assert str(found.gain).endswith("(with every seed: runs do not depend on it)")


def test_the_gain_of_one_seed_is_that_of_equal_seeds():
    finals, other, initial = (np.full(8, loss) for loss in (0.5, 1.0, 4.0))
    exact, repeated = gain(finals, other, initial, True), gain(finals, other, initial)
    assert (exact.low, exact.middle, exact.high) == (0.5, 0.5, 0.5)
    assert (repeated.low, repeated.high) == (0.5, 0.5)
    assert exact.is_measurable
    assert exact.is_likely
    assert (exact.seeds, repeated.seeds) == (1, 8)


def test_a_store_of_several_seeds_is_resumed_without_training(tmp_path):
    """The runs of seed 0 have the same keys."""
    plan = plan_for(PROBLEM, points=4, dense=True, seeds=2, search_lr=False)
    store, seen = tmp_path / "map.sqlite", []
    run_plan(PROBLEM, plan, store=store, workers=0)
    with Store.reopen(store) as runs:
        assert len(runs) == 16
    run_plan(PROBLEM, plan, store=store, workers=0, watch=seen.append)
    assert sum(progress.computed for progress in seen) == 0


def test_a_function_and_options_of_the_problem_keep_their_seeds():
    trainer = Trainer("mine", lambda settings, seed: [1.0, 0.5, settings["beta2"] / 4])
    of_function = map_phases(trainer, **{**SMALL, "points": 2}, steps=2)
    assert of_function.facts["seeds"].startswith("2; 3 next to")
    options = {"points": 2, "workers": 0, "dense": True, "seeds": 2, "steps": 20}
    of_options = map_phases(PROBLEM, x=("n", 4, 6), y="beta2", **options)
    assert of_options.facts["seeds"].startswith("2; ")
