"""No error of a step leaves half of it done: parameters, states and options stay as they were."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import betaplane
import betaplane.optim
from betaplane.errors import BadInput
from betaplane.rules import ALL

KINDS = [getattr(betaplane.optim, rule.__name__) for rule in ALL]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
some = pytest.mark.parametrize(
    "kind",
    [
        betaplane.AdamW,
        betaplane.SGD,
        betaplane.RMSprop,
        betaplane.Lion,
        betaplane.AdaBelief,
        betaplane.AdamMini,
    ],
)
when = pytest.mark.parametrize("steps", [0, 2], ids=["first step", "third step"])


def params() -> list[nn.Parameter]:
    return [
        nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(i)))
        for i in range(3)
    ]


def backward(given: list[nn.Parameter]) -> None:
    for i, p in enumerate(given):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 + i))


def grouped(kind: Any, given: list[nn.Parameter], **options: Any) -> torch.optim.Optimizer:
    return kind([{"params": [p]} for p in given], lr=0.1, **options)


def refused(optimizer: torch.optim.Optimizer, given: list[nn.Parameter], text: str) -> None:
    """A step raises BadInput, and writes nothing."""
    before = [p.detach().clone() for p in given]
    states = copy.deepcopy([dict(optimizer.state.get(p, {})) for p in given])
    with pytest.raises(BadInput) as raised:
        optimizer.step()
    assert text in str(raised.value)
    assert all(torch.equal(p, old) for p, old in zip(given, before, strict=True))
    for p, old in zip(given, states, strict=True):
        held = optimizer.state.get(p, {})
        assert held.keys() == old.keys()
        assert all(
            torch.equal(held[word], value)
            for word, value in old.items()
            if isinstance(value, Tensor)
        )


def sparse(optimizer: torch.optim.Optimizer, given: list[nn.Parameter]) -> None:
    given[-1].grad = given[-1].grad.to_sparse()  # type: ignore[union-attr]


def resized(optimizer: torch.optim.Optimizer, given: list[nn.Parameter]) -> None:
    given[-1].data = torch.ones(5, 3)
    given[-1].grad = None
    given[-1].grad = torch.ones(5, 3)


def stale(optimizer: torch.optim.Optimizer, given: list[nn.Parameter]) -> None:
    given[-1].data = torch.ones(5, 3)


def unknown(optimizer: torch.optim.Optimizer, given: list[nn.Parameter]) -> None:
    optimizer.param_groups[-1]["weight_decay"] = -1.0


BREAKS: dict[Callable[..., None], str] = {
    sparse: "The gradient is sparse: got torch.sparse_coo; expected torch.strided",
    stale: "The gradient has another shape than its parameter: got (4, 3); expected (5, 3)",
    unknown: "weight_decay is out of range: got -1.0; expected [0, inf)",
}


@each
@when
@pytest.mark.parametrize("change", BREAKS, ids=lambda change: change.__name__)
def test_what_the_last_group_cannot_do_stops_the_first(kind: Any, steps: int, change: Any) -> None:
    given = params()
    optimizer = grouped(kind, given, weight_decay=0.1)
    for _ in range(steps):
        backward(given)
        optimizer.step()
    backward(given)
    change(optimizer, given)
    refused(optimizer, given, BREAKS[change])


@some
@pytest.mark.parametrize("path", ["auto", "eager", "compiled"])
def test_a_parameter_that_grew_is_refused_by_name_of_its_state(kind: Any, path: str) -> None:
    given = params()
    how = {"momentum": 0.9} if kind is betaplane.SGD else {}
    optimizer = grouped(kind, given, path=path, **how)
    for _ in range(2):
        backward(given)
        optimizer.step()
    backward(given)
    resized(optimizer, given)
    refused(optimizer, given, "has another shape than its parameter: got (4")


@pytest.mark.parametrize(
    "how",
    [{}, {"max_norm": 1.0}, {"storage": "8bit"}, {"clip": 1.0}, {"path": "compiled"}],
    ids=str,
)
def test_a_sparse_gradient_in_one_group_of_dense_ones(how: dict[str, Any]) -> None:
    given = params()
    optimizer = betaplane.AdamW(given, lr=0.1, **how)
    backward(given)
    sparse(optimizer, given)
    refused(optimizer, given, "The gradient is sparse")


def test_rows_that_do_not_divide_stop_the_first_group_too() -> None:
    given = params()
    optimizer = betaplane.AdamMini(
        [{"params": given[:2]}, {"params": given[2:], "rows": 3}], lr=0.1
    )
    backward(given)
    refused(optimizer, given, "The rows of a block do not divide those of the parameter: got 3")


@pytest.mark.parametrize("kind", [betaplane.SGD, betaplane.Adagrad], ids=lambda kind: kind.__name__)
def test_torch_takes_sparse_gradients_without_decay_only(kind: Any) -> None:
    given = params()
    optimizer = grouped(kind, given)
    backward(given)
    sparse(optimizer, given)
    with torch.sparse.check_sparse_tensor_invariants():
        optimizer.step()
    assert all(not torch.equal(p, old) for p, old in zip(given, params(), strict=True))
    optimizer.param_groups[-1]["weight_decay"] = 0.1
    refused(optimizer, given, "The gradient is sparse")


def test_an_option_that_is_mended_is_taken_again() -> None:
    given = params()
    optimizer = grouped(betaplane.AdamW, given)
    backward(given)
    unknown(optimizer, given)
    refused(optimizer, given, "weight_decay is out of range")
    optimizer.param_groups[-1]["weight_decay"] = 0.0
    optimizer.step()
    assert not torch.equal(given[-1], params()[-1])


def test_keys_of_any_type_may_change_between_steps() -> None:
    given = params()
    optimizer = grouped(betaplane.AdamW, given)
    for mark in (torch.zeros(3), {"a": 1}, torch.ones(3)):
        optimizer.param_groups[0]["mark"] = mark
        backward(given)
        optimizer.step()


def test_decay_under_which_weights_would_grow_stops_the_first_group_too() -> None:
    given = params()
    optimizer = grouped(betaplane.LaProp, given, weight_decay=0.1)
    optimizer.param_groups[-1]["lr"] = 50.0
    backward(given)
    refused(optimizer, given, "Weight decay would multiply every weight by -49")


# ---- eps that is zero in float16


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "8bit"])
def test_float16_parameters_take_a_small_eps_if_their_state_is_wide(storage: str) -> None:
    p = nn.Parameter(torch.ones(8, dtype=torch.float16))
    optimizer = betaplane.AdamW([p], lr=0.1, weight_decay=0.0, storage=storage)
    p.grad = torch.tensor([0.0] + [1e-2] * 7, dtype=torch.float16)
    optimizer.step()
    assert p.tolist() == pytest.approx([1.0] + [0.9] * 7, abs=1e-3)


def test_a_float16_parameter_in_the_last_group_is_refused_before_the_first_is_stepped() -> None:
    given = [*params()[:2], nn.Parameter(torch.ones(4, 3, dtype=torch.float16))]
    optimizer = grouped(betaplane.AdamW, given)
    for p in given:
        p.grad = torch.ones_like(p)
    refused(optimizer, given, 'Try: eps=1e-6, or storage="float32"')
