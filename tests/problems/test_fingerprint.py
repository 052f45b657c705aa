"""A fingerprint changes if and only if the problem's computation changes."""

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
def test_equal_computations_have_equal_fingerprints(problem):
    assert fingerprint(problem) == fingerprint(BASE)


def test_different_problems_have_different_fingerprints():
    prints = [fingerprint(problem) for problem in (BASE, *OTHER.values(), reddi(), text(context=8))]
    assert len(set(prints)) == len(prints)
    assert all(re.fullmatch("[0-9a-f]{16}", text) for text in prints)


def test_large_data_are_sampled(monkeypatch):
    monkeypatch.setitem(fingerprint.__globals__, "MAX_HASHED_BYTES", 1024)
    assert fingerprint(BASE) == fingerprint(digits())
    assert fingerprint(BASE) != fingerprint(BASE.with_(inputs=BASE.inputs.flip(0)))


def train(settings, seed):
    return [1.0]


def test_fingerprint_of_a_trainer_depends_on_name_source_and_defaults():
    mine = fingerprint(Trainer("mine", train))
    assert mine == fingerprint(Trainer("mine", train))
    assert mine != fingerprint(Trainer("yours", train))
    assert mine != fingerprint(Trainer("mine", lambda settings, seed: [2.0]))
    assert mine != fingerprint(Trainer("mine", train, defaults={"lr": 0.1}))
    assert len(fingerprint(Trainer("built in", max))) == 16
