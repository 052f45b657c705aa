"""A fingerprint changes with what a problem does and with nothing else."""

import re

import pytest
import torch
from torch import nn

from betaplane.problems import Trainer, digits, fingerprint, reddi, text

BASE = digits()
SAME = {
    "again": digits(),
    "batch size": digits(batch_size=7),
    "steps": digits(steps=5),
    "lr": digits(lr=0.5),
    "note": BASE.with_(note="other words"),
    "source": BASE.with_(
        module=lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    ),
}
OTHER = {
    "name": BASE.with_(name="other"),
    "hidden": digits(hidden=31),
    "model": digits("logistic"),
    "parameter names": BASE.with_(
        module=lambda: nn.Sequential(nn.Linear(64, 32), nn.Identity(), nn.ReLU(), nn.Linear(32, 10))
    ),
    "dtype": BASE.with_(module=lambda: BASE.module().double(), inputs=BASE.inputs.double()),
    "order": BASE.with_(order="cyclic"),
    "schedule": BASE.with_(schedule="inverse_sqrt"),
    "warmup": BASE.with_(warmup=0.1),
    "loss": BASE.with_(loss=lambda y, t: nn.functional.cross_entropy(y, t, label_smoothing=0.1)),
    "data": BASE.with_(inputs=BASE.inputs.flip(0)),
    "one value": BASE.with_(targets=torch.cat([BASE.targets[:-1], BASE.targets[-1:] + 1])),
    "activation": BASE.with_(
        module=lambda: nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    ),
    "constrain": BASE.with_(constrain=torch.tanh),
    "gradient": BASE.with_(gradient=lambda parameters, x, y: ({}, x)),
}


@pytest.mark.parametrize("problem", SAME.values(), ids=SAME)
def test_same(problem):
    assert fingerprint(problem) == fingerprint(BASE)


def test_all_others_differ():
    prints = [fingerprint(problem) for problem in (BASE, *OTHER.values(), reddi(), text(context=8))]
    assert len(set(prints)) == len(prints)
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in prints)


def test_large_data_are_sampled(monkeypatch):
    monkeypatch.setitem(fingerprint.__globals__, "WHOLE", 1024)
    assert fingerprint(BASE) == fingerprint(digits())
    assert fingerprint(BASE) != fingerprint(BASE.with_(inputs=BASE.inputs.flip(0)))


def train(settings, seed):
    return [1.0]


def test_of_a_trainer():
    one = fingerprint(Trainer("mine", train))
    assert one == fingerprint(Trainer("mine", train))
    assert one != fingerprint(Trainer("yours", train))
    assert one != fingerprint(Trainer("mine", lambda settings, seed: [2.0]))
    assert one != fingerprint(Trainer("mine", train, defaults={"lr": 0.1}))
    assert len(fingerprint(Trainer("built in", max))) == 16
