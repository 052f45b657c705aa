"""Loading by name: reordered, regrouped and grown models continue from their state, whatever the class."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import betaplane.optim
from betaplane.errors import BadInput
from betaplane.rules import ALL

CLASSES = [getattr(betaplane.optim, rule.__name__) for rule in ALL]
each = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
# by place, shapes do not distinguish a from b
SHAPES = {"a.weight": (2, 3), "a.bias": (3,), "b.weight": (2, 3), "b.bias": (3,)}
ORDERS = {
    "same": [["a.weight", "a.bias", "b.weight", "b.bias"]],
    "reordered": [["b.weight", "b.bias", "a.weight", "a.bias"]],
    "regrouped": [["b.bias", "a.bias"], ["b.weight", "a.weight"]],
}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def model(extra: Iterable[str] = ()) -> dict[str, nn.Parameter]:
    shapes = SHAPES | dict.fromkeys(extra, (2, 3))
    return {
        name: nn.Parameter(numbers(*shape, seed=i))
        for i, (name, shape) in enumerate(shapes.items())
    }


def made(kind, params: dict[str, nn.Parameter], order: list[list[str]], **options) -> Optimizer:
    return kind(
        [{"params": [(name, params[name]) for name in names]} for names in order],
        lr=0.01,
        **options,
    )


def stepped(optimizer: Optimizer, params: dict[str, nn.Parameter], times: range) -> None:
    for t in times:
        for i, p in enumerate(params.values()):
            p.grad = numbers(*p.shape, seed=100 * t + i).to(p.dtype)
        optimizer.step()


def moved(params: dict[str, nn.Parameter], extra: Iterable[str] = ()) -> dict[str, nn.Parameter]:
    return model(extra) | {name: nn.Parameter(p.detach().clone()) for name, p in params.items()}


def disk(state_dict: dict) -> dict:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def before(kind, order: str = "same", **options) -> tuple[Optimizer, dict[str, nn.Parameter]]:
    params = model()
    optimizer = made(kind, params, ORDERS[order], **options)
    stepped(optimizer, params, range(1, 4))
    return optimizer, params


@each
@pytest.mark.parametrize(
    ("first", "second"),
    [("same", "same"), ("same", "reordered"), ("reordered", "regrouped"), ("regrouped", "same")],
)
def test_names_find_their_state(kind, first: str, second: str) -> None:
    saved, params = before(kind, first)
    after = moved(params)
    loaded = made(kind, after, ORDERS[second])
    loaded.load_state_dict(disk(saved.state_dict()))
    assert [group["param_names"] for group in loaded.param_groups] == ORDERS[second]
    stepped(saved, params, range(4, 7))
    stepped(loaded, after, range(4, 7))
    assert all(torch.equal(after[name], p) for name, p in params.items())


@each
def test_a_grown_model_goes_on(kind) -> None:
    """What was there continues, what is new takes a first step, what is gone is forgotten."""
    saved, params = before(kind)
    after = moved(params, ["c.weight"])
    del after["a.bias"]
    loaded = made(kind, after, [["c.weight", "b.weight", "a.weight", "b.bias"]])
    untouched = copy.deepcopy(loaded.state_dict())
    with pytest.raises(
        BadInput, match=r"got \{'missing': \['c\.weight'\], 'unknown': \['a\.bias'\]\}"
    ):
        loaded.load_state_dict(saved.state_dict())
    assert str(loaded.state_dict()) == str(untouched)
    loaded.load_state_dict(disk(saved.state_dict()), strict=False)
    fresh = {"c.weight": nn.Parameter(after["c.weight"].detach().clone())}
    alone = made(kind, fresh, [["c.weight"]])
    grad = numbers(2, 3, seed=9)
    for p in (*after.values(), *params.values(), *fresh.values()):
        p.grad = grad if p.dim() == 2 else grad[0]
    for optimizer in (saved, loaded, alone):
        optimizer.step()
    assert torch.equal(after["c.weight"], fresh["c.weight"])
    assert all(
        torch.equal(after[name], params[name]) for name in ("a.weight", "b.weight", "b.bias")
    )


@each
def test_without_names_places_count(kind) -> None:
    saved, params = before(kind)
    unnamed = kind(params.values(), lr=0.01)
    unnamed.load_state_dict(saved.state_dict())
    swapped = {name: params[name] for name in ORDERS["reordered"][0]}
    crossed = kind(swapped.values(), lr=0.01)
    crossed.load_state_dict(unnamed.state_dict())
    for one, two in (
        (params["a.weight"], params["b.weight"]),
        (params["b.bias"], params["a.bias"]),
    ):
        expected, found = saved.state[one], crossed.state[two]
        assert found.keys() == expected.keys()
        assert all(
            torch.equal(torch.as_tensor(found[word]), torch.as_tensor(expected[word]))
            for word in found
        )


@each
def test_wide_states_of_narrow_parameters_stay_wide(kind) -> None:
    saved, params = before(kind)
    after = {name: nn.Parameter(p.detach().bfloat16()) for name, p in params.items()}
    loaded = made(kind, after, ORDERS["reordered"])
    loaded.load_state_dict(saved.state_dict())
    for name, p in after.items():
        expected = saved.state[params[name]]
        for word, value in loaded.state[p].items():
            if isinstance(value, Tensor) and value.dim():
                assert value.dtype == torch.float64
                assert torch.equal(value, expected[word])
    stepped(loaded, after, range(4, 5))
    assert all(bool(torch.isfinite(p).all()) for p in after.values())


def test_what_groups_ask_for_follows_their_parameters() -> None:
    params = model()
    matrices, vectors = ["a.weight", "b.weight"], ["a.bias", "b.bias"]
    named = {True: [(n, params[n]) for n in matrices], False: [(n, params[n]) for n in vectors]}
    one = betaplane.AdamW(
        [{"params": named[True], "weight_decay": 0.1}, {"params": named[False], "lr": 0.5}], lr=0.2
    )
    two = betaplane.AdamW([{"params": named[False]}, {"params": named[True]}], eps=0.5)
    two.load_state_dict(one.state_dict())
    assert [(group["weight_decay"], group["lr"], group["eps"]) for group in two.param_groups] == [
        (0.01, 0.5, 1e-8),
        (0.1, 0.2, 1e-8),
    ]
    mixed = made(betaplane.AdamW, params, ORDERS["same"], weight_decay=0.7, eps=0.5)
    mixed.load_state_dict(one.state_dict())
    (group,) = mixed.param_groups
    # only eps was agreed on
    assert (group["weight_decay"], group["lr"], group["eps"]) == (0.7, 0.01, 1e-8)


def test_options_that_a_state_dict_lacks_stay() -> None:
    params = model()
    theirs = torch.optim.AdamW(params.values(), lr=0.3)
    ours = betaplane.AdamW(params.values(), eps_at="hat", clip=0.5)
    ours.load_state_dict(theirs.state_dict())
    (group,) = ours.param_groups
    assert (group["eps_at"], group["clip"], group["lr"]) == ("hat", 0.5, 0.3)


def test_torchs_named_state_dicts_load_by_name_too() -> None:
    params = model()
    theirs = made(torch.optim.AdamW, params, ORDERS["same"])
    stepped(theirs, params, range(1, 4))
    after = moved(params)
    ours = made(betaplane.AdamW, after, ORDERS["regrouped"])
    ours.load_state_dict(disk(theirs.state_dict()))
    stepped(theirs, params, range(4, 7))
    stepped(ours, after, range(4, 7))
    assert all(torch.allclose(after[name], p, rtol=1e-12, atol=1e-12) for name, p in params.items())


def test_a_users_hook_may_rename() -> None:
    saved, params = before(betaplane.AdamW, "regrouped")
    renamed = {f"model.{name}": p for name, p in moved(params).items()}
    loaded = made(betaplane.AdamW, renamed, [list(renamed)])

    def prefixed(optimizer: Optimizer, state_dict: dict) -> dict:
        groups = [
            {**g, "param_names": [f"model.{name}" for name in g["param_names"]]}
            for g in state_dict["param_groups"]
        ]
        return {**state_dict, "param_groups": groups}

    loaded.register_load_state_dict_pre_hook(prefixed)
    loaded.load_state_dict(saved.state_dict())
    for name, p in params.items():
        assert torch.equal(
            loaded.state[renamed[f"model.{name}"]]["exp_avg"], saved.state[p]["exp_avg"]
        )
    assert len(loaded._optimizer_load_state_dict_pre_hooks) == 1


def test_names_that_occur_twice_say_nothing() -> None:
    """Two modules in one optimizer: both have a weight and a bias."""
    modules = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = betaplane.Lion([{"params": module.named_parameters()} for module in modules])
    sum(module(torch.ones(2)).sum() for module in modules).backward()
    optimizer.step()
    again = betaplane.Lion([{"params": module.named_parameters()} for module in modules])
    again.load_state_dict(optimizer.state_dict())
    for p in (p for module in modules for p in module.parameters()):
        assert torch.equal(again.state[p]["exp_avg"], optimizer.state[p]["exp_avg"])


def other_shape() -> None:
    saved, params = before(betaplane.AdamW)
    after = moved(params) | {"a.bias": nn.Parameter(numbers(4))}
    made(betaplane.AdamW, after, ORDERS["reordered"]).load_state_dict(
        saved.state_dict(), strict=False
    )


def other_rule() -> None:
    saved, params = before(betaplane.LaProp)
    made(betaplane.Lion, params, ORDERS["reordered"]).load_state_dict(
        saved.state_dict(), strict=False
    )


def other_names() -> None:
    saved, params = before(betaplane.Lion)
    made(betaplane.Lion, params, [["a.weight", "b.weight", "b.bias"]]).load_state_dict(
        saved.state_dict()
    )


def other_number_without_names() -> None:
    saved, params = before(betaplane.Lion)
    betaplane.Lion([params["a.weight"]]).load_state_dict(saved.state_dict(), strict=False)


BAD = [
    (other_shape, "The state exp_avg has another shape: got (3,); expected (4,) (a.bias of AdamW"),
    (other_rule, "The state dict is another rule's: got 'LaProp: exp_avg = EMA of g / root of v"),
    (
        other_names,
        "The state dict is for other parameters: got {'missing': [], 'unknown': ['a.bias']}; expected the same names "
        "(Lion). Try: load_state_dict(state_dict, strict=False)",
    ),
    (
        other_number_without_names,
        "The state dict is for other groups: got [4]; expected [1] parameters (Lion",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)
