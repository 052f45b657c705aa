"""Data that are not two tensors: each form trains exactly as a plain loop over it does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from betaplane.errors import BadInput
from betaplane.problems import Problem, check, fingerprint, load
from betaplane.replay import record_problem
from betaplane.replicas import Options, Run, train_plain
from betaplane.rules import Adam

STEPS, LR, BETAS = 12, 0.02, (0.8, 0.95)
X = torch.randn(22, 4, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5], [1.0]])
PAIRS = TensorDataset(X, Y)
mse = nn.functional.mse_loss


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.2), nn.Tanh(), nn.Linear(3, 1))


@dataclass
class Points:
    x: Tensor
    y: Tensor
    names: tuple[str, ...] = ()


class Bag:
    """A batch of a user's own class."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def to(self, device: str) -> Bag:
        return Bag(self.x.to(device), self.y.to(device))


class Output(dict):
    """The output of a model that computes its loss."""

    __getattr__ = dict.__getitem__


class WithLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor, y: Tensor) -> Output:
        out = self.net(x)
        return Output(loss=mse(out, y), out=out)


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(X, Y, strict=True))


class Noisy(Dataset):
    """Draws from NumPy for every example, as augmentations do."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return X[i] + float(np.random.randn()), Y[i]


def as_dict(examples: list) -> dict[str, Tensor]:
    x, y = zip(*examples, strict=True)
    return {"x": torch.stack(x), "y": torch.stack(y)}


def as_points(examples: list) -> Points:
    return Points(**as_dict(examples))


def as_bag(examples: list) -> Bag:
    return Bag(**as_dict(examples))


def of_dict(model: nn.Module, batch: dict) -> Tensor:
    return mse(model(batch["x"]), batch["y"])


def of_points(model: nn.Module, batch: Any) -> Tensor:
    return mse(model(batch.x), batch.y)


def pair_loss(model: nn.Module, batch: Any) -> Tensor:
    return mse(model(batch[0]), batch[1])


def own(model: nn.Module, batch: dict) -> Tensor:
    return model(**batch).loss


def loader(dataset: Any = PAIRS, **options: Any) -> DataLoader:
    return DataLoader(dataset, **{"batch_size": 5, **options})


def batches(batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        rows = torch.randint(len(X), (batch_size,), generator=generator)
        yield X[rows], Y[rows]


# data, the loss of the problem, the loss of the loop, the module
FORMS: dict[str, tuple[Callable[[], Any], Any, Any, Any]] = {
    "pairs in order": (loader, mse, pair_loss, net),
    "shuffled": (lambda: loader(shuffle=True), mse, pair_loss, net),
    "incomplete dropped": (lambda: loader(shuffle=True, drop_last=True), mse, pair_loss, net),
    "own generator": (
        lambda: loader(shuffle=True, generator=torch.Generator().manual_seed(3)),
        mse, pair_loss, net,
    ),
    "weighted": (
        lambda: loader(sampler=WeightedRandomSampler([1.0] * 21 + [9.0], 30)), mse, pair_loss, net
    ),
    "a part": (lambda: loader(sampler=SubsetRandomSampler(range(9))), mse, pair_loss, net),
    "dicts": (lambda: loader(shuffle=True, collate_fn=as_dict), of_dict, of_dict, net),
    "dataclasses": (lambda: loader(collate_fn=as_points), of_points, of_points, net),
    "objects": (lambda: loader(collate_fn=as_bag), of_points, of_points, net),
    "own loss": (lambda: loader(shuffle=True, collate_fn=as_dict), None, own, WithLoss),
    "stream": (lambda: loader(Stream()), mse, pair_loss, net),
    "random numbers": (lambda: loader(Noisy(), shuffle=True), mse, pair_loss, net),
    "list": (lambda: lambda batch_size, seed: [(X[:3], Y[:3]), (X[3:], Y[3:])], mse, pair_loss, net),
    "generator": (lambda: batches, mse, pair_loss, net),
}  # fmt: skip


def loop(data: Iterable, loss: Callable, module: Callable[[], nn.Module], seed: int) -> list[float]:
    """The training loop that `Problem` documents, as a user writes it."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model = module()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, betas=BETAS)
    losses: list[float] = []
    while True:
        for batch in data:
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            optimizer.step()
            losses.append(value.item())
            if len(losses) == STEPS:
                return losses


def problem(data: Any, loss: Any = mse, module: Any = net, **options: Any) -> Problem:
    return Problem("form", module, loss, data=data, **{"steps": STEPS, "lr": LR, **options})


def curve(of: Problem, seed: int, batch_size: int = 5) -> np.ndarray:
    run = Run(Adam(*BETAS), LR, batch_size, seed)
    return train_plain(of, run, Options(points=STEPS, early_stop=False)).curve


@pytest.mark.parametrize("form", FORMS)
def test_form_trains_as_a_plain_loop(form: str) -> None:
    make, loss, by_hand, module = FORMS[form]
    mine = problem(make(), loss, module)
    check(mine)
    for seed in (1, 0):  # the second run does not depend on the first
        data = make()
        own_data = data if isinstance(data, Iterable) else data(5, seed)
        with torch.random.fork_rng():
            expected = loop(own_data, by_hand, module, seed)
        assert curve(mine, seed) == pytest.approx(expected, rel=1e-6), f"seed {seed}"


def test_runs_leave_data_and_generators_unchanged() -> None:
    own_generator = torch.Generator().manual_seed(3)
    mine = problem(loader(shuffle=True, generator=own_generator))
    before = own_generator.get_state(), torch.get_rng_state()
    curve(mine, 0)
    fingerprint(mine)
    record_problem(mine, steps=4)
    assert torch.equal(own_generator.get_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_dataset_is_drawn_as_tensors_are() -> None:
    class Mine(Dataset):
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
            return X[i], Y[i]

    tensors = Problem("form", net, mse, X, Y, batch_size=5, steps=STEPS, lr=LR)
    for order in ("shuffle", "cyclic", "replacement"):
        of_tensors = curve(tensors.with_(order=order), 2)
        mine = curve(problem(Mine(), batch_size=5, order=order), 2)
        assert mine == pytest.approx(of_tensors, rel=1e-6)
    pair = problem(PAIRS, batch_size=5)
    assert pair.data is None
    assert pair.inputs is X
    assert np.array_equal(curve(pair, 2), curve(tensors, 2))


@pytest.mark.parametrize("sampler", [None, SubsetRandomSampler(range(9))])
def test_other_batch_size_trains_as_a_loader_of_that_size(sampler: Any) -> None:
    options = {"sampler": sampler} if sampler else {"shuffle": True}
    mine = problem(loader(collate_fn=as_dict, num_workers=2, **options), of_dict)
    assert mine.batch_size == 5
    small = problem(loader(collate_fn=as_dict, batch_size=2, **options), of_dict)
    assert np.array_equal(curve(mine, 1, batch_size=2), curve(small, 1, batch_size=2))


def test_gradients_of_a_loader_are_recorded() -> None:
    mine = problem(loader(shuffle=True, collate_fn=as_dict), of_dict)
    gradients = record_problem(mine, steps=6, after=2)
    assert gradients.values.shape == (6, 19)
    assert np.array_equal(gradients.values, record_problem(mine, steps=6, after=2).values)
    assert gradients.values.any()


def empty(batch_size: int, seed: int) -> list:
    return []


def short(batch_size: int, seed: int) -> Iterator:
    return iter([(X, Y)] * 3)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: check(problem(empty)), "yield no batch: got 0"),
    "all dropped": (
        lambda: check(problem(loader(batch_size=23, drop_last=True))), "yield no batch: got 0"
    ),
    "ends": (lambda: curve(problem(short), 0), r"end before the run does.*got '3 batches'.*steps=3"),
    "an iterator": (lambda: problem(iter([(X, Y)])), "cannot be read again|can be read again"),
    "a number": (lambda: problem(3), "not a source of minibatches.*got 'int'"),
    "one argument": (lambda: problem(lambda seed: []), "wrong signature"),
    "no batches": (lambda: check(problem(lambda b, s: None)), "does not return batches"),
    "both": (lambda: Problem("form", net, mse, X, Y, data=loader()), "has tensors and data"),
    "unclear loss": (
        lambda: problem(loader(), lambda a, b: a), r"do not say how to call it: got 'loss\(a, b\)'"
    ),
    "contradiction": (lambda: problem(loader(), lambda net, y: net), "do not say how to call it"),
    "dict without a form": (
        lambda: check(problem(loader(collate_fn=as_dict))), "end with the target.*dict with x, y"
    ),
    "no own loss": (
        lambda: check(problem(loader(collate_fn=lambda rows: torch.stack([x for x, _ in rows])), None)),
        "output has no loss: got 'Tensor'",
    ),
    "workers of a stream": (lambda: problem(loader(Stream(), num_workers=2)), "num_workers=0"),
    "fixed batches": (
        lambda: curve(problem(DataLoader(PAIRS, batch_sampler=[[0, 1]]), batch_size=2), 0, 3),
        "cannot be changed.*batch_size=3",
    ),
    "unknown size": (
        lambda: problem(DataLoader(PAIRS, batch_sampler=[[0, 1]])), "does not say how many examples"
    ),
    "collate raises": (
        lambda: check(problem(loader(collate_fn=lambda rows: rows[99]), of_dict)),
        "Reading the data of problem 'form' failed.*IndexError",
    ),
    "analytic gradient": (lambda: problem(loader(), gradient=lambda p, x, y: 0), "needs all data"),
    "full loss": (lambda: problem(loader(), record="full"), "needs all data"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_data_are_refused_in_a_sentence(case: str) -> None:
    call, text = BAD[case]
    with pytest.raises(BadInput, match=text):
        call()


UNSEEDED = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from betaplane import Problem

x = torch.randn(8, 3)
data = DataLoader(TensorDataset(x, x), batch_size=4)
problem = Problem("mine", lambda: torch.nn.Linear(3, 3), torch.nn.functional.mse_loss, data=data)
"""


def test_unseeded_data_of_a_loader_are_refused(tmp_path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(UNSEEDED)
    with pytest.raises(BadInput, match=r"data differ between two loads.*torch.manual_seed\(0\)"):
        load(f"{path}:problem")
    path.write_text(UNSEEDED.replace("x =", "torch.manual_seed(0)\nx ="))
    assert fingerprint(load(f"{path}:problem")) == fingerprint(load(f"{path}:problem"))


def test_fingerprint_depends_on_the_data_of_a_loader() -> None:
    def of(data: TensorDataset) -> str:
        return fingerprint(problem(loader(data)))

    assert of(PAIRS) == of(TensorDataset(X.clone(), Y.clone()))
    changed = X.clone()
    changed[-1, 0] += 1  # not in the first batch
    assert of(PAIRS) != of(TensorDataset(changed, Y))
