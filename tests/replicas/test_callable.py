"""Training functions that yield their losses: stopped as soon as the verdict is certain."""

from __future__ import annotations

import copy
import json
import math
import pickle
import types

import numpy as np
import pytest
import torch

from betaplane.errors import BadInput
from betaplane.problems import Trainer
from betaplane.replicas import Options, Run
from betaplane.replicas.callable import train_callable

RUN = Run("adam", lr=0.1, batch_size=4, seed=0)


def test_losses_that_are_yielded_equal_losses_that_are_returned():
    losses = [3.0, 2.0, 1.0]
    returned = train_callable(Trainer("returns", lambda settings, seed: losses), RUN)
    yielded = train_callable(Trainer("yields", lambda settings, seed: (x for x in losses)), RUN)
    assert np.array_equal(returned.curve, yielded.curve)
    assert returned.whole
    assert yielded.whole


@pytest.mark.parametrize("early_stop", [True, False])
def test_generator_is_closed_at_the_first_loss_that_is_not_finite(early_stop: bool):
    events = []

    def train(settings, seed):
        try:
            for loss in (2.0, math.nan, 1.0):
                events.append(loss)
                yield torch.tensor(loss, requires_grad=True)
        finally:
            events.append("closed")

    outcome = train_callable(Trainer("diverges", train), RUN, Options(early_stop=early_stop))
    assert events[0] == 2.0
    assert events[2:] == ["closed"]
    assert outcome.initial == 2.0
    assert outcome.final == math.inf
    assert not outcome.whole


class Rising:
    """A function that yields ten losses above the first and knows their number."""

    losses = 10

    def __call__(self, settings, seed):
        yield from (1.0, *[2.0] * 9)


@pytest.mark.parametrize(("early_stop", "points"), [(True, 5), (False, 10)])
def test_rising_losses_are_stopped_half_way_if_their_number_is_known(early_stop, points):
    outcome = train_callable(Trainer("rises", Rising()), RUN, Options(early_stop=early_stop))
    assert len(outcome.curve) == points
    assert outcome.whole == (points == 10)


def test_generator_that_yields_no_loss_is_refused():
    def train(settings, seed):
        yield {"accuracy": 1.0}

    with pytest.raises(BadInput, match=r"no sequence of losses: got .*accuracy"):
        train_callable(Trainer("yields a dict", train), RUN)


OWN = Run("adam", lr=0.1, batch_size=4, seed=0, own=(("my_flag", 0.5),))
READERS = {
    "item": lambda s: s["my_flag"],
    "get": lambda s: s.get("my_flag", 1.0),
    "keywords": lambda s: dict(**s),
    "dict": lambda s: dict(s),
    "JSON": lambda s: json.dumps(s),
    "pickle": lambda s: pickle.dumps(s),
    "deep copy": lambda s: copy.deepcopy(s),
    "loop": lambda s: list(s),
    "union": lambda s: s | {},
    "namespace": lambda s: types.SimpleNamespace(**s),
    "format": lambda s: "{my_flag}".format(**s),
    "text": lambda s: str(s),
}


@pytest.mark.parametrize("reader", READERS)
def test_setting_of_the_users_own_may_be_read_in_any_way(reader: str):
    def train(settings, seed):
        READERS[reader](settings)
        return [2.0, 1.0]

    assert train_callable(Trainer("reads", train), OWN).whole


def test_setting_of_the_users_own_that_is_not_read_is_refused():
    def train(settings, seed):
        return [2.0, settings["lr"] * settings.get("my_flog", 1.0)]

    text = "does not read the setting my_flag; it reads my_flog: got 'my_flag=0.5'"
    with pytest.raises(BadInput, match=text):
        train_callable(Trainer("ignores", train), OWN)
