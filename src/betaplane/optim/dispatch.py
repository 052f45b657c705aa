"""Who steps parameters by their rule: machine code in one pass over memory, or the rule's
operations one by one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from operator import is_
from typing import Any, NamedTuple

from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from betaplane.errors import BadInput
from betaplane.optim.codegen.build import NoCompiler
from betaplane.optim.codegen.inductor import step_compiled
from betaplane.optim.codegen.multi_tensor import MultiTensorStep, swept
from betaplane.optim.codegen.trace import kind
from betaplane.optim.step.dependence import reach
from betaplane.optim.step.reference import STATE, update
from betaplane.optim.step.step_spec import StepSpec, StepValues
from betaplane.rules import Rule

PATHS = ("auto", "eager", "compiled")
LARGE = 2**16  # numbers in all parameters from which compiling, half a second once, is worth it
BROKEN: list[str] = []  # why this machine cannot compile, once that is known


def check_path(value: str) -> str:
    """`value`, if it is one of PATHS."""
    if value not in PATHS:
        allowed = " or ".join(map(repr, PATHS))
        raise BadInput(
            "path is unknown",
            value=value,
            allowed=allowed,
            where="the optimizer",
            instead='path="auto"',
        )
    return value


def chosen(path: str, params: list[Tensor]) -> str:
    """What a path means for these parameters: "eager" or "compiled"."""
    if path != "auto":
        return path
    large = sum(p.numel() for p in params) >= LARGE and all(p.device.type == "cpu" for p in params)
    return "compiled" if large and not BROKEN else "eager"


def sweeps(rule: Rule) -> bool:
    """Whether a rule can be compiled: its step does not depend on the parameter's shape."""
    return (
        not any(isinstance(value, Tensor) for value in vars(rule).values())
        and reach(rule) != "shape"
    )


def step_each(
    form: StepSpec,
    params: list[Tensor],
    states: Mapping[Tensor, dict[str, Any]],
    numbers: StepValues,
    *,
    path: str,
    words: Mapping[str, str] = STATE,
) -> tuple[float, CompiledGroup | None]:
    """Step every parameter that has a gradient, in place.

    Args:
        form: what is done.
        params: the parameters.
        states: torch's state of each; filled at its first step.
        numbers: learning rate and what else the form takes.
        path: "eager" or "compiled"; what cannot be compiled (rules of rows and columns, views) is stepped eagerly.
        words: torch's names for the fields of the rule's state, where they differ.

    Returns:
        The squared length of the update, where the form measures it, else 0; and lists, by which the next step can be
        taken if all is as it was then.
    """
    left, moved, lists = [p for p in params if p.grad is not None], 0.0, None
    if path == "compiled" and not BROKEN and sweeps(form.rule):
        host = [p for p in left if p.device.type == "cpu"]
        try:
            lists = CompiledGroup.of(form, host, states, words)
        except NoCompiler as error:
            broken(str(error))
        else:
            moved += lists.step(form.rule, numbers)
            left = [
                *lists.left,
                *_on_device(
                    form, [p for p in left if p.device.type != "cpu"], states, numbers, words
                ),
            ]
    moved += sum(update(form, p, p.grad, states[p], numbers, words=words) for p in left)  # type: ignore[arg-type]
    return moved, lists


class CompiledGroup(NamedTuple):
    """What machine code is called with, for all parameters of a group."""

    kind: StepSpec
    params: list[Tensor]
    sweeps: list[MultiTensorStep]
    left: list[Tensor]  # without machine code

    @classmethod
    def of(
        cls,
        form: StepSpec,
        params: list[Tensor],
        states: Mapping[Tensor, Any],
        words: Mapping[str, str],
    ) -> CompiledGroup:
        """Looked up anew."""
        return cls(kind(form), params, *swept(form, params, states, words))

    def fits(self, form: StepSpec, params: list[Tensor], states: Mapping[Tensor, Any]) -> bool:
        """Whether they are all there is to do for this form and these parameters, and nothing was
        exchanged.
        """
        given = [p for p in params if p.grad is not None]
        whole = (
            not self.left and len(given) == len(self.params) and all(map(is_, given, self.params))
        )
        return (
            whole and kind(form) == self.kind and all(sweep.fits(states) for sweep in self.sweeps)
        )

    def step(self, rule: Rule, numbers: StepValues) -> float:
        """One step; the squared length of the update, where that is measured."""
        return sum(sweep.step(rule, numbers) for sweep in self.sweeps)


def _on_device(
    form: StepSpec,
    params: list[Tensor],
    states: Mapping[Tensor, Any],
    numbers: StepValues,
    words: Mapping[str, str],
) -> list[Tensor]:
    """Step parameters that are not on the CPU by torch.compile's code; those left that have none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own imports
            return [p for p in params if not step_compiled(form, p, states[p], numbers, words)]
    except BackendCompilerFailed as error:  # before anything is written
        broken(str(error).splitlines()[0])
        return params


def broken(why: str) -> None:
    """Remember that this machine cannot compile, and warn of it once."""
    if BROKEN:
        return
    BROKEN.append(why)
    warnings.warn(
        f"This machine cannot compile ({why}): steps are eager, and slower.", stacklevel=6
    )
