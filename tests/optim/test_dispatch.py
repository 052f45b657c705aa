"""Which implementation steps a parameter, how many functions a step enters, what stays during a step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import betaplane
from betaplane.errors import BadInput
from betaplane.optim import dispatch, optimizer_class
from betaplane.optim.dispatch import StepPath
from betaplane.optim.step.preconditions import CheckedGroup
from betaplane.rules import AdamW, AMSGrad

SOURCES = str(Path(betaplane.__file__).parent)


def with_gradient(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    p = nn.Parameter(torch.ones(*shape, dtype=dtype))
    p.grad = torch.ones_like(p)
    return p


def paths(optimizer: Any) -> list[StepPath]:
    """The path of each parameter of the first group."""
    group = optimizer.param_groups[0]
    facts = dispatch.group_facts(
        optimizer, CheckedGroup(optimizer, group), (0, group), group["params"], optimizer.state
    )
    return [dispatch.choose_path(p, facts, optimizer.state.get(p, {})) for p in group["params"]]


LARGE = dispatch.MIN_COMPILED_ELEMENTS
CHOICES: list[tuple[str, int, dict[str, Any], StepPath]] = [
    ("AdamW", 4, {}, StepPath.FUSED),
    ("AdamW", LARGE, {}, StepPath.FUSED),
    ("AdamW", 4, {"foreach": True}, StepPath.TORCH_LOOP),
    ("AdamW", 4, {"amsgrad": True}, StepPath.TORCH_LOOP),
    ("AdamW", LARGE, {"amsgrad": True}, StepPath.COMPILED),
    ("AdamW", 4, {"path": "compiled"}, StepPath.COMPILED),
    ("AdamW", 4, {"path": "compiled", "fused": True}, StepPath.FUSED),
    ("AdamW", 4, {"lr": torch.tensor(0.1)}, StepPath.TORCH_LOOP),
    ("AdamW", 4, {"clip": 1.0}, StepPath.EAGER),
    ("AdamW", LARGE, {"clip": 1.0}, StepPath.COMPILED),
    ("AdamW", LARGE, {"clip": 1.0, "path": "eager"}, StepPath.EAGER),
    ("AdamW", 4, {"max_norm": 1.0}, StepPath.EAGER),
    ("AdamW", 4, {"zero": True}, StepPath.EAGER),
    ("AdamW", 4, {"storage": "float32"}, StepPath.EAGER),
    ("NAdam", 4, {}, StepPath.TORCH_LOOP),
    ("NAdam", LARGE, {}, StepPath.COMPILED),
    ("NAdam", LARGE, {"foreach": False}, StepPath.TORCH_LOOP),
    ("RMSprop", LARGE, {"centered": True}, StepPath.TORCH_LOOP),
    ("Adafactor", LARGE, {}, StepPath.COMPILED),
    ("Adafactor", LARGE, {"foreach": False}, StepPath.TORCH_LOOP),
    ("Adafactor", LARGE, {"cautious": "paper"}, StepPath.EAGER),
    ("Lion", 4, {}, StepPath.EAGER),
    ("Lion", LARGE, {}, StepPath.COMPILED),
    ("Lion", LARGE, {"path": "eager"}, StepPath.EAGER),
]


@pytest.mark.parametrize(("name", "size", "options", "expected"), CHOICES)
def test_path_follows_the_table(
    name: str, size: int, options: dict[str, Any], expected: StepPath
) -> None:
    optimizer = getattr(betaplane.optim, name)([with_gradient(size)], **options)
    assert paths(optimizer) == [expected]
    assert f"path: {expected.value}" in repr(optimizer)


def test_parameters_of_one_group_take_different_paths() -> None:
    view = nn.Parameter(torch.ones(4, 4)[:, ::2])
    view.grad = torch.ones(4, 2)
    half_gradient = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    wide_state = with_gradient(4, dtype=torch.bfloat16)
    params = [with_gradient(4), view, with_gradient(4, dtype=torch.float16), wide_state]
    optimizer = betaplane.AdamW(params, lr=0.1)
    optimizer.state[wide_state] = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(4)}
    expected = [StepPath.FUSED, StepPath.TORCH_LOOP, StepPath.TORCH_LOOP, StepPath.EAGER]
    assert paths(optimizer) == expected
    assert paths(betaplane.AdamW([half_gradient], lr=0.1)) == [StepPath.FUSED]


def test_sparse_gradients_are_stepped_by_torchs_loop() -> None:
    p = nn.Parameter(torch.ones(LARGE))
    p.grad = torch.ones(LARGE).to_sparse()
    assert paths(betaplane.optim.SGD([p], path="compiled")) == [StepPath.TORCH_LOOP]


def test_momentum_does_not_start_in_the_fused_kernel_beside_others() -> None:
    first, second = with_gradient(4), with_gradient(4)
    optimizer = betaplane.optim.SGD([first, second], momentum=0.9)
    assert paths(optimizer) == [StepPath.FUSED, StepPath.FUSED]
    optimizer.state[first] = {"momentum_buffer": torch.ones(4)}
    assert paths(optimizer) == [StepPath.FUSED, StepPath.TORCH_LOOP]


def functions_entered(optimizer: Any) -> set[tuple[str, str, int]]:
    """The functions of this package that the optimizer's fourth step enters, without comprehensions."""
    params = optimizer.param_groups[0]["params"]
    entered: set[tuple[str, str, int]] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        own = code.co_filename.startswith(SOURCES) and not code.co_name.startswith("<")
        if event == "call" and own:
            entered.add((code.co_filename[len(SOURCES) :], code.co_name, code.co_firstlineno))

    for _ in range(3):
        optimizer.step()
    for p in params:
        p.grad = torch.ones_like(p)
    sys.setprofile(profile)
    try:
        optimizer.step()
    finally:
        sys.setprofile(None)
    return entered


@pytest.mark.parametrize("count", [1, 8])
def test_fused_step_enters_at_most_10_functions(count: int) -> None:
    entered = functions_entered(betaplane.AdamW([with_gradient(10) for _ in range(count)]))
    print(f"\nfused AdamW step, {count} parameters: {len(entered)} functions entered")
    assert 0 < len(entered) <= 10


EAGER: dict[str, Callable[[list[nn.Parameter]], Any]] = {
    "Lion": lambda params: betaplane.Lion(params, path="eager"),
    "AMSGrad": lambda params: optimizer_class(AMSGrad)(params, path="eager"),
    "AdamW": lambda params: optimizer_class(AdamW)(params, path="eager"),
    "AdamW of Keras": lambda params: betaplane.AdamW(params, eps_at="hat", path="eager"),
}


@pytest.mark.parametrize("name", EAGER)
def test_eager_step_enters_at_most_25_functions(name: str) -> None:
    entered = functions_entered(EAGER[name]([with_gradient(10)]))
    in_rules = {function for function in entered if function[0].startswith("/rules/")}
    print(f"\neager {name} step: {len(entered)} functions entered, {len(in_rules)} in rules/")
    assert in_rules
    assert len(entered) <= 25


class GroupsSeen(TorchDispatchMode):
    """Records the optimizer's parameters, as each operation of a step sees them."""

    def __init__(self, optimizer: Any) -> None:
        super().__init__()
        self.optimizer, self.seen = optimizer, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        groups = self.optimizer.param_groups
        self.seen.append([id(p) for group in groups for p in group["params"]])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options", [{}, {"foreach": False}, {"clip": 1.0}, {"max_norm": 1.0}, {"fused": True}], ids=str
)
def test_param_groups_stay_complete_during_a_step(options: dict[str, Any]) -> None:
    view = nn.Parameter(torch.ones(4, 4)[:, ::2])
    view.grad = torch.ones(4, 2)
    params: list[Tensor] = [with_gradient(4), view, nn.Parameter(torch.ones(2))]
    optimizer = betaplane.AdamW([{"params": params[:2]}, {"params": params[2:]}], **options)
    groups = list(optimizer.param_groups)
    with GroupsSeen(optimizer) as mode:
        optimizer.step()
    assert mode.seen
    assert all(seen == [id(p) for p in params] for seen in mode.seen)
    assert all(a is b for a, b in zip(groups, optimizer.param_groups, strict=True))


def test_rule_is_built_only_when_options_change(monkeypatch: pytest.MonkeyPatch) -> None:
    p = with_gradient(4)
    optimizer = betaplane.Lion([p], path="eager")
    built: list[Any] = []
    rule_of = type(optimizer).rule_of
    monkeypatch.setattr(
        type(optimizer), "rule_of", lambda self, group: built.append(group) or rule_of(self, group)
    )
    optimizer.step()
    first = len(built)
    optimizer.step()
    assert len(built) == first > 0
    optimizer.param_groups[0]["weight_decay"] = 0.5
    optimizer.step()
    assert len(built) > first
    optimizer.param_groups[0]["weight_decay"] = -1.0
    with pytest.raises(BadInput, match="weight_decay"):
        optimizer.step()


def test_betas_changed_in_place_are_used() -> None:
    betas = [0.9, 0.99]
    p, q = with_gradient(4), with_gradient(4)
    ours = betaplane.Lion([p], path="eager")
    theirs = betaplane.Lion([q], path="eager", betas=(0.5, 0.5))
    ours.param_groups[0]["betas"] = betas
    ours.step()
    ours.state.clear()
    p.data.fill_(1.0)
    betas[:] = [0.5, 0.5]
    ours.step()
    theirs.step()
    assert torch.equal(ours.state[p]["exp_avg"], theirs.state[q]["exp_avg"])


def test_repr_of_invalid_options_does_not_raise() -> None:
    optimizer = betaplane.Lion([with_gradient(4)])
    optimizer.param_groups[0]["weight_decay"] = -1.0
    assert "path: unknown" in repr(optimizer)
