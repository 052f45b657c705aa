"""Snapshots detect and restore everything that a problem's code can change."""

import array
import collections
import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn

from betaplane import Problem
from betaplane.problems import check, fingerprint
from betaplane.problems.generators import generator_states, preserve_generators, seed_generators
from betaplane.problems.snapshot import GLOBAL_HOOKS, Snapshot, put_back
from betaplane.replicas import Options, Run, train_plain
from betaplane.rules import Adam

TOTAL = 0


class Slots:
    __slots__ = ("value",)

    def __init__(self):
        self.value = [1]


class Holder:
    shared = 0

    def __init__(self):
        self.number, self.text, self.items, self.table = 1, "a", [1, [2]], {"k": {"deep": 1}}
        self.names, self.queue, self.bytes = {"x"}, collections.deque([1, 2]), bytearray(b"ab")
        self.array, self.values, self.tensor = array.array("i", [1, 2]), np.zeros(3), torch.zeros(2)
        self.python, self.numpy, self.torch = (
            random.Random(1),
            np.random.default_rng(1),
            torch.Generator(),
        )
        self.slots, self.pair = Slots(), ([1], 2)
        count = [0]

        def closure():
            count[0] += 1
            return count[0]

        self.closure = closure


def count_globally():
    global TOTAL
    TOTAL += 1


CHANGES = {
    "number": lambda h: setattr(h, "number", 2),
    "text": lambda h: setattr(h, "text", "b"),
    "items": lambda h: h.items.append(3),
    "nested list": lambda h: h.items[1].clear(),
    "nested dict": lambda h: h.table["k"].update(deep=2),
    "new attribute": lambda h: setattr(h, "more", 1),
    "deleted attribute": lambda h: delattr(h, "number"),
    "set": lambda h: h.names.add("y"),
    "deque": lambda h: h.queue.rotate(),
    "bytearray": lambda h: h.bytes.append(1),
    "array": lambda h: h.array.append(3),
    "numpy array": lambda h: h.values.__setitem__(0, np.nan),
    "tensor": lambda h: h.tensor.add_(1),
    "tensor data": lambda h: h.tensor.data.mul_(0).sub_(1),
    "Python generator": lambda h: h.python.random(),
    "NumPy generator": lambda h: h.numpy.random(),
    "torch generator": lambda h: torch.rand(1, generator=h.torch),
    "slot": lambda h: h.slots.value.append(2),
    "list in a tuple": lambda h: h.pair[0].append(2),
    "closure": lambda h: h.closure(),
    "class attribute": lambda h: setattr(Holder, "shared", 1),
    "function's global": lambda h: count_globally(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_detected_and_restored(change):
    holder = Holder()
    before = Snapshot({"holder": holder, "count": count_globally})
    assert before.changed() == ""
    change(holder)
    assert before.changed()
    before.put_back()
    assert before.changed() == ""
    assert TOTAL == 0
    assert Holder.shared == 0


def test_unchanged_objects_are_not_written():
    holder = Holder()
    items, tensor, version = holder.items, holder.tensor, holder.tensor._version
    with put_back(holder=holder):
        holder.number = 5
    assert (holder.number, holder.items is items, holder.tensor is tensor) == (1, True, True)
    assert tensor._version == version


def test_an_iterator_is_reported_as_unseen():
    holder = Holder()
    assert Snapshot({"holder": holder}).unseen == ""
    holder.items.append(itertools.count())
    assert "holder.items[2] is an iterator (count)" in Snapshot({"holder": holder}).unseen


def test_all_three_generators_are_seeded_and_restored():
    def drawn():
        return random.random(), np.random.random(), torch.rand(()).item()

    before = generator_states()
    with preserve_generators():
        seed_generators(5)
        first = drawn()
        seed_generators(5)
        assert drawn() == first
        for name, draw in {
            "random": random.random,
            "NumPy": np.random.random,
            "torch": lambda: torch.rand(1),
        }.items():
            state = generator_states()
            draw()
            assert state.differences(generator_states()) == [name]
    assert before.differences(generator_states()) == []
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    assert drawn() == first


class Loss(nn.Module):
    """A loss with a parameter and a counter."""

    def __init__(self):
        super().__init__()
        self.scale, self.calls = nn.Parameter(torch.tensor(2.0)), 0

    def forward(self, output, target):
        self.calls += 1
        return (
            (output - target).square().mean() * self.scale.exp() + self.scale.square() + self.calls
        )


def test_a_loss_is_trained_with_the_module_and_restored_after_every_run():
    torch.manual_seed(0)
    x, loss = torch.randn(8, 3), Loss()
    problem = Problem(
        "loss",
        lambda: nn.Linear(3, 1),
        loss,
        x,
        x[:, :1],
        batch_size=8,
        order="cyclic",
        steps=5,
        lr=0.1,
    )
    check(problem)
    fingerprint(problem)
    outcomes = [
        train_plain(problem, Run(Adam(), 0.1, 8, 7), Options(points=5, early_stop=False))
        for _ in range(2)
    ]
    assert (loss.calls, loss.scale.item(), loss.scale.grad) == (0, 2.0, None)
    torch.manual_seed(7)
    module, own = nn.Linear(3, 1), Loss()
    optimizer = torch.optim.Adam([*module.parameters(), *own.parameters()], lr=0.1)
    for step in range(5):
        optimizer.zero_grad()
        value = own(module(x), x[:, :1])
        value.backward()
        optimizer.step()
        for outcome in outcomes:
            assert outcome.curve[step] == pytest.approx(value.item(), rel=1e-5)


def test_a_factory_that_returns_one_module_gives_every_run_the_same_start():
    torch.manual_seed(0)
    x, module = (
        torch.randn(8, 3),
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
    )
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    problem = Problem(
        "one", lambda: module, nn.functional.mse_loss, x, x[:, :1], batch_size=8, steps=5, lr=0.1
    )
    curves = [
        train_plain(problem, Run(Adam(), 0.1, 8, 7), Options(points=5)).curve for _ in range(2)
    ]
    assert np.array_equal(*curves)
    assert all(torch.equal(tensor, start[name]) for name, tensor in module.state_dict().items())


class Counted(nn.Module):
    """A scripted module that counts its calls and changes after six of them."""

    calls: int

    def __init__(self):
        super().__init__()
        self.linear, self.calls = nn.Linear(3, 1), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        y = self.linear(x)
        if self.calls > 6:
            y = y * 0.3 + 0.5
        return y


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_the_counter_of_a_scripted_module_agrees_with_the_users_loop():
    torch.manual_seed(0)
    x = torch.randn(8, 3)
    make = lambda: torch.jit.script(Counted())  # noqa: E731
    problem = Problem(
        "scripted",
        make,
        nn.functional.mse_loss,
        x,
        x[:, :1],
        batch_size=8,
        order="cyclic",
        steps=10,
    )
    curve = train_plain(problem, Run(Adam(), 0.1, 8, 7), Options(points=10, early_stop=False)).curve
    torch.manual_seed(7)
    module = make()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for loss in curve:
        optimizer.zero_grad()
        value = nn.functional.mse_loss(module(x), x[:, :1])
        value.backward()
        optimizer.step()
        assert loss == pytest.approx(value.item(), rel=1e-5)


class Doubled(nn.Linear):
    """A module with a constructor that registers a hook for all modules."""

    def __init__(self):
        super().__init__(3, 1)
        self.handle = nn.modules.module.register_module_forward_hook(
            lambda module, inputs, output: 2 * output if isinstance(module, Doubled) else None
        )


def test_hooks_for_all_modules_are_removed_before_the_next_run():
    before = len(GLOBAL_HOOKS["_global_forward_hooks"])
    torch.manual_seed(0)
    x = torch.randn(8, 3)
    problem = Problem("hooked", Doubled, nn.functional.mse_loss, x, x[:, :1], batch_size=8, steps=5)
    check(problem)
    curves = [
        train_plain(problem, Run(Adam(), 0.1, 8, 7), Options(points=5)).curve for _ in range(2)
    ]
    assert np.array_equal(*curves)
    assert len(GLOBAL_HOOKS["_global_forward_hooks"]) == before
