"""Rule, the base class of update rules: fields are hyperparameters, methods are pure functions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput, one_of

State = Any  # a NamedTuple of tensors, one type per rule


class Laws(NamedTuple):
    """Properties of a rule at its default hyperparameters, which tests check for every rule.

    A law that does not hold for a good reason is a finding: its value here declares it.
    """

    odd: bool = True  # step(-x, -g) from the mirrored state returns -x'
    permutes: bool = True  # permuting the elements permutes the update
    # x does not move at zero gradient, with a new state and without decay
    rests: bool = True
    # at eps = 0 the update does not change if all gradients are scaled by one factor
    scale_free: bool = False
    # |x' - x| / lr of the first step at eps = 0 without decay, if it has one value
    first_step: float | None = None
    # supremum of |x' - x| / lr over all gradient histories, at eps = 0 without decay
    bound: float | None = None


class Range(NamedTuple):
    """The interval of valid values of a hyperparameter, and an example of one."""

    low: float
    high: float
    text: str  # in mathematical notation: "[0, 1)"
    example: object  # the value that errors propose

    def contains(self, value: float) -> bool:
        """Whether the interval contains a value."""
        above = value > self.low if self.text[0] == "(" else value >= self.low
        below = value < self.high if self.text[-1] == ")" else value <= self.high
        return bool(above and below)


INF = float("inf")
UNIT = {example: Range(0.0, 1.0, "[0, 1)", example) for example in (0.9, 0.99, 0.999)}


def at_least_zero(example: float) -> Range:
    """The range [0, inf), with an example for errors."""
    return Range(0.0, INF, "[0, inf)", example)


@dataclass(frozen=True)
class Rule:
    """An update rule: hyperparameters as fields, `init` and `step` as pure functions.

    `step` returns new tensors and does not change its arguments. Hyperparameters are floats, or 0-d
    float64 tensors if a rule is vmapped over runs with different values. x then has at least one
    dimension, so that their dtype does not promote it.
    """

    laws: ClassVar[Laws] = Laws()
    ranges: ClassVar[dict[str, Range]] = {}  # of every hyperparameter that is a number
    choices: ClassVar[dict[str, tuple[object, ...]]] = {}  # valid values of every other field
    # what each field of the state contains; states with equal texts can be exchanged
    holds: ClassVar[dict[str, str]] = {}
    # fields of the state that are () if options or shapes do not use them
    optional: ClassVar[tuple[str, ...]] = ()
    # fields of the state without negative elements
    nonnegative: ClassVar[tuple[str, ...]] = ("v", "v_max")
    lr: ClassVar[float] = 1e-3  # the learning rate that its authors suggest
    source: ClassVar[str] = ""  # authors, year, arXiv id

    def __init_subclass__(cls) -> None:
        """Add the ranges and choices of inherited options, and the short repr."""
        cls.__repr__ = Rule.__repr__
        for name in ("ranges", "choices"):
            setattr(cls, name, getattr(super(cls, cls), name) | vars(cls).get(name, {}))

    def __post_init__(self) -> None:
        for name, allowed in self.ranges.items():
            if getattr(self, name) is not None or getattr(type(self), name, 0.0) is not None:
                self._check_number(name, allowed)
        for name, choices in self.choices.items():
            one_of(choices, type(self).__name__, **{name: getattr(self, name)})

    def _check_number(self, name: str, allowed: Range) -> None:
        value = getattr(self, name)
        if type(value) is float and allowed.contains(value):
            return  # the usual case, without the slow check of abstract classes
        error, interval = "", allowed.text
        if not isinstance(value, (Real, Tensor)):
            error, interval = f"{name} is not a number", f"a number in {allowed.text}"
        elif isinstance(value, Real) and not allowed.contains(float(value)):
            error = f"{name} is out of range"
        if error:
            where, instead = type(self).__name__, f"{name}={allowed.example}"
            raise BadInput(error, value=value, allowed=interval, where=where, instead=instead)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options().items())
        return f"{type(self).__name__}({options})"

    def options(self) -> dict[str, Any]:
        """The rule's own fields by name, and the shared options that differ from their default."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if not (field.kw_only and getattr(self, field.name) == field.default)
        }

    def init(self, x: Tensor) -> State:
        """The state before the first step, for a parameter like x."""
        raise NotImplementedError

    def step(self, x: Tensor, g: Tensor, s: State, lr: float | Tensor) -> tuple[Tensor, State]:
        """One complete update, decay included, in the paper's order; returns (x', state')."""
        raise NotImplementedError

    def contents(self) -> dict[str, str]:
        """What each field of the state, except the step count, contains with these options.

        A state that one rule saved can be loaded by another only if these texts agree. Without
        `holds`, each field has its own meaning, and only the same rule can load the state.

        Example:
            >>> from betaplane.rules import AdaBelief
            >>> AdaBelief().contents()
            {'m': 'EMA of g', 'v': 'EMA of (g - m)^2'}
        """
        if self.holds:
            return dict(self.holds)
        names = self.init(torch.zeros(1, 1))._fields
        return {name: f"{name} of {type(self).__name__}" for name in names if name != "t"}

    @classmethod
    def hyperparameters(cls) -> tuple[str, ...]:
        """The names of the rule's own numerical fields in order, without shared options."""
        return tuple(f.name for f in fields(cls) if f.type in ("float", float) and not f.kw_only)
