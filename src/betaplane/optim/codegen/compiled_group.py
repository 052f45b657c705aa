"""Compiled steps for the parameters of a group, cached between steps and checked before reuse."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from operator import is_
from typing import Any, NamedTuple

from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from betaplane.optim.codegen.availability import record_failure
from betaplane.optim.codegen.inductor import step_compiled
from betaplane.optim.codegen.multi_tensor import (
    MultiTensorStep,
    layout_of,
    multi_tensor_steps,
)
from betaplane.optim.codegen.trace import structure_of
from betaplane.optim.step.reference import reference_step
from betaplane.optim.step.step_spec import StepSpec, StepValues
from betaplane.optim.step.stored_state import STATE


class CompiledGroup(NamedTuple):
    """The arguments of the compiled code for all parameters of a group."""

    spec: StepSpec
    params: list[Tensor]
    steps: list[MultiTensorStep]
    uncompiled: list[Tensor]  # parameters for which no code could be generated
    layout: list[Any]  # of the uncompiled ones, for which that is so
    path: str | None = None  # the optimizer's option, if these are all parameters of the group

    @classmethod
    def of(
        cls,
        spec: StepSpec,
        params: list[Tensor],
        states: Mapping[Tensor, Any],
        keys: Mapping[str, str] = STATE,
    ) -> CompiledGroup:
        """Generate, compile or look up the code for parameters on the CPU.

        Raises:
            NoCompiler: this machine cannot compile.
        """
        steps, uncompiled = multi_tensor_steps(spec, params, states, keys)
        return cls(spec, params, steps, uncompiled, layout_of(uncompiled))

    def fits(self, spec: StepSpec, params: list[Tensor], states: Mapping[Tensor, Any]) -> bool:
        """Whether the cached arguments are valid for a step of exactly these parameters."""
        same_params = len(params) == len(self.params) and all(map(is_, params, self.params))
        same_spec = spec is self.spec or _compiles_alike(spec, self.spec)
        return (
            same_params
            and same_spec
            and layout_of(self.uncompiled) == self.layout
            and all(step.fits(states) for step in self.steps)
        )

    def repeats(self, params: list[Tensor], states: Mapping[Tensor, Any]) -> bool:
        """Whether a step of these parameters, of the same spec as the last one, is all compiled."""
        return not self.uncompiled and self.fits(self.spec, params, states)

    def step(
        self,
        spec: StepSpec,
        states: Mapping[Tensor, dict[str, Any]],
        values: StepValues,
        keys: Mapping[str, str] = STATE,
    ) -> float:
        """Step all parameters: those without compiled code by the reference implementation.

        Returns:
            The squared norm of the update if the spec measures it, else 0.
        """
        squared_update = sum(step.step(spec.rule, values) for step in self.steps)
        for p in self.uncompiled:
            g: Any = p.grad
            squared_update += reference_step(spec, p, g, states[p], values, keys=keys)
        return squared_update


def _compiles_alike(a: StepSpec, b: StepSpec) -> bool:
    """Whether two specs have the same code: they differ in values of hyperparameters only."""
    formats = (a.storage, a.rounding) == (b.storage, b.rounding)
    return formats and structure_of(a) == structure_of(b)


def step_compiled_group(
    spec: StepSpec,
    params: list[Tensor],
    states: Mapping[Tensor, dict[str, Any]],
    values: StepValues,
    keys: Mapping[str, str] = STATE,
) -> tuple[float, CompiledGroup]:
    """Step parameters with gradients in place: by C on the CPU, by torch.compile on other devices.

    Parameters for which no code can be generated (views, dtypes without a C type) are stepped by the reference
    implementation.

    Args:
        spec: what the step does.
        params: the parameters.
        states: torch's state of each; filled at its first step.
        values: learning rate and the other numbers that the step takes.
        keys: torch's state keys for the fields of the rule's state, if they differ.

    Returns:
        The squared norm of the update if the spec measures it, else 0; and the arguments, which the next step can
        reuse if they still fit.

    Raises:
        NoCompiler: this machine cannot compile; nothing was stepped.
    """
    on_cpu = [p for p in params if p.device.type == "cpu"]
    on_device = [p for p in params if p.device.type != "cpu"]
    group = CompiledGroup.of(spec, on_cpu, states, keys)
    squared_update = group.step(spec, states, values, keys)
    for p in _step_on_device(spec, on_device, states, values, keys):
        squared_update += reference_step(spec, p, p.grad, states[p], values, keys=keys)  # type: ignore[arg-type]
    # parameters on another device are looked up at every step, so the group never covers them
    return squared_update, group


def _step_on_device(
    spec: StepSpec,
    params: list[Tensor],
    states: Mapping[Tensor, Any],
    values: StepValues,
    keys: Mapping[str, str],
) -> list[Tensor]:
    """Step parameters on other devices by torch.compile; returns those that it cannot step."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own imports warn
            return [p for p in params if not step_compiled(spec, p, states[p], values, keys)]
    except BackendCompilerFailed as error:  # raised before anything is written
        record_failure(str(error).splitlines()[0])
        return params
