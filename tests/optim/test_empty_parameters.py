"""Parameters without elements among others: every rule and option steps the others as it does
without them.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

import betaplane
from betaplane.rules import ALL

EMPTY = ((0,), (0, 5), (4, 0))
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "max_norm": {"max_norm": 1.0},
    "average": {"average": 0.9},
    "8bit": {"storage": "8bit"},
    "float32": {"storage": "float32"},
    "zero": {"zero": True},
    "skip": {"nonfinite": "skip"},
    "eager": {"path": "eager"},
}
NAMES = [rule.__name__ for rule in ALL]


def made(
    name: str, shapes: tuple[tuple[int, ...], ...], options: dict[str, Any]
) -> tuple[Any, list[torch.nn.Parameter]]:
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in ((6, 5), *shapes)]
    return getattr(betaplane, name)(params, lr=0.01, **options), params


def steps(optimizer: Any, params: list[torch.nn.Parameter], values: tuple[float, ...]) -> None:
    for value in values:
        for p in params:
            p.grad = torch.full_like(p, value)
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "kind"), [*product(NAMES, OPTIONS), ("NAdam", "compiled"), ("Lion", "compiled")]
)
def test_empty_parameters_change_nothing(name: str, kind: str) -> None:
    options = OPTIONS.get(kind, {"path": kind})
    alone, (p,) = made(name, (), options)
    among, (q, *rest) = made(name, EMPTY, options)
    steps(alone, [p], (0.5, 1.5))
    steps(among, [q, *rest], (0.5, 1.5))
    assert torch.equal(p, q)
    loaded, (r, *others) = made(name, EMPTY, options)
    loaded.load_state_dict(among.state_dict())
    with torch.no_grad():
        r.copy_(q)
    steps(alone, [p], (-1.0,))
    steps(loaded, [r, *others], (-1.0,))
    torch.testing.assert_close(r, p)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "SGD"])
def test_torch_loads_states_with_empty_parameters(name: str) -> None:
    ours, params = made(name, EMPTY, {"max_norm": 1.0})
    steps(ours, params, (0.5, 1.5))
    theirs = getattr(torch.optim, name)(params)
    theirs.load_state_dict(ours.state_dict())
    steps(theirs, params, (0.5,))
    assert all(torch.isfinite(p).all() for p in params)


def test_curvature_takes_empty_parameters() -> None:
    optimizer, params = made("Sophia", EMPTY, {})
    optimizer.curvature([torch.ones_like(p) for p in params])
    steps(optimizer, params, (0.5,))
    assert torch.isfinite(params[0]).all()


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "Lion"])
def test_cleared_states_start_afresh(name: str) -> None:
    optimizer, params = made(name, (), {})
    steps(optimizer, params, (0.5, 1.5))
    optimizer.state[params[0]].clear()
    steps(optimizer, params, (0.5,))
    assert float(optimizer.state[params[0]]["step"]) == 1


def test_coded_is_none_for_a_parameter_without_a_state() -> None:
    optimizer, params = made("AdamW", (), {"storage": "8bit"})
    assert optimizer.coded(params[0], optimizer.param_groups[0], "exp_avg") is None
    assert params[0] not in optimizer.state
