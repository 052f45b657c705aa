"""Constructor arguments of the wrong type: one sentence each, and a TypeError as torch raises."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

import betaplane
from betaplane.errors import BadInput, BadType
from betaplane.optim import optimizer_class

NET = nn.Linear(2, 2)
CLASSES = [betaplane.AdamW, betaplane.SGD, betaplane.Lion, betaplane.Adan]
P = nn.Parameter(torch.ones(2))

MISTAKES: dict[str, tuple[Callable[[type], object], str]] = {
    "a module": (lambda kind: kind(NET), "A module is not a list of parameters: got 'Linear'"),
    "None": (lambda kind: kind(None), "should be an iterable of Tensors or dicts: got 'NoneType'"),
    "a tensor": (
        lambda kind: kind(NET.weight),
        "should be an iterable of Tensors or dicts: got 'Parameter'",
    ),
    "params of None": (
        lambda kind: kind([{"params": None}]),
        "should be an iterable of Tensors or dicts: got 'NoneType'",
    ),
    "params of a module": (
        lambda kind: kind([{"params": NET}]),
        "A module is not a list of parameters: got 'Linear'",
    ),
    "params of a set": (
        lambda kind: kind([{"params": {P}}]),
        "organized in ordered collections: got 'set'",
    ),
    "numbers": (lambda kind: kind([1.0, 2.0]), "can only optimize Tensors: got 'float'"),
    "a state dict": (
        lambda kind: kind(NET.state_dict()),
        "can only optimize Tensors: got 'weight'",
    ),
    "a group alone": (
        lambda kind: kind({"params": [P]}),
        "can only optimize Tensors: got 'params'",
    ),
    "a group among parameters": (
        lambda kind: kind([P, {"params": [P]}]),
        "can only optimize Tensors: got 'dict'",
    ),
    "a parameter among groups": (
        lambda kind: kind([{"params": [NET.bias]}, P]),
        "must be a dict: got 'Parameter'",
    ),
    "a short pair": (lambda kind: kind([("weight",)]), "can only optimize Tensors: got ('str',)"),
    "a turned pair": (
        lambda kind: kind([(P, "weight")]),
        "can only optimize Tensors: got ('Parameter', 'str')",
    ),
    "lr of a group as text": (
        lambda kind: kind([{"params": [P], "lr": "0.1"}]),
        "lr is of the wrong type: got '0.1'",
    ),
    "lr of a group as None": (
        lambda kind: kind([{"params": [P], "lr": None}]),
        "lr is of the wrong type: got None",
    ),
    "no group": (
        lambda kind: kind([NET.bias]).add_param_group(None),
        "must be a dict: got 'NoneType'",
    ),
    "a list for a group": (
        lambda kind: kind([NET.bias]).add_param_group([P]),
        "must be a dict: got 'list'",
    ),
    "lr as text": (
        lambda kind: kind(NET.parameters(), lr="1e-3"),
        "lr is of the wrong type: got '1e-3'",
    ),
    "lr by position": (
        lambda kind: kind(NET.parameters(), "0.1"),
        "lr is of the wrong type: got '0.1'",
    ),
    "weight decay": (
        lambda kind: kind(NET.parameters(), weight_decay=None),
        "weight_decay is of the wrong type",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_wrong_type_gets_a_sentence(kind: type, mistake: str) -> None:
    call, sentence = MISTAKES[mistake]
    with pytest.raises(TypeError) as raised:
        call(kind)
    assert isinstance(raised.value, BadInput)
    assert sentence in str(raised.value)
    assert f"({kind.__name__}). Try: " in str(raised.value)


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


@pytest.mark.parametrize("kind", CLASSES)
def test_a_group_without_params_is_a_key_error_in_words(kind: type) -> None:
    for call in (lambda: kind([{"lr": 0.1}]), lambda: kind([P]).add_param_group({"lr": 0.1})):
        with pytest.raises(KeyError) as raised:
            call()
        assert isinstance(raised.value, BadInput)
        assert str(raised.value).startswith(
            "The param group has no params: got ['lr']; expected params ("
        )


WRONG: dict[str, Callable[[], dict[str, object]]] = {
    "in two groups": lambda: {"params": [P]},
    "not a leaf": lambda: {"params": [P * 2]},
    "named": lambda: {"params": [("bias", NET.bias)]},
    "whole numbers": lambda: {"params": [torch.ones(2, dtype=torch.long)]},
    "lr": lambda: {"params": [NET.bias], "lr": -1.0},
    "weight decay": lambda: {"params": [NET.bias], "weight_decay": None},
    "no params": lambda: {"lr": 0.1},
    "set": lambda: {"params": {NET.bias}},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_group_that_is_refused_leaves_the_optimizer(kind: type, wrong: str) -> None:
    optimizer = kind([P])
    with pytest.raises(BadInput):
        optimizer.add_param_group(WRONG[wrong]())
    assert len(optimizer.param_groups) == 1


def test_generators_are_taken_as_params() -> None:
    for kind in CLASSES:
        assert len(kind([{"params": NET.parameters()}]).param_groups[0]["params"]) == 2


TEXTS: dict[str, tuple[dict[str, object], str]] = {
    "max_norm": ({"max_norm": "1"}, "max_norm is not a number: got '1'"),
    "max_norm of two": ({"max_norm": torch.ones(2)}, "max_norm is not a number"),
    "average": ({"average": "0.9"}, "average is not a number: got '0.9'"),
    "zero": ({"zero": "no"}, "zero is of the wrong type: got 'no'; expected True or False"),
    "maximize": (
        {"maximize": "no"},
        "maximize is of the wrong type: got 'no'; expected True or False",
    ),
    "a beta": ({"betas": ("0.9", 0.99)}, "betas is of the wrong type: got ('0.9', 0.99)"),
    "no beta": ({"betas": (None, 0.99)}, "betas is of the wrong type: got (None, 0.99)"),
    "two lrs": ({"lr": torch.ones(2)}, "lr "),
}


@pytest.mark.parametrize("option", TEXTS)
@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.Lion])
def test_options_of_the_wrong_type_are_refused(kind: type, option: str) -> None:
    options, sentence = TEXTS[option]
    with pytest.raises(BadInput) as raised:
        kind([P], **options)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("eps", [(1e-3,), ("a", 1e-3), 1e-3])
def test_adafactor_takes_two_eps(eps: object) -> None:
    with pytest.raises(BadType, match="eps is of the wrong type"):
        betaplane.Adafactor([P], eps=eps)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.Lion, betaplane.NAdam])
@pytest.mark.parametrize(
    ("key", "value"), [("lr", None), ("lr", "0.1"), ("betas", None), ("weight_decay", "x")]
)
def test_options_changed_to_another_type_are_refused_by_the_step(
    kind: type, key: str, value: object
) -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = kind([p])
    optimizer.param_groups[0][key] = value
    p.grad = torch.ones(3)
    with pytest.raises(BadInput):
        optimizer.step()
    assert torch.equal(p, torch.ones(3))


@pytest.mark.parametrize("rule", [None, "adam", 3, nn.Linear])
def test_optimizer_class_takes_rules(rule: object) -> None:
    with pytest.raises(BadType, match="This is no class of rules"):
        optimizer_class(rule)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.NAdam, betaplane.Lion])
@pytest.mark.parametrize("betas", [(0.9,), (0.9, 0.99, 0.999), ()])
def test_another_number_of_betas_is_refused(kind: type, betas: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match=r"betas .*expected 2 numbers"):
        kind(NET.parameters(), betas=betas)
