"""The held-out curve beside the loss: both engines, training functions, the store, JSON, the page."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from betaplane.figures import html
from betaplane.maps import map_phases, to_json
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Options, Run, train_plain, train_stacked
from betaplane.replicas.held_out import POINTS
from betaplane.replicas.proof import why_plain
from betaplane.rules import Adam

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()
HELD_OUT = X[:11] + 0.1, Y[:11]
WHOLE = Options(early_stop=False, points=50)
HOW = {"points": 2, "seeds": 1, "dense": True, "search_lr": False, "workers": 0, "progress": False}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.BatchNorm1d(4), nn.Linear(4, 2))


def error_rate(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    return (model(batch[0]).argmax(1) != batch[1]).float().mean()


def problem(**options) -> Problem:
    loss = nn.functional.cross_entropy
    return Problem("mine", net, loss, X, Y, batch_size=4, steps=50, lr=0.05, **options)


RUNS = [Run(Adam(beta2=beta2), 0.05, 4, 1) for beta2 in (0.5, 0.99)]


@pytest.mark.parametrize("metric", [None, error_rate])
def test_both_engines_measure_held_out_data_and_train_the_same(metric):
    watched = problem(validation=HELD_OUT, metric=metric)
    judged = Options(early_stop=False, points=50, judge="validation")
    for run in RUNS:
        outcome = train_plain(watched, run, WHOLE)
        assert outcome.curve.tolist() == train_plain(problem(), run, WHOLE).curve.tolist()
        # every third step, the last one included; judged runs have 17 points, too
        assert outcome.held_out is not None
        assert len(outcome.held_out) == 17 <= POINTS
        expected = train_plain(watched, run, judged).curve
        assert outcome.held_out[-1] == expected[-1]


def test_a_stack_measures_what_the_plain_engine_does():
    watched = problem(validation=HELD_OUT).with_(module=lambda: nn.Linear(3, 2))
    assert why_plain(watched, RUNS[0], WHOLE) == ""
    for run, outcome in zip(RUNS, train_stacked(watched, RUNS, WHOLE), strict=True):
        assert outcome.held_out == pytest.approx(
            train_plain(watched, run, WHOLE).held_out, rel=1e-4
        )
    other = problem(validation=lambda batch_size, seed: [{"x": X, "y": Y}])
    other = other.with_(metric=lambda model, batch: model(batch["x"]).square().mean())
    assert "The held-out batches are not pairs of tensors" in why_plain(other, RUNS[0], WHOLE)


def test_a_run_without_held_out_data_has_no_curve():
    assert train_plain(problem(), RUNS[0], WHOLE).held_out is None


def test_the_curve_is_in_json_on_the_page_and_in_the_store(tmp_path):
    def train(settings, seed):
        for step in range(1, 6):
            held_out = {"validation": 10.0 * step} if step in (2, 4) else {}
            yield {"loss": 1 / (step + settings["beta1"] + settings["beta2"]), **held_out}

    store = tmp_path / "map.sqlite"
    for _ in range(2):  # the second map reads the store
        found = map_phases(Trainer("mine", train), store=store, **HOW)
        assert [cell["held_out"] for cell in to_json(found)["cells"]] == [[20.0, 40.0]] * 4
        assert '"heldOut":[[20.0,40.0],[20.0,40.0]' in html(found).replace(", ", ",").replace(
            ": ", ":"
        )
        assert json.dumps(to_json(found))
    without = map_phases(Trainer("mine", lambda settings, seed: [1.0, settings["beta1"]]), **HOW)
    assert "held_out" not in to_json(without)["cells"][0]


def test_a_run_that_diverges_has_the_values_before():
    def train(settings, seed):
        return [{"loss": 1.0, "validation": 2.0}, {"loss": float("nan")}]

    found = map_phases(Trainer("mine", train), **HOW)
    assert {tuple(cell.held_out) for cell in found.cells.values() if cell.held_out is not None} == {
        (2.0,)
    }
    assert np.isinf([cell.score for cell in found.cells.values()]).all()
