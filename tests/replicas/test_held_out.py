"""Runs judged by held-out data: the values of a loop that evaluates by itself."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from betaplane import figures
from betaplane.errors import BadInput
from betaplane.figures._text import JUDGED
from betaplane.maps import map_phases, plan_for
from betaplane.problems import Problem, Trainer
from betaplane.replicas import JUDGES, Options, Run, train_plain
from betaplane.replicas.callable import train_callable
from betaplane.rules import Adam

X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
HELD_OUT = Options(judge="validation")
RUN = Run(Adam(0.9, 0.99), 0.05, 5, seed=1)
cross_entropy = nn.functional.cross_entropy


def net() -> nn.Module:
    # without a bias, whose gradient before BatchNorm is rounding error that Adam amplifies
    return nn.Sequential(
        nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2)
    )


def error_rate(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) != target).float().mean()


def problem(**options: Any) -> Problem:
    return Problem("mine", net, cross_entropy, X[:20], Y[:20], 5, steps=8, **options)


def by_hand(metric: Any) -> list[float]:
    """The metric on the held-out examples before training and after each step."""
    torch.manual_seed(1)
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, betas=(0.9, 0.99))
    batches = problem().batches(5, 1)
    values = []
    for step in range(9):
        model.eval()
        with torch.no_grad():
            values.append(metric(model(X[20:]), Y[20:]).item())
        model.train()
        if step < 8:
            x, y = next(batches)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    return values


PAIR = (X[20:], Y[20:])
FORMS = {
    "pair": PAIR,
    "loader": DataLoader(TensorDataset(*PAIR), batch_size=4),  # the last batch is smaller
    "dataset": TensorDataset(*PAIR),
    "function": lambda batch_size, seed: [(X[20:23], Y[20:23]), (X[23:], Y[23:])],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("metric", [None, error_rate])
def test_values_equal_those_of_a_loop(form: str, metric: Any) -> None:
    mine = problem(validation=FORMS[form], metric=metric)
    outcome = train_plain(mine, RUN, HELD_OUT)
    with torch.random.fork_rng():
        expected = by_hand(metric or cross_entropy)
    assert [outcome.initial, *outcome.curve] == pytest.approx(expected, rel=1e-5)


def test_map_is_judged_by_held_out_data() -> None:
    mine = problem(validation=PAIR, metric=error_rate)
    found = map_phases(mine, "beta2", "lr", 2, judge="validation", seeds=1, trainings=4, workers=0)
    assert found.judge == "validation"
    assert "best held-out metric" in figures.html(found)
    assert "held-out data" in found.facts["why plain"]
    for cell in found.cells.values():
        run = Run(Adam(0.9, cell.settings["beta2"]), cell.settings["lr"], 5, seed=0)
        assert cell.finals == (train_plain(mine, run, HELD_OUT).final,)


def test_figures_name_what_each_judge_measures() -> None:
    assert JUDGED.keys() == set(JUDGES)


def test_training_function_yields_held_out_values() -> None:
    def train(settings: dict[str, float], seed: int) -> Any:
        yield {"loss": 3.0, "validation": torch.tensor(2.0)}
        yield 2.5
        yield {"loss": 2.0, "validation": 1.0}

    mine = Trainer("mine", train)
    assert train_callable(mine, RUN).curve.tolist() == [3.0, 2.5, 2.0]
    assert train_callable(mine, RUN, HELD_OUT).curve.tolist() == [2.0, 1.0]
    returned = Trainer("mine", lambda settings, seed: [*train(settings, seed)])
    assert train_callable(returned, RUN).curve.tolist() == [3.0, 2.5, 2.0]
    assert train_callable(returned, RUN, HELD_OUT).initial == 2.0


def test_divergence_counts_for_held_out_data_too() -> None:
    def train(settings: dict[str, float], seed: int) -> Any:
        yield {"loss": 3.0, "validation": 2.0}
        yield math.nan

    assert train_callable(Trainer("mine", train), RUN, HELD_OUT).final == math.inf


BAD = {
    "none": (lambda: plan_for(problem(), judge="validation"), "has no held-out data"),
    "none in a run": (lambda: train_plain(problem(), RUN, HELD_OUT), "has no held-out data"),
    "metric alone": (lambda: problem(metric=error_rate), "metric has no held-out data"),
    "one tensor": (lambda: problem(validation=(X,)), "not a pair of tensors: got 'Tensor'"),
    "lengths": (lambda: problem(validation=(X, Y[:3])), "30 inputs, 3 targets"),
    "a number": (lambda: problem(validation=3), "validation is not a source of minibatches"),
    "no batch": (
        lambda: train_plain(problem(validation=lambda b, s: []), RUN, HELD_OUT), "yield no batch"
    ),
    "no end": (
        lambda: train_plain(problem(validation=lambda b, s: itertools.repeat(PAIR)), RUN, HELD_OUT),
        "held-out data do not end: got 'more than 10,000 batches'",
    ),
    "not yielded": (
        lambda: train_callable(Trainer("mine", lambda settings, seed: [1.0]), RUN, HELD_OUT),
        'reported no held-out metric.*"validation": value',
    ),
    "no loss": (
        lambda: train_callable(Trainer("mine", lambda settings, seed: [{"accuracy": 1.0}]), RUN),
        "no sequence of losses",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_held_out_data_are_refused_in_a_sentence(case: str) -> None:
    call, text = BAD[case]
    with pytest.raises(BadInput, match=text):
        call()
