"""Constructor arguments of the wrong type: one sentence each, and a TypeError as torch raises."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

import betaplane
from betaplane.errors import BadInput, BadType

NET = nn.Linear(2, 2)
CLASSES = [betaplane.AdamW, betaplane.SGD, betaplane.Lion, betaplane.Adan]

MISTAKES: dict[str, tuple[Callable[[type], object], str]] = {
    "a module": (lambda kind: kind(NET), "A module is no list of parameters: got 'Linear'"),
    "None": (lambda kind: kind(None), "should be an iterable of Tensors or dicts: got 'NoneType'"),
    "a tensor": (lambda kind: kind(NET.weight), "should be an iterable of Tensors or dicts: got 'Parameter'"),
    "lr as text": (lambda kind: kind(NET.parameters(), lr="1e-3"), "lr is of the wrong type: got '1e-3'"),
    "lr by position": (lambda kind: kind(NET.parameters(), "0.1"), "lr is of the wrong type: got '0.1'"),
    "weight decay": (lambda kind: kind(NET.parameters(), weight_decay=None), "weight_decay is of the wrong type"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_wrong_type_gets_a_sentence(kind: type, mistake: str) -> None:
    call, sentence = MISTAKES[mistake]
    with pytest.raises(TypeError) as raised:
        call(kind)
    assert isinstance(raised.value, BadInput)
    assert sentence in str(raised.value)
    assert f"in {kind.__name__}. Try: " in str(raised.value)


@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.Lion, betaplane.Adan])
def test_one_beta_is_refused(kind: type) -> None:
    with pytest.raises(BadType, match=r"betas is of the wrong type: got 0\.9; expected . numbers"):
        kind(NET.parameters(), betas=0.9)


def test_tensors_and_lists_are_accepted() -> None:
    optimizer = betaplane.AdamW(NET.parameters(), lr=torch.tensor(0.1), betas=[0.9, 0.99])
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.99)


def test_an_error_is_the_same_after_pickling() -> None:
    error = BadType("lr is of the wrong type", value="x", where="AdamW")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (BadType, str(error))
