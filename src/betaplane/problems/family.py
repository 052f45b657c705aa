"""Built-in problems with other options: the same problem with n = 20 instead of n = 10."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from betaplane.errors import BadInput, unknown

if TYPE_CHECKING:
    from betaplane.problems.problem import Problem

Parameters = ParamSpec("Parameters")
# fields that `Problem.with_` may have changed; other options do not change them
PRESERVED = ("name", "batch_size", "order", "steps", "lr", "schedule", "warmup", "record")


@dataclass(frozen=True)
class Family:
    """The function that built a problem, and the options that it was called with."""

    name: str  # of the function in `betaplane.problems`
    options: Mapping[str, Any]

    def build(self, **options: Any) -> Problem:
        """The problem with other values of some options."""
        return self._function()(**{**self.options, **options})

    def boundary(self, changes: Mapping[str, Any]) -> Callable[[float], float] | None:
        """The exact boundary after these fields of the problem were changed; it holds for some
        orders and schedules only, and for one batch size.
        """
        options = self.parameters()
        built = self.build(**{name: changes[name] for name in options if name in changes})
        keeps_batches = changes.get("batch_size", built.batch_size) == built.batch_size
        return built.boundary if keeps_batches else None

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The options of the function, by name."""
        return inspect.signature(self._function()).parameters

    def _function(self) -> Callable[..., Problem]:
        from betaplane import problems  # imported lazily: its functions use this module

        return getattr(problems, self.name)


def family(make: Callable[Parameters, Problem]) -> Callable[Parameters, Problem]:
    """Decorate a function that builds a problem: its problems store their options."""

    @wraps(make)
    def build(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Problem:
        problem = make(*args, **kwargs)
        options = inspect.signature(make).bind(*args, **kwargs).arguments
        return replace(problem, family=Family(make.__name__, options))

    return build


def numeric_options(problem: object) -> dict[str, bool]:
    """The options of a built-in problem that can be an axis of a map, and whether each is a whole
    number; empty for other problems.

    Example:
        >>> from betaplane.problems import counterexample
        >>> numeric_options(counterexample())
        {'n': True, 'a': False, 'x0': False}
    """
    own: Family | None = getattr(problem, "family", None)
    if own is None:
        return {}
    kinds = {p.name: str(p.annotation).split(" | ")[0] for p in own.parameters().values()}
    return {
        name: kind == "int"
        for name, kind in kinds.items()
        if kind in ("int", "float") and name not in PRESERVED
    }


def variant(problem: Problem, options: Mapping[str, float]) -> Problem:
    """A built-in problem with other values of some of its options; the problem itself if there are
    none.

    Args:
        problem: a problem that a function of `betaplane.problems` made.
        options: numbers by name, see `numeric_options`.

    Raises:
        BadInput: the problem has no such option, or the value is not valid.

    Example:
        >>> from betaplane.problems import counterexample
        >>> variant(counterexample(steps=7), {"n": 20}).best, variant(counterexample(), {}).best
        (-0.075, -0.15)
    """
    if not options:
        return problem
    allowed = numeric_options(problem)
    for name in options:
        if name not in allowed:
            raise _no_option(problem, name, allowed)
    assert problem.family is not None  # it has options
    built = problem.family.build(**options)
    return built.with_(**{name: getattr(problem, name) for name in PRESERVED})


def _no_option(problem: Problem, name: str, allowed: Mapping[str, bool]) -> BadInput:
    where = f"problem {problem.name!r}"
    if allowed:
        return unknown("option", name, allowed, where=where, instead="{}=...")
    return BadInput(
        "Only built-in problems have options",
        value=name,
        where=where,
        instead='map_phases("counterexample", x=("n", 5, 50))',
    )
