"""Runs counted in examples or tokens: each batch size sees the same data."""

from __future__ import annotations

import sqlite3
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from betaplane.errors import BadInput
from betaplane.maps import map_phases, plan_for
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Options, Run, train_plain, train_stacked
from betaplane.rules import Adam

X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
LINE = Problem("line", lambda: nn.Linear(3, 1), nn.functional.mse_loss, X, X[:, :1], 4, steps=9)
WHOLE = Options(early_stop=False)


def words(rows: Any, **options: Any) -> Problem:
    tokens = torch.zeros(8, 16, dtype=torch.long)
    if rows is None:
        return Problem("words", net, cross_entropy, tokens, tokens[:, 0], 4)
    return Problem("words", net, of_batch, data=DataLoader(rows, batch_size=4, **options))


def net() -> nn.Module:
    return nn.Sequential(nn.Embedding(2, 3), nn.Flatten(), nn.LazyLinear(2))


def of_batch(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).square().mean()


cross_entropy = nn.functional.cross_entropy
EQUAL = [torch.zeros(16, dtype=torch.long)] * 12


def padded(rows: list[torch.Tensor]) -> torch.Tensor:
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def test_steps_are_inverse_to_the_batch_size(tmp_path) -> None:
    path = tmp_path / "map.sqlite"
    found = map_phases(
        LINE, ("batch_size", 2, 8), "lr", 2, examples=48, seeds=1, dense=True, workers=0, store=path,
        options=WHOLE, search_lr=False,
    )  # fmt: skip
    assert found.facts["length of a run"] == "48 examples, at every batch size"
    assert found.steps == 12
    for cell in found.cells.values():
        size = int(cell.settings["batch_size"])
        run = Run(Adam(), cell.settings["lr"], size, seed=0)
        alone = train_plain(LINE.with_(steps=48 // size), run, WHOLE)
        assert cell.finals[0] == pytest.approx(alone.final, rel=1e-4)
        assert len(cell.curve) == 48 // size
    connection = sqlite3.connect(path)
    assert {*connection.execute("SELECT DISTINCT steps FROM runs")} == {(6,), (24,)}


def test_both_engines_take_the_steps_of_the_run() -> None:
    run = Run(Adam(), 0.01, 4, seed=0, steps=5)
    plain = train_plain(LINE, run, WHOLE).curve
    assert len(plain) == 5
    stacked = train_stacked(LINE, [run, run], WHOLE)
    assert np.allclose(stacked[1].curve, plain, rtol=1e-5)
    with pytest.raises(BadInput, match="have one steps"):
        train_stacked(LINE, [run, Run(Adam(), 0.01, 4, seed=0)], WHOLE)


def test_training_function_receives_its_steps() -> None:
    seen: dict[float, float] = {}

    def train(settings: dict[str, float], seed: int) -> list[float]:
        seen[settings["batch_size"]] = settings["steps"]
        return [1.0, settings["lr"]]

    mine = Trainer("mine", train, defaults={"batch_size": 4})
    map_phases(mine, ("batch_size", 2, 8), "lr", 2, examples=48, seeds=1, trainings=4, workers=0)
    assert seen == {2: 24, 8: 6}


@pytest.mark.parametrize("rows", [None, EQUAL])
def test_tokens_are_examples_of_so_many_tokens(rows: Any) -> None:
    plan = plan_for(words(rows), "beta1", "beta2", 2, tokens=1600)
    assert plan.examples == 100
    assert plan.steps == 25
    assert plan.run((0, 0), 0).steps == 25


UNEQUAL = [torch.zeros(n, dtype=torch.long) for n in (3, 5, 4, 9) * 3 + (11,)]
BAD = {
    "twice": (lambda: plan_for(LINE, steps=3, examples=9), "given twice: got 'steps=3, examples=9'"),
    "no tokens": (lambda: plan_for(LINE, tokens=9), "cannot be counted: got 'no tensor of tokens'"),
    "several lengths": (
        lambda: plan_for(words(UNEQUAL, collate_fn=padded, shuffle=True).with_(batch_size=1), tokens=9),
        "cannot be counted",
    ),
    "a function": (
        lambda: plan_for(Trainer("mine", lambda settings, seed: [1.0]), tokens=9), "cannot be counted"
    ),
    "negative": (lambda: plan_for(LINE, examples=0), "examples is out of range"),
    "no number": (lambda: plan_for(LINE, examples="many"), "examples is not a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_lengths_are_refused_in_a_sentence(case: str) -> None:
    call, text = BAD[case]
    with pytest.raises(BadInput, match=text):
        call()
