"""Loaders of two tensors: their runs are stacked, with the batches that the loader gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from betaplane.errors import BadInput
from betaplane.maps import map_phases
from betaplane.problems import Problem
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.in_memory import LoaderRows, tensors_of, why_not_in_memory
from betaplane.problems.snapshot import put_back
from betaplane.replicas import Options, Run, train_plain, train_stacked
from betaplane.replicas.proof import why_plain
from betaplane.rules import Adam

X = torch.randn(22, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
ROWS = TensorDataset(X, Y)
WHOLE = Options(early_stop=False, points=7)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def loader(rows: Any = ROWS, batch_size: int | None = 5, **options: Any) -> DataLoader:
    if "batch_sampler" not in options:
        options["batch_size"] = batch_size
    return DataLoader(rows, **options)


def sampler_of_batches() -> BatchSampler:
    return BatchSampler(RandomSampler(ROWS), 5, drop_last=True)


RECOGNIZED = {
    "in order": loader,
    "shuffled": lambda: loader(shuffle=True),
    "whole batches": lambda: loader(shuffle=True, drop_last=True),
    "generator of its own": lambda: loader(shuffle=True, generator=seeded()),
    "larger than the data": lambda: loader(batch_size=30, shuffle=True),
    "a part of the rows": lambda: loader(Subset(ROWS, [3, 1, *range(8, 20)]), shuffle=True),
    "drawn with replacement": lambda: loader(sampler=RandomSampler(ROWS, True, 17)),
    "drawn twice": lambda: loader(sampler=RandomSampler(ROWS, num_samples=40)),
    "sampler of rows": lambda: loader(sampler=SubsetRandomSampler(range(1, 20, 2))),
    "weights": lambda: loader(sampler=WeightedRandomSampler([1.0] * 11 + [3.0] * 11, 22)),
    "sampler of batches": lambda: loader(batch_sampler=sampler_of_batches()),
    "memory and workers": lambda: loader(shuffle=True, num_workers=2, persistent_workers=True),
}


@pytest.mark.parametrize("name", RECOGNIZED)
@pytest.mark.parametrize("limits", [(1, 3), (100,)])
def test_rows_are_those_of_the_loader_at_the_same_random_numbers(name, limits):
    data = RECOGNIZED[name]()
    assert why_not_in_memory(data) == ""
    problem = Problem("rows", nn.Flatten, nn.functional.mse_loss, data=data)
    steps, x = 60, tensors_of(data)[0]
    with preserve_generators(), put_back(data=data):
        seed_generators(1)
        batches, states = problem.batches(problem.batch_size, seed=1), []
        expected = []
        for _ in range(steps):
            expected.append(next(batches)[0])
            states.append(torch.get_rng_state())
    with preserve_generators(), put_back(data=data):
        seed_generators(1)
        rows, taken = LoaderRows(data, problem.batch_size, "here"), 0
        while taken < steps:
            for index in rows.segment(limits[taken % len(limits)]):
                if taken < steps:
                    assert torch.equal(x[index], expected[taken])
                    assert torch.equal(torch.get_rng_state(), states[taken])
                taken += 1


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Dropout(0.3))
        self.head = nn.Linear(6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).tanh())


def of_batch(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return (model(x) - y).square().mean() * (2 if isinstance(batch, list) else 1)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("shuffled", of_batch),  # the last batch has 2 rows
        ("generator of its own", nn.functional.mse_loss),
        ("a part of the rows", nn.functional.mse_loss),
    ],
)
def test_stacked_runs_of_a_loader_are_those_of_the_plain_engine(name, loss):
    data = RECOGNIZED[name]()
    problem = Problem("rows", Dropped, loss, data=data, steps=33, lr=0.02)
    runs = [Run(Adam(beta2=beta2), 0.02, 5, 2) for beta2 in (0.5, 0.99)]
    assert why_plain(problem, runs[0], WHOLE) == ""
    for run, outcome in zip(runs, train_stacked(problem, runs, WHOLE), strict=True):
        plain = train_plain(problem, run, WHOLE)
        assert outcome.initial == pytest.approx(plain.initial, rel=1e-5)
        assert outcome.curve == pytest.approx(plain.curve, rel=1e-3)


def test_a_map_of_a_loader_is_stacked_at_each_batch_size():
    problem = Problem(
        "rows", lambda: nn.Linear(4, 1), of_batch, data=loader(shuffle=True), steps=20
    )
    found = map_phases(
        problem, ("batch_size", 4, 8), ("lr", 0.01, 0.1), 2,
        seeds=1, dense=True, workers=0, engine="stacked", search_lr=False, options=WHOLE,
    )  # fmt: skip
    assert found.facts["engine"] == "stacked"
    for cell in found.cells.values():
        run = Run(Adam(), cell.settings["lr"], int(cell.settings["batch_size"]), 0)
        assert cell.finals[0] == pytest.approx(train_plain(problem, run, WHOLE).final, rel=1e-4)


class Transformed(TensorDataset):
    def __getitem__(self, index: Any) -> Any:
        return tuple(-tensor[index] for tensor in self.tensors)


class Backwards(SequentialSampler):
    def __iter__(self) -> Any:
        return reversed(range(len(ROWS)))


class Pairs(Dataset):
    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> Any:
        return X[index], Y[index]


class Own(DataLoader):
    pass


class Batches(BatchSampler):
    pass


OTHERS = {
    "subclass of loader": (lambda: Own(ROWS, 5), "its loader is a Own, a subclass of DataLoader"),
    "subclass of rows": (
        lambda: loader(Transformed(X, Y)),
        "its data set is a Transformed, not a TensorDataset",
    ),
    "part of a subclass": (
        lambda: loader(Subset(Transformed(X, Y), [1, 2, 3, 4, 5])),
        "its data set is a Transformed, not a TensorDataset",
    ),
    "dataset": (lambda: loader(Pairs()), "its data set is a Pairs, not a TensorDataset"),
    "three tensors": (
        lambda: loader(TensorDataset(X, X, Y)),
        "its data set has 3 tensors, not inputs and targets",
    ),
    "sparse": (
        lambda: loader(TensorDataset(X, Y.to_sparse())),
        "its data set has a tensor that is sparse, of a subclass, or requires a gradient",
    ),
    "collate": (
        lambda: loader(collate_fn=lambda rows: default_collate(rows)),
        "its loader has a collate_fn of its own",
    ),
    "workers": (
        lambda: loader(num_workers=1, worker_init_fn=print),
        "its loader has a worker_init_fn",
    ),
    "single rows": (lambda: loader(batch_size=None), "its loader does not make batches"),
    "sampler": (lambda: loader(sampler=Backwards(ROWS)), "its loader has a Backwards"),
    "batch sampler": (
        lambda: loader(batch_sampler=Batches(RandomSampler(ROWS), 5, True)),
        "its loader has a Batches for batches",
    ),
    "list of batches": (
        lambda: loader(batch_sampler=[[0, 1], [2, 3]]),
        "its loader has a list for batches",
    ),
    "global numbers": (
        lambda: loader(sampler=RandomSampler(ROWS, True, generator=torch.default_generator)),
        "its sampler shares the global random numbers",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_loaders_are_not_stacked_and_the_reason_is_stated(name):
    make, reason = OTHERS[name]
    assert why_not_in_memory(make()) == reason


def test_the_reason_is_that_of_the_proof():
    problem = Problem("rows", lambda: nn.Linear(4, 1), of_batch, data=loader(Pairs()), steps=4)
    run = Run(Adam(), 0.1, 5, 0)
    assert why_plain(problem, run, WHOLE) == OTHERS["dataset"][1]
    mine = problem.with_(data=loader(shuffle=True))
    assert why_plain(mine, run, Options(independent=True)) == (
        "each run draws minibatches of its own from the loader"
    )


def test_a_loader_without_a_whole_batch_is_refused():
    rows = LoaderRows(loader(batch_size=30, drop_last=True), 30, "here")
    with pytest.raises(BadInput, match="The data yield no batch"):
        rows.segment(3)
