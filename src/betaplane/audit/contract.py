"""Tests of torch.optim's contract: groups, schedules, closures, independent parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from betaplane.audit.black_box import ONES, OTHER_ONES, SHAPE, TRIAL_VALUES, BlackBox, new_parameter
from betaplane.audit.probes import Finding

STEPS = 6
ROUNDING = 1e-9  # relative to the path
OTHER_SHAPE = tuple(OTHER_ONES.shape)
OPTIONS = ("lr", "weight_decay", "beta1", "beta2", "eps")
COUPLED = "unknown: parameters influence each other"

# x, gradients (steps, *x.shape), options of the group
Group = tuple[Tensor, Tensor, dict[str, Any]]


def neighbors(subject: BlackBox) -> Finding:
    """Whether a parameter steps as it does alone if the optimizer has another one, of any shape."""
    if not repeatable(subject):
        return Finding("unknown: two runs of the same steps differ")
    if not _separate(subject, OTHER_SHAPE):
        return Finding("parameters of any shape influence each other")
    others = {"the same shape": SHAPE, "the same number of elements": SHAPE[::-1]}
    shared = [name for name, shape in others.items() if not _separate(subject, shape)]
    if shared:
        return Finding(f"state is shared by parameters of {' and of '.join(shared)}", trouble=True)
    return Finding("each steps as it does alone")


def groups(subject: BlackBox) -> Finding:
    """Whether a group uses its own options, or those of the first group or of the constructor."""
    names = _own_options(subject)
    if not names:
        return Finding("there are no options of groups")
    if not repeatable(subject) or not _separate(subject, OTHER_SHAPE):
        return Finding(COUPLED)
    if not (names := [name for name in names if _has_effect(subject, name)]):
        return Finding("unknown: no option of groups has an effect")
    users: dict[str, list[str]] = {}
    for name in names:
        users.setdefault(_used(subject, name), []).append(name)
    wrong = [f"{text}: {', '.join(which)}" for text, which in users.items() if text]
    return Finding(
        "; ".join(wrong) or f"each group uses its own {', '.join(names)}", trouble=bool(wrong)
    )


def _used(subject: BlackBox, name: str) -> str:
    """The source of the option that a group uses; "" if it is the group's own."""
    own, other = {name: TRIAL_VALUES[name]}, {name: other_value(name)}
    (x, g), (y, h) = _draw(SHAPE, 0), _draw(OTHER_SHAPE, 1)
    right, first = _alone(subject, y, h, own), _alone(subject, y, h, other)
    second = _together(subject, [(x, g, other), (y, h, own)], other)[1]
    if _is_near(second, right):
        return ""
    if not _is_near(second, first):
        return "a group's own option acts otherwise than the constructor's"
    leads = _together(subject, [(x, g, own), (y, h, other)], other)[1]
    return (
        "every group uses the first group's"
        if _is_near(leads, right)
        else "groups have no effect on"
    )


def _has_effect(subject: BlackBox, name: str) -> bool:
    """Whether another value of the option changes the path of a single parameter."""
    x, g = _draw(SHAPE, 0)
    return not _is_near(
        *(_alone(subject, x, g, {name: value}) for value in (TRIAL_VALUES[name], other_value(name)))
    )


def schedules(subject: BlackBox) -> Finding:
    """Whether changes of an option in the groups, as by a scheduler, change later steps."""
    names = _own_options(subject)
    if not names:
        return Finding("there are no options of groups")
    if not repeatable(subject):
        return Finding("unknown: two runs of the same steps differ")
    if not (names := [name for name in names if _has_effect(subject, name)]):
        return Finding("unknown: no option of groups has an effect")
    ignored = [name for name in names if _ignores_change(subject, name)]
    if ignored:
        return Finding(
            f"schedulers have no effect: changed in the groups, ignored are {', '.join(ignored)}",
            trouble=True,
        )
    return Finding(f"schedulers are followed: {', '.join(names)}")


def _ignores_change(subject: BlackBox, name: str) -> bool:
    """Whether steps ignore a change of an option in the groups."""
    x, g = _draw(SHAPE, 0)
    before = {name: other_value(name)}
    same = _alone(subject, x, g, before)
    p = new_parameter(x)
    optimizer = subject.make([p], **before)
    for step, g_t in enumerate(g):
        if step == 2:
            for group in optimizer.param_groups:
                group.update(subject.class_options({name: TRIAL_VALUES[name]}))
        subject.step(optimizer, [(p, g_t)])
    return _is_near(p.detach(), same)


def closures(subject: BlackBox) -> Finding:
    """Whether step(closure) calls it once with gradients enabled, uses them, and returns its loss."""
    p, calls, returned = new_parameter(torch.ones(SHAPE, dtype=torch.float64)), list[bool](), None
    optimizer = subject.make([p])

    def closure() -> Tensor:
        calls.append(torch.is_grad_enabled())
        p.grad = (
            (p.detach() * 0 + 1).to_sparse(1)
            if subject.call_style == "sparse"
            else p.detach() * 0 + 1
        )
        return torch.tensor(3.5, dtype=torch.float64)

    for _ in range(STEPS):  # some move nothing at first
        returned = optimizer.step(closure)  # pyright: ignore
    idle = bool((p.detach() == 1).all()) and bool(
        (_alone(subject, ONES, torch.stack([ONES] * STEPS)) != 1).any()
    )
    wrong = list(_closure_faults(subject, calls, returned, idle))
    if wrong:
        return Finding("; ".join(wrong), trouble=True)
    times = "once" if len(calls) == STEPS else f"{len(calls) / STEPS:.3g} times per step"
    return Finding(f"called {times}, with gradients enabled; its loss is returned")


def _closure_faults(
    subject: BlackBox, calls: Sequence[bool], returned: Any, idle: bool
) -> Iterator[str]:
    if not calls:
        yield "never called"
    if len(calls) > STEPS and subject.call_style != "closure":
        yield f"called {len(calls) / STEPS:.3g} times in a step"
    if not all(calls):
        yield "called with gradients disabled, so that loss.backward() fails in it"
    if calls and idle:
        yield "its gradients have no effect, and those from before the step do"
    if calls and (returned is None or float(returned) != 3.5):
        yield "its loss is not returned"


def _own_options(subject: BlackBox) -> list[str]:
    """The options that the class has in its groups and that can be set."""
    optimizer = subject.make([new_parameter(torch.ones(SHAPE, dtype=torch.float64))])
    keys = set(optimizer.param_groups[0])
    return [
        name
        for name in OPTIONS
        if name in subject.settable
        and set(subject.class_options({name: TRIAL_VALUES[name]})) <= keys
    ]


def other_value(name: str) -> float:
    """A value of an option that differs from the trial value."""
    return {"lr": 0.02, "weight_decay": 0.0, "beta1": 0.5, "beta2": 0.9, "beta3": 0.8, "eps": 1e-3}[
        name
    ]


def repeatable(subject: BlackBox) -> bool:
    """Whether the same steps lead to the same weights."""
    x, g = _draw(SHAPE, 0)
    return _is_near(_alone(subject, x, g), _alone(subject, x, g))


def _separate(subject: BlackBox, shape: tuple[int, ...]) -> bool:
    """Whether two parameters, one of them of this shape, step as they do alone."""
    pairs = [_draw(SHAPE, 0), _draw(shape, 1)]
    together = _together(subject, [(*pair, {}) for pair in pairs])
    return all(
        _is_near(end, _alone(subject, *pair)) for end, pair in zip(together, pairs, strict=True)
    )


def _draw(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """A parameter and its gradients, whose scale depends on the seed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(STEPS + 1, *shape, dtype=torch.float64, generator=generator)
    return drawn[0], drawn[1:] * (1 + 3 * seed)


def _alone(subject: BlackBox, x: Tensor, g: Tensor, want: Mapping[str, Any] = {}) -> Tensor:
    return subject.path(x, g, want).points[-1]


def _together(
    subject: BlackBox, trials: Sequence[Group], want: Mapping[str, Any] = {}
) -> list[Tensor]:
    """The final values of parameters of one optimizer, in one group each if they have options."""
    params = [new_parameter(x) for x, _, _ in trials]
    own = [
        {"params": [p], **subject.class_options(options)}
        for p, (_, _, options) in zip(params, trials, strict=True)
    ]
    optimizer = subject.make(own if any(options for _, _, options in trials) else params, **want)
    for step in range(STEPS):
        subject.step(optimizer, [(p, g[step]) for p, (_, g, _) in zip(params, trials, strict=True)])
    return [p.detach() for p in params]


def _is_near(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() <= ROUNDING * (1 + b.abs())).all())
