"""What every update rule is: a frozen record of hyperparameters with two pure functions, init and
step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput, nearest

State = Any  # a NamedTuple of tensors, one type per rule


class Laws(NamedTuple):
    """What holds for a rule at every input; tests check each law on every rule.

    A law that fails for a good reason is a finding: declare it with its value here. Laws speak of a rule at its
    default hyperparameters, save for those they name.
    """

    odd: bool = True  # step(-x, -g) from the mirrored state gives -x'
    permutes: bool = True  # reordering coordinates reorders the update
    rests: bool = True  # zero gradient, fresh state, no decay: x does not move
    # at eps = 0 the update does not change when all gradients are scaled alike
    scale_free: bool = False
    # |x' - x| / lr of the first step at eps = 0, no decay, where it is one number
    first_step: float | None = None
    # supremum of |x' - x| / lr over all gradient histories, at eps = 0, no decay
    bound: float | None = None


class Range(NamedTuple):
    """An interval a hyperparameter must lie in, and a value that always works."""

    low: float
    high: float
    text: str  # as mathematicians write it: "[0, 1)"
    usual: object  # what to write instead

    def holds(self, value: float) -> bool:
        above = value > self.low if self.text[0] == "(" else value >= self.low
        return bool(above and (value < self.high if self.text[-1] == ")" else value <= self.high))


INF = float("inf")
UNIT = {usual: Range(0.0, 1.0, "[0, 1)", usual) for usual in (0.9, 0.99, 0.999)}


def at_least_zero(usual: float) -> Range:
    """The range [0, inf), with a usual value to name in the error."""
    return Range(0.0, INF, "[0, inf)", usual)


@dataclass(frozen=True)
class Rule:
    """An update rule: hyperparameters as fields, `init` and `step` as pure functions.

    `step` returns new tensors and changes none of its arguments. Hyperparameters are floats, or 0-d tensors where
    a rule is vmapped over runs that differ in them; then x has at least one dimension, so that the hyperparameters'
    dtype (float64) does not promote it.
    """

    laws: ClassVar[Laws] = Laws()
    ranges: ClassVar[dict[str, Range]] = {}  # one for every hyperparameter
    choices: ClassVar[dict[str, tuple[object, ...]]] = {}  # the values of every other field
    # what each field of the state contains; equal texts mean the same
    holds: ClassVar[dict[str, str]] = {}
    # fields that are () if options or shapes leave them unused
    optional: ClassVar[tuple[str, ...]] = ()
    # fields of the state without negative numbers
    nonnegative: ClassVar[tuple[str, ...]] = ("v", "v_max")
    lr: ClassVar[float] = 1e-3  # the learning rate its authors suggest
    source: ClassVar[str] = ""  # authors, year, arXiv id

    def __init_subclass__(cls) -> None:
        """Take over the ranges and choices of the options a rule inherits, and the short repr."""
        cls.__repr__ = Rule.__repr__
        for word in ("ranges", "choices"):
            setattr(cls, word, getattr(super(cls, cls), word) | vars(cls).get(word, {}))

    def __post_init__(self) -> None:
        where = type(self).__name__
        for name, allowed in self.ranges.items():
            value, instead = getattr(self, name), f"{name}={allowed.usual}"
            if value is None and getattr(type(self), name, 0.0) is None:
                continue
            if not isinstance(value, (Real, Tensor)):
                text = f"a number in {allowed.text}"
                raise BadInput(
                    f"{name} is not a number",
                    value=value,
                    allowed=text,
                    where=where,
                    instead=instead,
                )
            if isinstance(value, Real) and not allowed.holds(float(value)):
                raise BadInput(
                    f"{name} is out of range",
                    value=value,
                    allowed=allowed.text,
                    where=where,
                    instead=instead,
                )
        for name, known in self.choices.items():
            value = getattr(self, name)
            if value not in known:
                text, instead = " or ".join(map(repr, known)), f"{name}={_closest(value, known)!r}"
                raise BadInput(
                    f"{name} is unknown", value=value, allowed=text, where=where, instead=instead
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.said().items())})"

    def said(self) -> dict[str, Any]:
        """The rule's own fields by name, and those shared options that are not at their default."""
        return {
            option.name: getattr(self, option.name)
            for option in fields(self)
            if not (option.kw_only and getattr(self, option.name) == option.default)
        }

    def init(self, x: Tensor) -> State:
        """The state before the first step, for a parameter like x."""
        raise NotImplementedError

    def step(self, x: Tensor, g: Tensor, s: State, lr: float | Tensor) -> tuple[Tensor, State]:
        """One whole update: (x', state'), decay included, in the paper's order."""
        raise NotImplementedError

    def contents(self) -> dict[str, str]:
        """What each field of the state contains under these options, without the step count.

        A state saved by one rule loads into another only if these agree. Without `holds` each field has a meaning of
        its own, so the state loads into the same rule only.

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
        """The names of the rule's own fields that are numbers, in reading order; shared options are
        left out.
        """
        return tuple(f.name for f in fields(cls) if f.type in ("float", float) and not f.kw_only)


def _closest(value: object, choices: tuple[object, ...]) -> object:
    """The choice that a misspelled value was most likely meant to be; the first if none is close."""
    texts = [choice for choice in choices if isinstance(choice, str)]
    return nearest(value, texts, "") or choices[0] if isinstance(value, str) else choices[0]
