"""Which state dicts load into which optimizer: of every ordered pair of rules and variants, by what
they would build.

A state means the same to two optimizers if both build it from the same gradients. The expected
answer for a pair comes from training the loading optimizer, with the options it has after loading,
on the gradients that the saved one saw."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch

import betaplane
from betaplane import rules
from betaplane.errors import BadInput
from betaplane.optim.state.labels import LABEL

SHAPES = ((3, 4), (5,))
BETAS = (0.9, 0.99, 0.999)
NUMBERS = {"lr": 1e-2, "alpha": 0.99, "weight_decay": 0.0, "initial_accumulator": 0.0, "eps": 0.0}
# of torch's classes, beside the rules' choices
SWITCHES = {"Adam": ("amsgrad",), "AdamW": ("amsgrad",)}
MOMENTUM = ("SGD", "RMSprop")


class Variant(NamedTuple):
    """A class with options, and how its state dict is saved: with its label, without, or by torch's
    class.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    saved: str = "labeled"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in self.options)}) {self.saved}"

    @property
    def kind(self) -> type[torch.optim.Optimizer]:
        return getattr(torch.optim if self.saved == "torch" else betaplane, self.name)


@cache
def variants() -> list[Variant]:
    found = []
    for rule in rules.ALL:
        name, usual = rule.__name__, rule()
        found.append(Variant(name))
        known = inspect.signature(getattr(betaplane, name)).parameters
        for option, choices in rule.choices.items():
            changed = [
                choice for choice in choices if choice != getattr(usual, option) and option in known
            ]
            found += [Variant(name, ((option, choice),)) for choice in changed]
        found += [Variant(name, ((switch, True),)) for switch in SWITCHES.get(name, ())]
        found += [Variant(name, (("momentum", 0.9),))] if name in MOMENTUM else []
    return [variant for variant in found if _exists(variant)]


def _exists(variant: Variant) -> bool:
    """Whether the class takes an option alone; SGD's nesterov needs momentum."""
    try:
        return bool(made(variant.kind, dict(variant.options)))
    except ValueError:
        return False


@cache
def sources() -> list[Variant]:
    own = variants()
    plain = [Variant(v.name, v.options, "unlabeled") for v in own]
    theirs = [Variant(v.name, v.options, "torch") for v in own if hasattr(torch.optim, v.name)]
    theirs = [
        v
        for v in theirs
        if {key for key, _ in v.options} <= set(inspect.signature(v.kind).parameters)
    ]
    return own + plain + theirs


def made(kind: type[torch.optim.Optimizer], options: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer with the same numbers as all others, of the options its class takes."""
    known = inspect.signature(kind).parameters
    given = {key: value for key, value in {**NUMBERS, **options}.items() if key in known}
    if "betas" in known:
        given["betas"] = BETAS[: len(known["betas"].default)]
    if isinstance(known.get("eps") and known["eps"].default, tuple):
        given.pop("eps")
    given |= {"path": "eager"} if "path" in known else {}
    if kind.__name__ == "Adafactor":
        given["lr"] = 1.5  # at weights of 0.5 and this lr no two of its step sizes are equal
    return kind([torch.nn.Parameter(torch.full(shape, 0.5)) for shape in SHAPES], **given)


def step(optimizer: torch.optim.Optimizer, seed: int) -> list[torch.Tensor]:
    """Take a step on random gradients of very different sizes; returns the updates."""
    params = optimizer.param_groups[0]["params"]
    before = [p.detach().clone() for p in params]
    generator = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator) * 10.0 ** (seed % 3 - 1)
    optimizer.step()
    return [p.detach() - old for p, old in zip(params, before, strict=True)]


@cache
def trained(
    kind: type[torch.optim.Optimizer], options: tuple[tuple[str, Any], ...]
) -> torch.optim.Optimizer:
    optimizer = made(kind, dict(options))
    for seed in range(4):
        step(optimizer, seed)
        for p in optimizer.param_groups[0]["params"]:
            p.data.fill_(0.5)  # so that states depend on gradients alone
    return optimizer


def saved(variant: Variant) -> dict[str, Any]:
    state_dict = copy.deepcopy(trained(variant.kind, variant.options).state_dict())
    for group in state_dict["param_groups"]:
        if variant.saved == "unlabeled":
            del group[LABEL]
    return state_dict


def options_after(source: Variant, target: Variant) -> tuple[tuple[str, Any], ...]:
    """The target's options once the saved group's have replaced its own."""
    group = {**dict(target.options), **trained(source.kind, source.options).param_groups[0]}
    known = set(inspect.signature(target.kind).parameters) - {"params", "lr", "betas"}
    return tuple(sorted((key, value) for key, value in group.items() if key in known))


def same_state(one: torch.optim.Optimizer, two: torch.optim.Optimizer) -> bool:
    """Whether two optimizers hold the same tensors of each parameter, whatever their keys."""
    for p, q in zip(one.param_groups[0]["params"], two.param_groups[0]["params"], strict=True):
        left, right = _tensors(one.state[p]), _tensors(two.state[q])
        for value in left:
            fits = [i for i, other in enumerate(right) if _close(value, other)]
            if not fits:
                return False
            right.pop(fits[0])
        if right:
            return False
    return True


def _tensors(held: Mapping[str, Any]) -> list[torch.Tensor]:
    """The tensors of a state, without the step count and what an option that is off leaves unused."""
    given = [value for key, value in held.items() if key != "step" and value is not None]
    return [value for value in given if value.dim() > 0 or value != 0]


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-12)


def frozen(optimizer: torch.optim.Optimizer) -> tuple:
    """All that a failed load must leave: the very objects, and what is in them to the last bit."""
    states = [
        (id(p), {k: (id(v), v.clone()) for k, v in held.items()})
        for p, held in optimizer.state.items()
    ]
    groups = [(id(group), dict(group)) for group in optimizer.param_groups]
    return id(optimizer.state), states, groups, sorted(optimizer.__dict__), _hooks(optimizer)


def _hooks(optimizer: torch.optim.Optimizer) -> dict[str, list]:
    return {
        name: list(value) for name, value in optimizer.__dict__.items() if name.endswith("hooks")
    }


def assert_untouched(optimizer: torch.optim.Optimizer, before: tuple) -> None:
    after = frozen(optimizer)
    assert (after[0], after[2], after[3], after[4]) == (before[0], before[2], before[3], before[4])
    assert [i for i, _ in after[1]] == [i for i, _ in before[1]]
    for (_, new), (_, old) in zip(after[1], before[1], strict=True):
        assert {k: i for k, (i, _) in new.items()} == {k: i for k, (i, _) in old.items()}
        assert all(torch.equal(value, old[k][1]) for k, (_, value) in new.items())


def check_pairs(
    pairs: Iterator[tuple[Variant, Variant]] | list[tuple[Variant, Variant]],
) -> dict[str, int]:
    """Load each source into each target; returns counts. What is loaded steps as the expected
    optimizer does.
    """
    counts, faults, targets = {"loaded": 0, "refused": 0}, [], {}
    for source, target in pairs:
        if target not in targets:
            targets[target] = made(target.kind, dict(target.options))
            step(targets[target], 9)
        optimizer, before = targets[target], frozen(targets[target])
        if source.saved != "labeled" and not any(
            trained(source.kind, source.options).state.values()
        ):
            continue  # nothing shows what it is, and there is nothing to misread
        try:
            right = trained(target.kind, options_after(source, target))
            wanted = same_state(trained(source.kind, source.options), right)
        except (BadInput, TypeError):  # options that the class cannot take
            right, wanted = None, False
        try:
            optimizer.load_state_dict(saved(source))
        except BadInput:
            assert_untouched(optimizer, before)
            counts["refused"] += 1
            if wanted:
                faults.append(f"{source} -> {target}: refused, but means the same")
            continue
        counts["loaded"] += 1
        del targets[target]
        if not wanted:
            faults.append(f"{source} -> {target}: loaded, but means another state")
        elif not _steps_alike(optimizer, right):
            faults.append(f"{source} -> {target}: loaded, but steps otherwise")
    assert not faults, f"{len(faults)} of {counts}\n" + "\n".join(faults[:40])
    return counts


def _steps_alike(loaded: torch.optim.Optimizer, right: torch.optim.Optimizer) -> bool:
    other = copy.deepcopy(right)
    with torch.no_grad():
        for p, q in zip(
            loaded.param_groups[0]["params"], other.param_groups[0]["params"], strict=True
        ):
            p.copy_(q)
    return all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-9)
        for a, b in zip(step(loaded, 5), step(other, 5), strict=True)
    )


def test_default_rules_load_exactly_where_their_states_mean_the_same() -> None:
    names = [rule.__name__ for rule in rules.ALL]
    counts = check_pairs([(Variant(one), Variant(two)) for one in names for two in names])
    print(f"\nordered pairs of rules: {counts}")
    assert counts["loaded"] > len(names)  # each into itself, and Adam's relatives


def test_a_sample_of_variants_loads_exactly_where_states_mean_the_same() -> None:
    drawn = random.Random(0)
    pairs = [(drawn.choice(sources()), drawn.choice(variants())) for _ in range(400)]
    print(f"\nordered pairs of variants, sample: {check_pairs(pairs)}")


@pytest.mark.slow
def test_all_variants_load_exactly_where_states_mean_the_same() -> None:
    counts = check_pairs((one, two) for two in variants() for one in sources())
    print(
        f"\nordered pairs of {len(sources())} saved and {len(variants())} loading variants: {counts}"
    )
